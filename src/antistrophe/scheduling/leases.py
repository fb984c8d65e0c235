"""What the process pool orders, and whom a process belongs to."""

from __future__ import annotations

from typing import TypeAlias

from antistrophe.definition.spec import Origin
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Whom a step process serves: one client (each has its own edits of the code), one origin, and one environment,
    which is known by its digest."""

    client_id: str
    origin: Origin
    environment: str = ""


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a process under this name; ``shared``: an async worker."""

    name: str
    shared: bool = False


@dataclass(frozen=True, slots=True)
class LoadInto:
    """Have this process import these classes."""

    name: str
    origin: Origin
    class_refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantTo:
    """Grant this saga the lease of this slot; ``step_class``: the throttled class that its attempt counts for.
    ``fresh``: the saga asked for a process in which nothing has run, and this is one."""

    lease_name: str
    saga_id: str
    step_class: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class CloseSlot:
    """End whatever still runs in this slot of an async worker. No saga waits to hear of its end."""

    lease_name: str


@dataclass(frozen=True, slots=True)
class Retire:
    """End this process; nothing runs in it."""

    name: str


PoolOrder: TypeAlias = StartProcess | LoadInto | GrantTo | CloseSlot | Retire
