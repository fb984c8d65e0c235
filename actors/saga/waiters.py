"""The waiters of a saga, and the answers to whoever started it or gave it an order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from antistrophe.messages import Accepted, Address, Done, Rejected, SagaOutcome, Waiter
from antistrophe.saga.outcome import Outcome


class Sender(Protocol):
    """Sends the messages to the waiters."""

    def send(self, to: Address, message: Any) -> None:
        """Send a message."""

    def send_made(self, to: Address, answer: Callable[[int], Any]) -> None:
        """Send the answer that is made of the journal's position."""


class Waiters:
    """The waiters of one saga."""

    def __init__(self, sender: Sender, saga_id: str) -> None:
        self._sender = sender
        self._saga_id = saga_id
        self._waiters: dict[str, Waiter] = {}

    def copy(self) -> Waiters:
        """Those who wait now."""
        twin = Waiters(self._sender, self._saga_id)
        twin._waiters = self._waiters.copy()
        return twin

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        return tuple(self._waiters.values())

    def join(self, waiters: tuple[Waiter, ...]) -> None:
        """Add waiters. One that waits already is not told twice."""
        self._waiters |= {waiter.correlation: waiter for waiter in waiters}

    def accepted(self, to: Waiter) -> None:
        self._sender.send_made(to.address, lambda position: Accepted(to.correlation, self._saga_id, position))

    def rejected(self, to: Waiter, error: str, text: str) -> None:
        self._sender.send(to.address, Rejected(to.correlation, error, text))

    def done(self, to: Waiter, *, effect: bool) -> None:
        self._sender.send_made(to.address, lambda position: Done(to.correlation, position, effect))

    def ended(self, outcome: Outcome) -> None:
        """Tell all who wait, once."""
        for waiter in self.waiters:
            self._sender.send_made(waiter.address, partial(SagaOutcome, waiter.correlation, outcome))
        self._waiters.clear()
