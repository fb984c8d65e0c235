"""Who hears of a saga: those who wait for its end, whoever started it or gave it an order, and the registry."""

from __future__ import annotations

from typing import Any, Protocol

from antistrophe.messages import Accepted, Address, Done, LifecycleReport, Rejected, SagaOutcome, Waiter
from antistrophe.saga.outcome import Outcome


class Desk(Protocol):
    """Where the messages to the audience leave from."""

    registry: Address

    def send(self, to: Address, message: Any) -> None:
        """Send a message."""

    def now(self) -> float:
        """Seconds since the epoch, by the system's steady clock."""


class Audience:
    """The waiters of one saga, and the reports to the registry, gathered for up to ``report_s`` seconds."""

    def __init__(self, desk: Desk, saga_id: str, report_s: float) -> None:
        self._desk = desk
        self._saga_id = saga_id
        self._report_s = report_s
        self._waiters: dict[str, Waiter] = {}
        self._reported_at: float | None = None

    @property
    def waiters(self) -> tuple[Waiter, ...]:
        return tuple(self._waiters.values())

    def join(self, waiters: tuple[Waiter, ...]) -> None:
        """These wait from now on; one that waits already is not told twice."""
        self._waiters |= {waiter.correlation: waiter for waiter in waiters}

    def accepted(self, to: Waiter, position: int) -> None:
        self._desk.send(to.address, Accepted(to.correlation, self._saga_id, position))

    def rejected(self, to: Waiter, error: str, text: str) -> None:
        self._desk.send(to.address, Rejected(to.correlation, error, text))

    def done(self, to: Waiter, position: int, *, effect: bool) -> None:
        self._desk.send(to.address, Done(to.correlation, position, effect))

    def ended(self, outcome: Outcome, position: int) -> None:
        """Tell all who wait, once."""
        for waiter in self.waiters:
            self._desk.send(waiter.address, SagaOutcome(waiter.correlation, outcome, position))
        self._waiters.clear()

    def report(self, position: int, *, at_once: bool) -> None:
        """Tell the registry that the journal has news; of a beginning and an end at once."""
        now = self._desk.now()
        if at_once or self._reported_at is None or now - self._reported_at >= self._report_s:
            self._reported_at = now
            self._desk.send(self._desk.registry, LifecycleReport(self._saga_id, position))
