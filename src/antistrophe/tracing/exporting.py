"""Follows a home's journal, and gives the spans of each saga that ends, or is parked, to an exporter of OpenTelemetry.

How far that has come is in a file of the home. It is written after an exporter has taken the spans: where a process is
killed in between, the next one exports these spans again, with the same ids. One process of a home exports at a time.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from antistrophe.client.chosen_settings import with_chosen_journal
from antistrophe.client.stored_home import stored_place
from antistrophe.errors import JournalError, SystemStateError
from antistrophe.journal import JournalRecord, StoredJournal, open_journal
from antistrophe.linux.private_files import replace_private
from antistrophe.saga.entries import SagaParked
from antistrophe.saga.trace_ids import TraceContext
from antistrophe.settings import Settings
from antistrophe.tracing.spans import SagaSpan, newly_ended, spans_of

POSITION_FILE = "traces.json"

_SAGAS_AT_ONCE = 100
_LOOK_S = 1.0
"""How often the export looks for sagas that have ended. OpenTelemetry's own processor lets spans wait for 5 s."""
_LONGEST_PAUSE_S = 60.0
_PATIENCE_S = 1.0
_SCOPE = InstrumentationScope("antistrophe")

log = logging.getLogger("antistrophe.tracing")


class TraceExport:
    """Exports the traces of one home's sagas while it is open::

        with TraceExport(home, OTLPSpanExporter()):
            ...

    A saga's spans are exported when it ends, and when it is parked: with the journal's times, in the trace of its
    caller where that was in one. ``resource`` describes the service; by default what ``OTEL_SERVICE_NAME`` and
    ``OTEL_RESOURCE_ATTRIBUTES`` say. The first export of a home begins with the sagas that end from then on; with
    ``from_start`` with the first that is in the journal. ``journal``: as for ``SagaOrchestrator``. An exporter that
    fails is tried again, with a pause, and nothing is lost.

    Raises SystemStateError where another process exports the traces of this home, and JournalError where there is no
    journal. Export in one process; forked processes need nothing.
    """

    def __init__(
        self,
        home: str | os.PathLike[str],
        exporter: SpanExporter,
        *,
        resource: Resource | None = None,
        from_start: bool = False,
        journal: str | None = None,
    ) -> None:
        self._home = Path(home).absolute()
        self._url = with_chosen_journal(Settings(), journal).journal
        self._exporter = exporter
        self._resource = _SharedResource(resource or Resource.create())
        self._lock: int | None = self._take()
        try:
            self._position = self._first(from_start)
        except BaseException:
            os.close(self._lock)
            raise
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="antistrophe-traces", daemon=True)
        self._working = threading.Lock()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Export what has ended until now, and stop."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lock is not None:
            lock, self._lock = self._lock, None
            try:
                if not self.export():
                    log.warning("the last traces of %s are exported next time", self._home)
            except (JournalError, OSError) as error:
                log.warning("the last traces of %s are exported next time: %s", self._home, error)
            finally:
                os.close(lock)
                self._exporter.shutdown()

    def export(self) -> bool:
        """Export the sagas that have ended, or were parked, since the last time. False where the exporter has failed.
        Raises JournalError where the journal can't be read."""
        with self._working, closing(self._open()) as journal:
            head = journal.head()
            if head < self._position:  # another file has taken its place, from a back-up for instance
                self._keep(head)
            while found := journal.settled(self._position, head, _SAGAS_AT_ONCE):
                spans = [span for _, saga_id, seq in found for span in _spans_at(journal, saga_id, seq)]
                if spans and not self._give(spans):
                    return False
                self._keep(found[-1][0])
            if self._position < head:
                self._position = head  # not written: it says no more than the last end
        return True

    def _follow(self) -> None:
        pause_s = _LOOK_S
        while not self._stopping.wait(pause_s):
            try:
                done = self.export()
            except JournalError as error:
                log.warning("the traces of %s can't be read: %s", self._home, error)
                done = False
            except OSError as error:
                log.warning("how far the traces of %s have come can't be kept: %s", self._home, error)
                done = False
            pause_s = _LOOK_S if done else min(pause_s * 2, _LONGEST_PAUSE_S)

    def _give(self, spans: Sequence[SagaSpan]) -> bool:
        try:
            contexts = _Contexts()
            result = self._exporter.export([_readable(span, contexts, self._resource) for span in spans])
        except Exception as error:  # an exporter is the application's own
            log.warning("the exporter of traces failed, and is tried again: %r", error)
            return False
        return result is SpanExportResult.SUCCESS

    def _open(self) -> StoredJournal:
        return open_journal(stored_place(self._home, self._url), read_only=True, patience_s=_PATIENCE_S)

    # --- how far it has come -------------------------------------------------------------------------------------

    def _take(self) -> int:
        stored_place(self._home, self._url)
        lock = os.open(self._home / f"{POSITION_FILE}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise SystemStateError(
                f"another process exports the traces of {self._home}: let one do it, `antistrophe serve --traces` or"
                " one of the applications"
            ) from error
        return lock

    def _first(self, from_start: bool) -> int:
        try:
            return int(json.loads((self._home / POSITION_FILE).read_text("utf-8"))["position"])
        except FileNotFoundError:
            pass
        except (OSError, ValueError, TypeError, LookupError) as error:
            log.warning("%s can't be read (%s): traces go on from now", self._home / POSITION_FILE, error)
            from_start = False
        with closing(self._open()) as journal:
            position = 0 if from_start else journal.head()
        self._keep(position)
        return position

    def _keep(self, position: int) -> None:
        """Write how far the export has come: the whole number or the one before, whenever this process ends."""
        replace_private(self._home / POSITION_FILE, json.dumps({"position": position}).encode())
        self._position = position


def _spans_at(journal: StoredJournal, saga_id: str, seq: int) -> list[SagaSpan]:
    """The spans of a saga that have ended since it was parked before, up to that entry. None of one that was purged, or
    that can't be read."""
    try:
        records: list[JournalRecord] = journal.saga_records(saga_id)
    except JournalError as error:
        log.warning("saga %r has no trace: %s", saga_id, error)
        return []
    parked = [each.seq for each in records if isinstance(each.entry, SagaParked) and each.seq < seq]
    return newly_ended(spans_of(records), parked[-1] if parked else 0, seq)


class _SharedResource(Resource):
    """The resource of all spans. The encoder of OTLP asks for its hash with each span, and the class that this one
    inherits from makes that of all attributes as JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(dict(resource.attributes), resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class _Contexts(dict[tuple[str, str, int, bool], SpanContext]):
    """The contexts of some spans. Most spans of a saga have the same parent, whose context is made once."""

    def of(self, place: TraceContext, *, is_remote: bool) -> SpanContext:
        return self[place.trace_id, place.span_id, place.flags, is_remote]

    def __missing__(self, key: tuple[str, str, int, bool]) -> SpanContext:
        trace_id, span_id, flags, is_remote = key
        made = self[key] = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, TraceFlags(flags))
        return made


def _readable(span: SagaSpan, contexts: _Contexts, resource: Resource) -> ReadableSpan:
    status = Status(StatusCode.OK) if span.error is None else Status(StatusCode.ERROR, span.error)
    return ReadableSpan(
        name=span.name,
        context=contexts.of(span.context, is_remote=False),
        parent=None if span.parent is None else contexts.of(span.parent, is_remote=span.of_caller),
        resource=resource,
        attributes=span.attributes,
        events=[Event(each.name, each.attributes, _ns(each.at)) for each in span.events],
        status=status,
        start_time=_ns(span.began_at),
        end_time=_ns(span.ended_at),
        instrumentation_scope=_SCOPE,
    )


def _ns(at: float) -> int:
    return round(at * 1e6) * 1000


def otlp_exporter() -> Any:
    """The exporter that ``OTEL_EXPORTER_OTLP_ENDPOINT`` and its like describe, over HTTP."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()
