"""One saga in the hands of an application: wait for its end, look at it, cancel it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from antistrophe.client.deadline import Deadline
from antistrophe.records import SagaMetadata, SagaStatus

if TYPE_CHECKING:
    from antistrophe.client.session import Session


class SagaHandle:
    """One saga, as ``start`` and ``handle`` of an orchestrator return it. ``id`` is the saga's id.

    A handle works as long as its orchestrator is open, and any thread may use it::

        handle = orchestrator.start(saga)
        handle.status()                     # SagaStatus.EXECUTING
        events = handle.result(timeout_s=60.0)

    Every call may raise what any call of SagaOrchestrator may raise, and SagaNotFoundError.
    """

    def __init__(self, session: Session, saga_id: str) -> None:
        self.id = saga_id
        self._session = session

    def result(self, timeout_s: float | None = None) -> list[object]:
        """Wait for the saga's end. Returns its events in step order, or raises the SagaError that it ended with.

        Raises TimeoutError when the saga has not ended within ``timeout_s`` seconds (None: wait without a limit), and
        says what it waits for. The saga keeps running.
        """
        return self._session.result(self.id, Deadline(timeout_s))

    def outputs(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Wait for the saga's end. Returns the outputs by step name, in step order, of the steps that returned one::

            handle.outputs(timeout_s=60.0)      # {"BookFlight": "LH 400", "Charge": {"receipt": 17}}

        Raises like `result`. `SagaOrchestrator.get_outputs` gives the outputs at any moment, and after a failure.
        """
        return self._session.outputs_at_end(self.id, Deadline(timeout_s))

    def status(self) -> SagaStatus:
        """The saga's status at this moment."""
        return self.metadata().status

    def metadata(self) -> SagaMetadata:
        """The saga as monitoring shows it: its status, its steps, its times, its error."""
        return self._session.require(self.id)

    def cancel(self, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done. ``reason`` is journaled.

        Returns False where that had no effect, because the saga has finished or turned back.
        """
        return self._session.cancel(self.id, reason)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"
