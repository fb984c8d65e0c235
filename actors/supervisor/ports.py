"""The supervisor, as the other parts of its wing see it, and the wakeups that they ask for."""

from __future__ import annotations

from typing import Any, Protocol

from antistrophe.definition.spec import Origin
from antistrophe.messages import Address, ProcessDead, ProcessGrant

LOOK_AGAIN_S = 0.02
"""How soon a process that should be dead is looked at again."""


class SupervisorPort(Protocol):
    """What the parts of the supervisor ask of the actor: to make actors, to send, to wake them, and to tell a saga what
    became of its lease."""

    def createActor(self, actor_class: type) -> Address: ...  # noqa: N802 - Thespian's name
    def send(self, to: Address, message: Any) -> None: ...
    def now(self) -> float: ...
    def wake_in(self, seconds: float, payload: Any = None) -> None: ...
    def granted(self, grant: ProcessGrant) -> None: ...
    def refused(self, saga_id: str, reason: str, *, unguarded: bool = False, found: Origin | None = None) -> None: ...
    def died(self, dead: ProcessDead) -> None: ...


class Wakeups:
    """Wakeups that a part asks for. They can't be cancelled, so it asks once for each thing that it waits for."""

    def __init__(self, supervisor: SupervisorPort) -> None:
        self._supervisor = supervisor
        self._looks_again = False
        self._start: float | None = None

    def looking(self) -> None:
        """The part looks now."""
        self._looks_again = False

    def look_again(self, in_s: float = LOOK_AGAIN_S) -> None:
        """Wake soon, and once, however many processes are to be looked at. Each look may ask for the next."""
        if not self._looks_again:
            self._looks_again = True
            self._supervisor.wake_in(in_s)

    def at_start(self, moment: float | None, now: float) -> None:
        """Wake when a throttled attempt may start, in seconds since the epoch; None: no attempt waits for its rate."""
        if moment is not None and moment > now and (self._start is None or not now < self._start <= moment):
            self._start = moment
            self._supervisor.wake_in(moment - now)
