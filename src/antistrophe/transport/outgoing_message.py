"""A message that waits to be sent because the kernel does not take it yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thespian.actors import ActorAddress
from thespian.system.transport import SendStatus

Notify = Callable[[SendStatus.BASE, "OutgoingMessage"], None]


class OutgoingMessage:
    """The frame of a message, the message itself, its target, and a function that hears what became of it. ``quit_at``:
    when it has waited too long, by the monotonic clock; None: it waits as long as its receiver lives."""

    __slots__ = ("_notify", "frame", "message", "quit_at", "target")

    def __init__(
        self, frame: bytes, target: ActorAddress, message: Any, notify: Notify | None, quit_at: float | None
    ) -> None:
        self.frame = frame
        self.target = target
        self.message = message
        self.quit_at = quit_at
        self._notify = notify

    def settle(self, status: SendStatus.BASE) -> None:
        """Report what became of the message."""
        if self._notify is not None:
            self._notify(status, self)
