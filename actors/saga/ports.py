"""What a saga and its actor need of the process that they live in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from antistrophe.messages import Address
from antistrophe.settings import Settings


class ExecutionPort(Protocol):
    """Where a saga is run."""

    home: str
    draining: bool

    def now(self) -> float:
        """Seconds since the epoch, by the system's steady clock."""


class SagaHostPort(ExecutionPort, Protocol):
    """Where a saga actor has its mailbox."""

    supervisor: Address
    settings: Settings

    def send(self, to: Address, message: Any) -> None:
        """Send a message, once all that was journaled is durable."""

    def once_durable(self, do: Callable[[], object]) -> None:
        """Do this then."""

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        """Call ``wake`` of that saga's actor then."""

    def leave(self, saga_id: str) -> None:
        """Forget the actor of that saga."""
