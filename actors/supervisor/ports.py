"""The supervisor, as the keepers of its step processes need it, and the wakeups that they ask it for."""

from __future__ import annotations

from typing import Any, Protocol

from antistrophe.messages import Address, ProcessDead, ProcessGrant

LOOK_AGAIN_S = 0.02
"""How soon a process that should be dead is looked at again."""


class SupervisorPort(Protocol):
    """The supervisor: it makes actors, and hears what became of what was lent."""

    def createActor(self, actor_class: type) -> Address: ...  # noqa: N802 - Thespian's name
    def send(self, to: Address, message: Any) -> None: ...
    def now(self) -> float: ...
    def wake_in(self, seconds: float, payload: Any = None) -> None: ...
    def granted(self, grant: ProcessGrant) -> None: ...
    def refused(self, saga_id: str, reason: str) -> None: ...
    def died(self, dead: ProcessDead) -> None: ...


class Wakes:
    """A keeper's wakeups, which can't be cancelled: one for whatever it waits for, however often that comes up."""

    def __init__(self, owner: SupervisorPort) -> None:
        self._owner = owner
        self._looks_again = False
        self._turn: float | None = None

    def looking(self) -> None:
        """It looks now."""
        self._looks_again = False

    def look_again(self, in_s: float = LOOK_AGAIN_S) -> None:
        """Soon, and once, however many there are to look at: each look may ask for the next."""
        if not self._looks_again:
            self._looks_again = True
            self._owner.wake_in(in_s)

    def at_turn(self, turn: float | None, now: float) -> None:
        """At that moment, in seconds since the epoch, if there is one to come."""
        if turn is not None and turn > now and (self._turn is None or not now < self._turn <= turn):
            self._turn = turn
            self._owner.wake_in(turn - now)
