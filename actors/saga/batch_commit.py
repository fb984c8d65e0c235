"""Messages to several sagas that share one journal commit, and all that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from antistrophe.actors.saga.saga import SagaActor
from antistrophe.journal import GroupCommit
from antistrophe.messages import Address

LONGEST_S = 0.005
"""How long a batch may grow: meanwhile the journal's one lock is held, and the first of its sagas waits."""

MOST_MESSAGES = 64


class Batch:
    """What a host has handled since its last commit.

    Nothing leaves before the commit. Each actor is kept as it was before its first message, so that a batch that can't
    be committed can be undone as a whole, and its messages handled again one by one.
    """

    def __init__(self, group: GroupCommit, until: float) -> None:
        self._group = group
        self._until = until
        self._sends: list[tuple[Address, Any]] = []
        self._afterwards: list[Callable[[], object]] = []
        self.messages: list[tuple[str, Any]] = []
        self.before: dict[str, SagaActor | None] = {}
        group.open()

    @property
    def broken(self) -> bool:
        """Whether the journal has refused a part of it."""
        return self._group.broken

    def full(self, now: float) -> bool:
        """Whether it is time to commit, whatever else is there to be handled."""
        return now >= self._until or len(self.messages) >= MOST_MESSAGES

    def take(self, saga_id: str, actor: SagaActor | None, message: Any) -> None:
        """Note what is about to be handled, and by whom."""
        self.messages.append((saga_id, message))
        if saga_id not in self.before:
            self.before[saga_id] = copy(actor)

    def send(self, to: Address, message: Any) -> None:
        """Send this once all is durable."""
        self._sends.append((to, message))

    def once_durable(self, do: Callable[[], object]) -> None:
        """Do this then."""
        self._afterwards.append(do)

    def commit(self, send: Callable[[Address, Any], None]) -> None:
        """Make all of it durable, then send what waited for that. Raises JournalError; nothing has happened then."""
        self._group.commit()
        for to, message in self._sends:
            send(to, message)
        for do in self._afterwards:
            do()

    def roll_back(self) -> None:
        """Forget all of it."""
        self._group.roll_back()
