"""Messages to several sagas that share one journal commit, and everything that waits for this commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from antistrophe.actors.saga.ports import SharedJournalPort
from antistrophe.actors.saga.saga import SagaActor
from antistrophe.messages import Address

LONGEST_S = 0.005
"""How long a batch may grow. Meanwhile the first of its sagas waits, and a journal in a file is locked."""

MOST_MESSAGES = 64


class Batch:
    """What a host has handled since its last commit.

    Nothing is sent before the commit. Each actor and its alarm are kept as they were before its first message: where
    the journal refuses the batch, the host undoes the whole batch and handles its messages again, one by one.
    """

    def __init__(self, journal: SharedJournalPort, until: float) -> None:
        self._journal = journal
        self._position = journal.position
        self._group = journal.group()
        self._until = until
        self._sends: list[tuple[Address, Callable[[int], Any]]] = []
        self._afterwards: list[Callable[[], object]] = []
        self.messages: list[tuple[str, Any]] = []
        self.before: dict[str, tuple[SagaActor | None, float | None]] = {}
        self._group.open()

    @property
    def broken(self) -> bool:
        """True once the journal has refused a part of the batch."""
        return self._group.broken

    def full(self, now: float) -> bool:
        """True where it is time to commit, even if more messages are there."""
        return now >= self._until or len(self.messages) >= MOST_MESSAGES

    def take(self, saga_id: str, message: Any, actor: SagaActor | None, alarm: float | None) -> None:
        """Note a message that is about to be handled, with the saga's actor and alarm as they are now."""
        self.messages.append((saga_id, message))
        if saga_id not in self.before:
            self.before[saga_id] = (None if actor is None else actor.copy(), alarm)

    def send(self, to: Address, message: Any) -> None:
        """Send a message after the commit."""
        self._sends.append((to, lambda _: message))

    def send_made(self, to: Address, answer: Callable[[int], Any]) -> None:
        """Send what ``answer`` makes of the journal's position, after the commit."""
        self._sends.append((to, answer))

    def once_durable(self, do: Callable[[], object]) -> None:
        """Call ``do`` after the commit."""
        self._afterwards.append(do)

    def commit(self, send: Callable[[Address, Any], None]) -> None:
        """Make everything durable, then send what waited. Raises JournalError; then nothing is sent, and what became of
        the batch is told where its messages are handled again."""
        self._group.commit()
        for to, answer in self._sends:
            send(to, answer(self._journal.position))
        for do in self._afterwards:
            do()

    def roll_back(self) -> None:
        """Undo what the batch has journaled. The position goes back too: nobody must wait for entries that are gone."""
        self._group.roll_back()
        self._journal.position = self._position
