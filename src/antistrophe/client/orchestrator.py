"""What an application holds: starts sagas, waits for them, looks at them, and gives them orders."""

from __future__ import annotations

import os
import warnings
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from antistrophe.client.arguments import check_number, check_text
from antistrophe.client.deadline import Deadline
from antistrophe.client.handle import SagaHandle
from antistrophe.client.opening import open_session
from antistrophe.client.saga_lists import listed
from antistrophe.client.subscription import ChangeSubscription
from antistrophe.client.user_name import user_name
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.linux.late_imports import late_import
from antistrophe.logs.reading import records_of
from antistrophe.messages import (
    CodeReloaded,
    ListHistory,
    ListProcesses,
    ListRunning,
    ListSagas,
    Processes,
    ReloadCode,
    ResolveStep,
)
from antistrophe.records import LogRecord, ProcessRecord, PurgeReport, SagaMetadata, SagaPage, SagaStatus, TimelineEntry
from antistrophe.saga.inputs import RetryAsked
from antistrophe.settings import Settings

if TYPE_CHECKING:
    from antistrophe.client.session import Session
    from antistrophe.eventstore.recorded import Upcasts
    from antistrophe.eventstore.store import EventStore
    from antistrophe.hosts.description import HostRecord


class SagaOrchestrator:
    """Starts the actor system of a home, or attaches to the one that runs there; the last to leave ends it::

        with SagaOrchestrator("shop-home") as orchestrator:
            events = orchestrator.execute(saga)

    ``home``: the folder of the actor system, by default ``$ANTISTROPHE_HOME``, else ``.antistrophe``. ``settings``
    count only where this orchestrator starts the system. ``versions`` (a VersionRegistry) brings old events up to date
    wherever they are read: in a saga's result and in ``event_store``. ``journal``: the URL of the database that keeps
    the journal; by default that of the settings, else ``$ANTISTROPHE_JOURNAL``, else it is a file in the home, as with
    an empty text. ``after_restore``: it was put back, what was done since is in doubt. Steps see ``os.environ``
    as it is now, without what begins with ``ANTISTROPHE_``. Any thread may use it; after a fork, open another one.

    Raises RequestError for an environment of more than 16 MiB, InvalidSettingsError for a ``journal`` that is no URL,
    and SystemStateError where the system that runs has another journal. Every call may raise SystemUnavailableError,
    when no actor system answers (within ``open_timeout_s`` when it is opened, within ``reattach_s`` later),
    JournalError, when the journal can't be used, and SystemStateError, after `close` and in a fork. An accepted saga
    goes on once its home is open again.
    """

    def __init__(
        self,
        home: str | os.PathLike[str] | None = None,
        *,
        settings: Settings | None = None,
        versions: Upcasts | None = None,
        journal: str | None = None,
        after_restore: bool = False,
    ) -> None:
        self._session = open_session(home, settings, versions, journal, after_restore=after_restore)

    @property
    def home(self) -> Path:
        """The folder of the actor system, absolute."""
        return self._session.home

    # --- running sagas -------------------------------------------------------------------------------------------

    def execute(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", timeout_s: float | None = None
    ) -> list[object]:
        """Run a saga and wait for its end. Returns its events in step order, or raises the SagaError it ended with.

        An id that is live raises AlreadyExecutingError where an open orchestrator, this one included, has started or
        joined that saga; with ``if_live="join"`` the call waits for it instead. A live saga whose orchestrators are
        gone is joined in any case: a program that was killed can be run again. An id that has finished gives its
        recorded outcome again. Where the definition is another, both raise SagaExistsError, and so does an id that was
        purged. Raises InvalidDefinitionError for a definition that can't be run, and TimeoutError after ``timeout_s``
        seconds (None: wait without a limit); the saga then keeps running.
        """
        return self._session.execute(saga, if_live, Deadline(timeout_s))

    def start(
        self, saga: SagaDefinition, if_live: Literal["raise", "join"] = "raise", *, connection: Any = None
    ) -> SagaHandle:
        """Have a saga accepted and do not wait for its end: the saga is durable when this returns. ``connection``: one
        of psycopg to the journal's database; the saga is accepted in the transaction that is open there, and was never
        there where that is rolled back. Raises like `execute`, but for the SagaError and the TimeoutError."""
        self._session.start(saga, if_live, connection)
        return SagaHandle(self._session, saga.id)

    def handle(self, saga_id: str) -> SagaHandle:
        """The handle of a saga that was accepted before, by any application. Raises SagaNotFoundError, and
        SagaExistsError where it was purged.

        A handle alone only looks; to wait for the saga with `SagaHandle.result` is to join it.
        """
        return SagaHandle(self._session, self._session.require(saga_id).id)

    # --- orders --------------------------------------------------------------------------------------------------

    def cancel(self, saga_id: str, reason: str | None = None) -> bool:
        """Stop a saga that goes forward and compensate what it has done. ``reason`` is journaled.

        Returns False where that had no effect, because the saga has finished or turned back. Raises SagaNotFoundError.
        """
        return self._session.cancel(saga_id, reason)

    def retry_compensation(self, saga_id: str, *, note: str | None = None) -> bool:
        """Give the compensations of a parked saga their full retry policy again.

        ``note`` says what was repaired; it is journaled with the user's name. Raises SagaNotFoundError, and
        RequestError for a saga that is not parked.
        """
        check_text(note, "note of an order", optional=True)
        return self._session.order(saga_id, RetryAsked(user_name(), note))

    def resolve(self, saga_id: str, step_name: str, note: str) -> bool:
        """Say that the compensation of a step was settled by other means, because it failed for good, or can't be made
        (its code is gone). The saga goes on with the steps before that step.

        ``note`` is journaled with the user's name. Raises SagaNotFoundError, and RequestError where an attempt may run,
        for a saga that goes forward (cancel it first), and for a step that owes no compensation or whose compensation
        has not failed and does not come next.
        """
        check_text(step_name, "step's name")
        check_text(note, "note of an order")
        return self._session.order(saga_id, ResolveStep(step_name, note, user_name()))

    def relocate(self, saga_id: str, to: str | os.PathLike[str], *, note: str | None = None) -> bool:
        """Say that the code of a saga is in the folder ``to`` from now on: its next attempts find their classes there.

        ``note`` is journaled with the user's name. Returns False where the code is there already. Raises
        SagaNotFoundError, and RequestError for a folder that does not have the saga's modules, and for a saga that has
        ended.
        """
        check_text(note, "note of an order", optional=True)
        return self._session.relocate(saga_id, to, note)

    def purge(
        self,
        older_than: timedelta = timedelta(days=30),
        name: str | None = None,
        status: SagaStatus | None = None,
        dry_run: bool = False,
        *,
        events: bool = False,
    ) -> PurgeReport:
        """Delete the record of each saga that finished ``older_than`` ago, or before: COMPLETED and COMPENSATED sagas
        of that ``name`` and ``status`` where they are given; never one that runs or is parked. With ``dry_run`` nothing
        is deleted, and the report says what would be.

        It is done in this process, in short transactions beside the work. A purged id stays known: to start it, or to
        ask for its handle, raises SagaExistsError, which says how and when it ended, and nothing runs again; `get_saga`
        returns None. The sagas' events stay in the event store; ``events=True`` deletes them too. Raises RequestError
        for a status that is not final. A purge that is broken off has purged some sagas, each of them whole.
        """
        self._session.check_open()
        with late_import():
            from antistrophe.client.purging import purge, purgeable
        return purge(
            self._session.journal,
            purgeable(older_than, name, status, events=events),
            dry_run=dry_run,
            synchronous=self.settings.synchronous,
            go_on=self._session.check_open,
        )

    def erase(self, saga_id: str, *, events: bool = False) -> bool:
        """Erase what the steps of one finished saga were given, returned and raised, and the notes of its orders. Its
        course stays: steps, statuses, times. With ``events`` its events in the event store are blanked, too: they keep
        their places and types, and ``RecordedEvent.erased`` is True. Returns False where all of it was erased before.

        It is done in this process, in one transaction beside the work, and what stood in the file is overwritten.
        Without ``events`` its events stay as they are, and so do the system's logs. Started again, the saga has its
        recorded outcome without events and outputs; since its inputs are not known any more, any inputs are taken for
        the same.
        Raises RequestError for a saga that runs or is parked, SagaNotFoundError, SagaExistsError for one that was
        purged, and JournalBusyError where somebody reads the file for so long that its log can't be cut off.
        """
        self._session.check_open()
        with late_import():
            from antistrophe.client.erasing import erase
        return erase(self._session.journal, saga_id, events=events, synchronous=self.settings.synchronous)

    # --- looking -------------------------------------------------------------------------------------------------

    def running_count(self) -> int:
        """How many sagas the system works on, or will work on as soon as it may."""
        return self._session.counts()[0]

    def history_count(self) -> int:
        """How many sagas have finished or are parked."""
        return self._session.counts()[1]

    def get_saga(self, saga_id: str) -> SagaMetadata | None:
        """One saga, live or finished; None where no saga has that id, or where it was purged."""
        return self._session.find(saga_id)

    def get_running_sagas(self) -> list[SagaMetadata]:
        """The sagas that `running_count` counts."""
        running = listed(self._session.requests, lambda correlation, cursor, _: ListRunning(correlation, cursor))
        found = {saga.id: saga for saga in running}  # one that turned back meanwhile may be listed twice
        return sorted(found.values(), key=lambda saga: saga.created_at)

    def get_history(self, limit: int = 1000) -> list[SagaMetadata]:
        """The last ``limit`` sagas that finished or were parked, in order of finishing."""
        check_number(limit, "limit", 1)
        newest = listed(
            self._session.requests, lambda correlation, cursor, left: ListHistory(correlation, left, cursor), limit
        )
        return [*reversed(newest.sagas)]

    def list_sagas(
        self,
        status: SagaStatus | None = None,
        name: str | None = None,
        text: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> SagaPage:
        """A page of at most ``limit`` sagas, the last accepted first.

        ``status`` and ``name`` choose the sagas of that status and name; ``text`` those that contain it in their id,
        name, error or reason to wait; that a saga waits for nothing but a free step process is not searched. A text of
        one or two characters that few sagas have takes time in proportion to the number of all sagas; a longer one is
        found by an index. ``cursor`` is the cursor of the page before::

            page = orchestrator.list_sagas(status=SagaStatus.FAILED)
            more = orchestrator.list_sagas(status=SagaStatus.FAILED, cursor=page.cursor) if page.cursor else None
        """
        wanted = None if status is None else SagaStatus(status)
        for value, what in ((name, "name"), (text, "text"), (cursor, "cursor")):
            check_text(value, what, optional=True)
        check_number(limit, "limit", 1)
        return listed(
            self._session.requests,
            lambda correlation, cursor, left: ListSagas(correlation, wanted, name, text, left, cursor),
            limit,
            cursor,
        )

    def get_timeline(self, saga_id: str) -> list[TimelineEntry]:
        """Every journal entry of a saga, in order. Raises SagaNotFoundError."""
        return self._session.timeline(saga_id)

    def get_outputs(self, saga_id: str) -> dict[str, Any]:
        """What the steps of a saga have returned so far: the outputs by step name, of the steps that returned one.

        It does not wait for the saga. The output of a step that was compensated stays. Raises SagaNotFoundError, and
        UnreadableDataError for an output that can't be read.
        """
        return self._session.outputs(saga_id)

    def get_logs(self, saga_id: str) -> list[LogRecord]:
        """What the attempts of a saga have logged and printed until now, in the order in which it was written.

        It is kept in ``log/steps.log`` of the home, as long as there is room (``step_log_bytes``): of a saga of long
        ago there may be nothing left. Raises SagaNotFoundError, and SagaExistsError where it was purged.
        """
        self._session.require(saga_id)
        return records_of(self.home, saga_id)

    def subscribe(self, from_position: int | None = None) -> ChangeSubscription:
        """Follow the lifecycle of all sagas: an iterator of SagaChange that ends when it or the orchestrator is closed.

        ``from_position`` is the position of the last change already seen (0: begin with the first change). By default
        the subscription shows what changes from now on.
        """
        return ChangeSubscription(self._session, from_position)

    def wait_idle(self, timeout_s: float | None = None) -> None:
        """Wait until no saga runs; parked sagas do not count. Raises TimeoutError after ``timeout_s`` seconds, which
        says what the sagas wait for."""
        self._session.wait_idle(Deadline(timeout_s))

    def processes(self) -> list[ProcessRecord]:
        """Every process of the actor system at this moment."""
        answer = self._session.requests.ask(ListProcesses, Processes)
        attachment = self._session.attachment
        system = attachment.wait_ready(attachment.settings.reattach_s)
        return [
            ProcessRecord(system.launcher_pid, "launcher"),
            ProcessRecord(system.admin_pid, "admin"),
            ProcessRecord(system.logger_pid, "logger"),
            *answer.processes,
        ]

    def hosts(self) -> tuple[HostRecord, ...]:
        """The live hosts that share the journal, by name. Raises RequestError where it is in a file, and not shared."""
        from antistrophe.client.host_list import live_hosts  # seldom needed

        return live_hosts(self._session)

    def reload(self) -> int:
        """Have the steps of all applications of this home run in processes that load their code anew: those that are
        idle end now, those that work after their calls. Returns how many there are.

        A changed file of a step's own module is noticed without this; a change of a module that it imports is not.
        """
        return self._session.requests.ask(ReloadCode, CodeReloaded).processes

    @property
    def settings(self) -> Settings:
        """Those of the system that runs, whoever started it. ``settings.sources()`` says where each value comes
        from. A password in the journal's URL is hidden."""
        return self._session.attachment.settings.without_secrets()

    @property
    def event_store(self) -> EventStore:
        """The store that holds the sagas' events. It is closed together with the orchestrator."""
        return self._session.event_store

    # --- leaving -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the actor system. The last orchestrator to leave waits for the system's end (``drain_s`` and a moment).

        Calls that still wait raise SystemStateError. Sagas that run go on when the home is opened again.
        """
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        session: Session | None = getattr(self, "_session", None)  # None where it could not be opened
        if session is not None and session.usable:
            session.attachment.leave()
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.home)!r})"
