"""The words of lending: whom a process belongs to, who goes first, and what a pool of step processes orders."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from antistrophe.definition.spec import LeaseRequest, Origin


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What a step process belongs to: one attached process (its edits of the code are its own) and one origin."""

    client_id: str
    origin: Origin


Rank: TypeAlias = tuple[bool, int, int, str]
"""Who goes before whom: the urgent, then by priority, in the order of asking; and the saga."""


def rank(request: LeaseRequest, arrival: int, saga_id: str) -> Rank:
    """Where that saga stands among all that wait, as the one that asked at this place."""
    return not request.urgent, -request.priority, arrival, saga_id


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Start a step process under this name."""

    name: str


@dataclass(frozen=True, slots=True)
class LoadInto:
    """Have this process import these classes."""

    name: str
    origin: Origin
    class_refs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GrantTo:
    """Lend this process to this saga; ``step_class``: whose turn it is, where attempts of one class wait for it."""

    name: str
    saga_id: str
    step_class: str | None = None


@dataclass(frozen=True, slots=True)
class Retire:
    """End this process; nothing runs in it."""

    name: str


PoolOrder: TypeAlias = StartProcess | LoadInto | GrantTo | Retire


class ProcessState(Enum):
    """Where a step process stands."""

    STARTING = "starting"
    IDLE = "idle"
    LOADING = "loading"
    LEASED = "leased"
    ENDING = "ending"
