"""A message on its way out, while the kernel does not take it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from thespian.actors import ActorAddress
from thespian.system.transport import SendStatus

Notify = Callable[[SendStatus.BASE, "OutgoingMessage"], None]


class OutgoingMessage:
    """A frame, what it is the frame of, and who is told what becomes of it. ``quit_at``: when it has waited too long,
    by the monotonic clock; None: it waits as long as its receiver lives."""

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
        """Tell what became of it."""
        if self._notify is not None:
            self._notify(status, self)
