"""What an application holds: starts sagas, waits for them, looks at them, and gives them orders."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from antistrophe.client.deadline import Deadline
from antistrophe.client.handle import SagaHandle
from antistrophe.client.session import Client
from antistrophe.client.subscription import ChangeSubscription
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.eventstore.recorded import Upcasts
from antistrophe.eventstore.store import EventStore
from antistrophe.records import ProcessRecord, SagaMetadata, SagaPage, SagaStatus, TimelineEntry
from antistrophe.settings import Settings


class SagaOrchestrator:
    """Starts the actor system of a home, or attaches to the one that runs there; the last to leave ends it.

    ``home``: its folder, by default ``$ANTISTROPHE_HOME``, else ``.antistrophe``. ``settings`` count where this is
    what starts the system. ``versions`` (a VersionRegistry) brings old events up to date wherever they are read: in
    what a saga answers, and in ``event_store``. Any thread may use it; after a fork open another one. Close it, or use
    ``with``.

    Every call may raise SystemUnavailableError, when no actor system answers (within ``open_timeout_s`` at the
    beginning, within ``reattach_s`` later on), and JournalError, when the journal can't be used. A saga that was
    accepted goes on in either case, as soon as its home is opened again.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        versions: Upcasts | None = None,
    ) -> None:
        self._client = Client(home, settings, versions)

    @property
    def home(self) -> Path:
        """The folder of the actor system, absolute."""
        return self._client.home

    # --- running sagas -----------------------------------------------------------------------------------------

    def execute(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", timeout_s: float | None = None
    ) -> list[object]:
        """Run a saga and wait for its end: its events in step order, or the SagaError that says how it ended.

        An id that is live raises AlreadyExecutingError, or with ``if_live="join"`` is waited for; an id that has
        finished gives its recorded outcome again, or SagaExistsError where the definition is another. TimeoutError
        after ``timeout_s`` seconds leaves the saga running.
        """
        return self._client.run(saga, if_live, Deadline(timeout_s))

    def start(self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise") -> SagaHandle:
        """Have a saga accepted and do not wait for its end: when this returns, it is durable. Raises like `execute`."""
        return SagaHandle(self._client, self._client.start(saga, if_live))

    def handle(self, saga_id: str) -> SagaHandle:
        """The handle of a saga that is there already. Raises SagaNotFoundError."""
        return SagaHandle(self._client, self._client.require(saga_id).id)

    # --- orders ------------------------------------------------------------------------------------------------

    def cancel(self, saga_id: str, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done; False where that had no effect, because the
        saga has finished or turned back. Raises SagaNotFoundError."""
        return self._client.cancel(saga_id, reason)

    def retry_compensation(self, saga_id: str, *, note: str | None = None) -> bool:
        """Give the compensations of a parked saga their full policy again. ``note``, what has been repaired, is
        journaled with who says so. Raises SagaNotFoundError, and RequestError for a saga that is not parked."""
        return self._client.retry_compensation(saga_id, note)

    def resolve(self, saga_id: str, step_name: str, note: str) -> bool:
        """Say that the compensation of a step, which has failed for good, is settled by other means; the saga goes on
        with the steps before it. ``note`` is journaled. Raises SagaNotFoundError, and RequestError for another step."""
        return self._client.resolve(saga_id, step_name, note)

    # --- looking -----------------------------------------------------------------------------------------------

    def running_count(self) -> int:
        """How many sagas the system works on, or will as soon as it may."""
        return self._client.counts()[0]

    def history_count(self) -> int:
        """How many sagas have finished or are parked."""
        return self._client.counts()[1]

    def get_saga(self, saga_id: str) -> SagaMetadata | None:
        """One saga, finished ones too; None where there is none of that id."""
        return self._client.get(saga_id)

    def get_running_sagas(self) -> list[SagaMetadata]:
        """The sagas that `running_count` counts."""
        return self._client.running()

    def get_history(self, limit: int = 1000) -> list[SagaMetadata]:
        """The last ``limit`` sagas that finished or were parked, in order of finishing."""
        return self._client.history(limit)

    def list_sagas(
        self,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """Sagas of that status and name, with ``text`` in their id or name; ``cursor`` is that of the page before."""
        return self._client.page(status, name, text, limit, cursor)

    def get_timeline(self, saga_id: str) -> list[TimelineEntry]:
        """Every journal entry of a saga, in order. Raises SagaNotFoundError."""
        return self._client.timeline(saga_id)

    def subscribe(self, from_position: int | None = None) -> ChangeSubscription:
        """Follow the lifecycle of all sagas: an iterator of SagaChange that ends when it or the orchestrator is closed.

        ``from_position``: that of the last change already seen (0: from the first); by default from now on.
        """
        return self._client.subscribe(from_position)

    def wait_idle(self, timeout_s: float | None = None) -> None:
        """Wait until no saga runs; parked ones do not count. TimeoutError after ``timeout_s`` seconds."""
        self._client.wait_idle(Deadline(timeout_s))

    def processes(self) -> list[ProcessRecord]:
        """Every process of the actor system at this moment."""
        return self._client.processes()

    @property
    def event_store(self) -> EventStore:
        """The store that holds the sagas' events; it is closed together with the orchestrator."""
        return self._client.event_store

    # --- leaving -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the actor system; who is the last to leave it waits for its end (up to ``drain_s`` and a moment). Calls
        that still wait raise SystemStateError. Sagas that run go on when the home is opened again."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        client: Client | None = getattr(self, "_client", None)  # None where it could not be opened
        if client is not None and client.usable:
            client.drop()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.home)!r})"
