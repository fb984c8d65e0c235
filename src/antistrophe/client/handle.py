"""One saga in the hands of an application: wait for its end, look at it, cancel it."""

from __future__ import annotations

from antistrophe.client.deadline import Deadline
from antistrophe.client.session import Client
from antistrophe.records import SagaMetadata, SagaStatus


class SagaHandle:
    """Made by ``start`` and ``handle``; as thread-safe as its orchestrator, and of use as long as that is open."""

    def __init__(self, client: Client, saga_id: str) -> None:
        self.id = saga_id
        self._client = client

    def result(self, timeout_s: float | None = None) -> list[object]:
        """Wait for the saga's end: its events in step order, or the SagaError that says how it ended.

        TimeoutError when it has not ended within ``timeout_s`` seconds; it goes on all the same.
        """
        return self._client.result(self.id, Deadline(timeout_s))

    def status(self) -> SagaStatus:
        """Where the saga stands."""
        return self.metadata().status

    def metadata(self) -> SagaMetadata:
        """The saga as monitoring shows it."""
        return self._client.require(self.id)

    def cancel(self, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done; False where that had no effect."""
        return self._client.cancel(self.id, reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"
