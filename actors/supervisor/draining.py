"""Draining: what runs may come to an end for a while, then it is ended; unless the system is wanted again meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from antistrophe.actors.base import log
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.dispatching import Dispatching
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.errors import JournalError
from antistrophe.messages import Address, Drain, Drained

if TYPE_CHECKING:
    from antistrophe.actors.supervisor.among_hosts import AmongHosts

HAND_OVER_S = 2.0
"""How long a system that stops tries to end its lease, where it has one. Else that lapses."""

DRAIN_GRACE_S = 1.0
"""How long an attempt has for cleaning up, when it is ended because the system stops."""

THE_SYSTEM_STOPS = "the system stops"

_NAMED = 5
"""How many of the sagas that are left undone are named."""


class Draining:
    """The drain that was ordered last. ``begun``: it was ordered, and nobody has wanted the system since."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        dispatching: Dispatching,
        processes: ProcessKeeper,
        journal: JournalAccess,
        among: AmongHosts | None = None,
    ) -> None:
        self._supervisor = supervisor
        self._dispatching = dispatching
        self._processes = processes
        self._journal = journal
        self._order: Drain | None = None
        self._answer_to: Address = None
        self._among = among
        self._until = 0.0
        self._hand_over_until = 0.0
        self._fenced = 0

    @property
    def begun(self) -> bool:
        return self._order is not None

    def begin(self, order: Drain, sender: Address) -> None:
        """Start no further attempt."""
        if self._order is None:
            self._dispatching.halt(THE_SYSTEM_STOPS)
        if self._order != order:
            self._order, self._answer_to = order, sender
            self._until, self._fenced = self._supervisor.now() + order.drain_s, 0
            self._hand_over_until = self._until + HAND_OVER_S
            self._supervisor.wake_in(order.drain_s)
        self.look()

    def end(self) -> None:
        """The system is wanted again: everything goes on, with the attempts that run."""
        log.info("the system is wanted again, and goes on")
        self._order = self._answer_to = None
        if self._among is not None:
            self._among.go_on()
        self._dispatching.go_on(THE_SYSTEM_STOPS)

    def look(self) -> None:
        """End what runs once its time is over, and answer when nothing runs any more."""
        if self._order is None or self._answer_to is None:
            return
        if self._processes.busy:
            if self._supervisor.now() >= self._until:
                self._fenced += self._processes.attempts.end_all(DRAIN_GRACE_S)
                self._until = float("inf")
            return
        if not self._processes.close_all():
            return
        if self._among is not None and self._supervisor.now() < self._hand_over_until and not self._among.hand_over():
            return
        self._warn_of_what_is_left()
        self._supervisor.send(self._answer_to, Drained(self._fenced, self._order.number))
        self._answer_to = None

    def _warn_of_what_is_left(self) -> None:
        try:
            left = self._journal.unfinished()
        except JournalError as error:
            log.error("nobody can say what is left undone: %s", error)
            return
        if left:
            log.warning(
                "the system stops with %d sagas that are not finished, of which %d have turned back and are owed"
                " compensations (%s%s): they go on when the home is opened again",
                len(left),
                sum(compensating for _, compensating in left),
                ", ".join(saga_id for saga_id, _ in left[:_NAMED]),
                ", …" if len(left) > _NAMED else "",
            )
