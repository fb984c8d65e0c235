"""The actor system of a home, as an application sees it."""

from __future__ import annotations

from antistrophe.fast_dataclass import dataclass
from antistrophe.settings import Settings


@dataclass(frozen=True, slots=True)
class System:
    """One incarnation of the actor system, as an application sees it. ``number`` counts the incarnations that this
    attachment has seen, from 1; ``supervisor`` is the path of the supervisor's socket."""

    number: int
    supervisor: str
    launcher_pid: int
    admin_pid: int
    logger_pid: int
    supervisor_pid: int
    settings: Settings
