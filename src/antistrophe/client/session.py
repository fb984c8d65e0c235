"""An application's open connection to the actor system of one home: what its orchestrators and handles share."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from antistrophe.client.arguments import check_text, joins
from antistrophe.client.caller_trace import in_callers_trace
from antistrophe.client.callers_transaction import start_in
from antistrophe.client.chosen_settings import warn_of_others
from antistrophe.client.deadline import Deadline
from antistrophe.client.introduction import Introduction
from antistrophe.client.request_reply import Requests
from antistrophe.client.saga_entries import accepted_spec, code_of, entries_of, events_of, outputs_of
from antistrophe.client.user_name import user_name
from antistrophe.client.where_it_stands import where_it_stands
from antistrophe.definition.code_loading import GUARD
from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.relocation import origin_in
from antistrophe.definition.saga_definition import SagaDefinition, checked_saga
from antistrophe.definition.same_values import spec_as_accepted
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import (
    RequestError,
    SagaExistsError,
    SagaNotFoundError,
    SystemStateError,
    SystemUnavailableError,
)
from antistrophe.eventstore.recorded import Upcasts, recorded
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import JournalPlace
from antistrophe.journal.timeline import timeline_entry
from antistrophe.journal.tombstones import was_purged
from antistrophe.launcher.attachment import Attachment
from antistrophe.messages import (
    CountSagas,
    Done,
    GetSaga,
    ListRunning,
    ListSagas,
    OrderSaga,
    ResolveStep,
    SagaCounts,
    SagaFound,
    SagaList,
)
from antistrophe.records import SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked
from antistrophe.saga.outcome import Outcome, error_of
from antistrophe.settings import Settings

T = TypeVar("T")

_SHOWN_SAGAS = 3
_LAST_LOOK_S = 0.5

_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.05
_LOOK_S = 2.0


class Session:
    """Attached to the system of a home from its making until `close`. Any thread may use a session; a fork may not.

    ``attachment`` is open already (``opening``). Calls that wait take a Deadline, so that another thread can end the
    wait early. ``requests`` sends everything else. It raises SystemStateError in a fork and after `close`, because it
    asks ``attachment`` for the system first.
    """

    def __init__(
        self, attachment: Attachment, introduction: Introduction, settings: Settings | None, versions: Upcasts | None
    ) -> None:
        self.home = attachment.home
        self.attachment = attachment
        self._versions = versions
        self._store: EventStore | None = None
        self._store_lock = threading.Lock()
        self.requests = Requests(attachment, introduction=introduction)
        self.journal = JournalPlace.of_home(self.home, attachment.settings.journal)
        if settings is not None:
            warn_of_others(settings, attachment.settings, self.home)
        self.requests.introduce()

    @property
    def usable(self) -> bool:
        """Whether this process opened the session and has not closed it."""
        return not self.attachment.closed and not self.attachment.foreign

    # --- sagas ---------------------------------------------------------------------------------------------------

    def execute(self, saga: SagaDefinition, if_live: str, deadline: Deadline) -> list[object]:
        """Have a saga accepted, wait for its end, and return its events. Raises the SagaError that it ended with."""
        join = joins(if_live)
        self._refuse_in_transaction("to execute a saga")
        self.attachment.check_process()
        run = partial(self.requests.run, join=join, deadline=deadline)
        return self._events_of(self._accepted(saga, run))

    def start(self, saga: SagaDefinition, if_live: str, connection: Any = None) -> None:
        """Have a saga accepted: it is durable when this returns, or with a ``connection`` once that has committed."""
        join = joins(if_live)
        self._refuse_in_transaction("to start a saga")
        self.attachment.check_process()
        if connection is not None:
            start_in(self, saga, connection, join=join)
        else:
            self._accepted(saga, partial(self.requests.start, join=join))

    def spec_of(self, saga: SagaDefinition) -> SagaSpec:
        """The definition of a saga as it is accepted."""
        return in_callers_trace(checked_saga(saga).spec(self.attachment.settings.max_payload_bytes))

    def _accepted(self, saga: SagaDefinition, ask: Callable[[SagaSpec], T]) -> T:
        """Ask for a saga to be accepted. Where the system finds another definition under its id, look whether it is
        the same in other words, and then ask in those."""
        spec = self.spec_of(saga)
        try:
            return ask(spec)
        except SagaExistsError:
            accepted = accepted_spec(self.requests, saga.id, str(self.home))
            same = None if accepted is None else spec_as_accepted(saga.steps, spec, accepted)
            if same is None:
                raise
        return ask(same)

    def result(self, saga_id: str, deadline: Deadline) -> list[object]:
        """Wait for the end of a saga and return its events. Raises the SagaError that it ended with."""
        check_text(saga_id, "saga's id")
        if self.journal.is_written_by_caller and self.require(saga_id).status.running:
            self._refuse_in_transaction(f"saga {saga_id!r}, which has not ended,")
        return self._events_of(self.requests.outcome(saga_id, deadline))

    def outputs_at_end(self, saga_id: str, deadline: Deadline) -> dict[str, Any]:
        """Wait for the end of a saga and return the outputs of its steps. Raises the SagaError that it ended with."""
        self.result(saga_id, deadline)
        return self.outputs(saga_id)

    def outputs(self, saga_id: str) -> dict[str, Any]:
        """The outputs of a saga's steps so far. Raises SagaNotFoundError."""
        check_text(saga_id, "saga's id")
        with self._knowing(saga_id):
            return outputs_of(self.requests, saga_id, str(self.home))

    def timeline(self, saga_id: str) -> list[TimelineEntry]:
        """Every journal entry of a saga, in order. Raises SagaNotFoundError."""
        check_text(saga_id, "saga's id")
        with self._knowing(saga_id):
            return [timeline_entry(record) for record in entries_of(self.requests, saga_id, str(self.home))]

    def find(self, saga_id: str) -> SagaMetadata | None:
        """One saga, or None where no saga has that id, or where it was purged."""
        return self._look(saga_id).saga

    def require(self, saga_id: str) -> SagaMetadata:
        """One saga. Raises SagaNotFoundError, and SagaExistsError where it was purged."""
        found = self._look(saga_id)
        if found.saga is not None:
            return found.saga
        if found.purged is not None:
            raise was_purged(saga_id, found.purged)
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {self.home}")

    def _look(self, saga_id: str) -> SagaFound:
        check_text(saga_id, "saga's id")
        return self.requests.ask(lambda correlation: GetSaga(correlation, saga_id), SagaFound)

    @contextmanager
    def _knowing(self, saga_id: str) -> Iterator[None]:
        """Of a saga whose entries are not found, say that it was purged, where it was."""
        try:
            yield
        except SagaNotFoundError:
            self.require(saga_id)
            raise

    def cancel(self, saga_id: str, reason: str | None) -> bool:
        """Order a saga to turn back. False where it has ended or turned back already."""
        check_text(reason, "reason of an order", optional=True)
        return self.order(saga_id, CancelAsked(reason, user_name()))

    def relocate(self, saga_id: str, folder: str | os.PathLike[str], note: str | None) -> bool:
        """Order a saga to find its code in this folder. False where it does so already."""
        check_text(saga_id, "saga's id")
        if not isinstance(folder, str | os.PathLike) or "\0" in os.fspath(folder):
            raise RequestError(f"the folder of the code must be a path, not {folder!r:.200}")
        with self._knowing(saga_id):
            origin = origin_in(folder, *code_of(self.requests, saga_id, str(self.home)))
        return self.order(saga_id, RelocateAsked(origin, user_name(), note))

    def order(self, saga_id: str, order: CancelAsked | RetryAsked | ResolveStep | RelocateAsked) -> bool:
        """Give a saga an order, and return whether the order had an effect."""
        check_text(saga_id, "saga's id")
        self._refuse_in_transaction("an order to a saga")
        client_id = self.attachment.client_id
        return self.requests.ask(lambda correlation: OrderSaga(correlation, saga_id, order, client_id), Done).effect

    def check_open(self) -> None:
        """Raise SystemStateError after `close`, and in a fork."""
        self.attachment.check_process()
        if self.attachment.closed:
            raise SystemStateError(f"the orchestrator of {self.home} is closed")

    def counts(self) -> tuple[int, int]:
        """How many sagas run, and how many have finished or are parked."""
        counts = self.requests.ask(CountSagas, SagaCounts)
        return counts.running, counts.finished

    def wait_idle(self, deadline: Deadline) -> None:
        """Wait until no saga runs. Raises TimeoutError."""
        pause_s, look_at = _FIRST_PAUSE_S, time.monotonic() + _LOOK_S
        while running := self.counts()[0]:
            self._refuse_in_transaction("a saga that has not ended")
            if deadline.over:
                raise deadline.error(f"{running} saga(s) of {self.home} have not ended", self._what_they_do(running))
            time.sleep(deadline.left_s(pause_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            if time.monotonic() >= look_at:
                self._refuse_unguarded()
                look_at = time.monotonic() + _LOOK_S

    def _refuse_unguarded(self) -> None:
        """Raise SystemStateError where a saga waits because its script has no guard: it would wait for ever."""
        for saga in self.requests.ask(ListRunning, SagaList).sagas:
            if saga.waiting is not None and GUARD in saga.waiting:
                raise SystemStateError(f"saga {saga.id!r} waits: {saga.waiting}")

    def _what_they_do(self, running: int) -> str:
        """Where some of the sagas stand that run."""
        shown: list[str] = []
        for status in (SagaStatus.COMPENSATING, SagaStatus.EXECUTING):
            page = partial(ListSagas, status=status, name=None, text=None, limit=_SHOWN_SAGAS, cursor=None)
            try:
                sagas = self.requests.ask(page, SagaList, deadline=Deadline(_LAST_LOOK_S)).sagas
            except (TimeoutError, SystemUnavailableError):
                return "the actor system does not answer"
            shown += [f"{saga.id!r}: {where_it_stands(saga)}" for saga in sagas]
        shown = shown[:_SHOWN_SAGAS]
        others = running - len(shown)
        return "; ".join(shown + ([f"and {others} more"] if others > 0 else []))

    def _refuse_in_transaction(self, what: str) -> None:
        """Raise RequestError where the caller has a transaction open on the journal: the system could write nothing."""
        self.journal.refuse_in_transaction(what)

    def _events_of(self, outcome: Outcome) -> list[object]:
        error = error_of(outcome)
        if error is not None:
            raise error
        events: Sequence[EncodedEvent] = outcome.events
        if outcome.events_stored:
            with self._knowing(outcome.saga_id):
                events = events_of(self.requests, outcome.saga_id, str(self.home))
        # The event store's own reader decodes these events too, so it needs them as rows with a position and a time.
        rows = [(0, outcome.saga_id, 0, event.type, event.type_version, event.data, None, 0) for event in events]
        return [each.event for each in recorded(rows, self._versions)]

    # --- the event store -----------------------------------------------------------------------------------------

    @property
    def event_store(self) -> EventStore:
        """The store of the sagas' events, opened at the first use. Raises SystemStateError after `close`."""
        self.attachment.check_process()
        with self._store_lock:
            if self._store is None:
                self.check_open()
                synchronous = self.attachment.settings.synchronous
                self._store = EventStore(self.journal.where, self._versions, synchronous=synchronous)
            return self._store

    # --- leaving -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Leave the system, and wait for its end where nobody else is attached. Does nothing in a fork."""
        if self.attachment.foreign:
            return
        with self._store_lock:
            store, self._store = self._store, None
        if store is not None:
            store.close()
        self.attachment.close()
        self.requests.close()
