"""Traces made of journals: which spans there are, how they hang together, and that each is exported once."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from antistrophe.errors import JournalError, SystemStateError
from antistrophe.journal import SqliteJournal
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    Failure,
    FailureKind,
    SagaAccepted,
    SagaCompensated,
    TurnCause,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.trace_ids import attempt_part, span_of
from antistrophe.tracing import TraceExport
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    RESOLVED,
    START,
    TURN_BACK,
    accepted,
    append,
    run,
    started,
    succeeded,
    waits,
)

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TIMEOUT = Failure(FailureKind.TIMEOUT, "ended", signal=9, duration_s=30.0)


def traced(saga_id: str, traceparent: str = CALLER) -> SagaAccepted:
    entry = accepted(saga_id)
    return replace(entry, spec=replace(entry.spec, traceparent=traceparent))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    SqliteJournal(folder / "journal.db").close()
    return folder


@pytest.fixture
def journal(home: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(home / "journal.db")) as opened:
        yield opened


def killed(journal: SqliteJournal, saga_id: str, traceparent: str = CALLER) -> None:
    """A saga whose first step waits, is killed at its limit, and is undone."""
    append(journal, saga_id, traced(saga_id, traceparent), waits("for a free step process"))
    append(journal, saga_id, started(0))
    append(journal, saga_id, AttemptExpired(START + 2, 0, Action.EXECUTE, 1))
    append(
        journal,
        saga_id,
        AttemptFailed(START + 3, 0, Action.EXECUTE, 1, TIMEOUT),
        TurnedBack(START + 3, TurnCause(TurnReason.STEP_TIMED_OUT, 0, TIMEOUT)),
        replace(started(0, Action.COMPENSATE), at=START + 3),
    )
    undone = replace(succeeded(0, Action.COMPENSATE), at=START + 4)
    append(journal, saga_id, undone, SagaCompensated(START + 4))


def exported(home: Path, exporter: SpanExporter, **options: Any) -> None:
    TraceExport(home, exporter, **options).close()


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise JournalError("the server is away")


def at(moment_s: float) -> int:
    return round(moment_s * 1e6) * 1000


def by_name(spans: Sequence[ReadableSpan]) -> dict[str, ReadableSpan]:
    found = {span.name: span for span in spans}
    assert len(found) == len(spans)
    return found


def test_a_saga_is_one_trace_below_the_span_of_its_caller(home: Path, journal: SqliteJournal) -> None:
    killed(journal, "s")
    memory = InMemorySpanExporter()
    exported(home, memory, from_start=True)
    spans = by_name(memory.get_finished_spans())
    assert set(spans) == {"saga transfer", "wait", "execute Debit", "kill", "compensate Debit"}
    assert {span.context.trace_id for span in spans.values()} == {int(CALLER[3:35], 16)}
    root, attempt, kill = spans["saga transfer"], spans["execute Debit"], spans["kill"]
    assert root.parent is not None
    assert (root.parent.span_id, root.parent.is_remote) == (int(CALLER[36:52], 16), True)
    assert attempt.parent is not None
    assert (attempt.parent.span_id, attempt.parent.is_remote) == (root.context.span_id, False)
    assert kill.parent is not None
    assert kill.parent.span_id == attempt.context.span_id
    assert (root.start_time, root.end_time) == (at(START), at(START + 4))
    assert (kill.start_time, kill.end_time) == (at(START + 2), at(START + 3))
    assert attempt.attributes is not None
    assert dict(attempt.attributes) | {
        "antistrophe.cause": "timeout",
        "antistrophe.signal": 9,
        "antistrophe.in_doubt": True,
        "process.pid": 4242,
    } == dict(attempt.attributes)
    assert attempt.status.status_code is root.status.status_code is StatusCode.ERROR
    assert spans["compensate Debit"].status.status_code is StatusCode.OK
    assert "TurnedBack" in [event.name for event in root.events]


def test_the_span_of_an_attempt_is_the_one_that_its_step_was_told(home: Path, journal: SqliteJournal) -> None:
    killed(journal, "s", "")
    memory = InMemorySpanExporter()
    exported(home, memory, from_start=True)
    told = span_of("s", "request of s", "", attempt_part(0, Action.EXECUTE, 1))
    attempt = by_name(memory.get_finished_spans())["execute Debit"]
    assert (f"{attempt.context.trace_id:032x}", f"{attempt.context.span_id:016x}") == (told.trace_id, told.span_id)


def test_each_saga_is_exported_once_by_whoever_comes_next(home: Path, journal: SqliteJournal) -> None:
    for saga_id in ("before", "a", "b"):
        run(journal, saga_id, *FORWARD)
        memory = InMemorySpanExporter()
        exported(home, memory)
        roots = [span for span in memory.get_finished_spans() if span.name == "saga transfer"]
        ids = [dict(span.attributes or {})["antistrophe.saga.id"] for span in roots]
        assert ids == ([] if saga_id == "before" else [saga_id]), "the first export begins with what ends from then on"


def test_a_parked_saga_is_seen_when_it_is_parked_and_each_span_once(home: Path, journal: SqliteJournal) -> None:
    run(journal, "p", *TURN_BACK, PARK)
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    exported(home, first, from_start=True)
    append(journal, "p", *RESOLVED)
    exported(home, second)
    names = [[span.name for span in memory.get_finished_spans()] for memory in (first, second)]
    assert names == [
        ["execute Debit", "execute Credit", "compensate Debit"],
        ["saga transfer", "parked: a person has to act"],
    ]


def test_spans_share_their_resource_and_the_context_of_their_parent(home: Path, journal: SqliteJournal) -> None:
    """The encoder of OTLP asks each span for its resource's hash, which is the JSON of all attributes."""
    exporter, resource = InMemorySpanExporter(), Resource({"service.name": "shop", "shops": (1, 2)}, "http://schema")
    killed(journal, "a")
    killed(journal, "b", traceparent="")
    exported(home, exporter, resource=resource, from_start=True)
    spans = exporter.get_finished_spans()
    (shared,) = {id(span.resource): span.resource for span in spans}.values()
    assert shared == resource == shared
    assert (hash(shared), shared.schema_url, {shared: 1}[resource]) == (hash(resource), "http://schema", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Resource, "__hash__", None)  # to ask for it raises
        sent = encode_spans(spans)
    assert [each.resource.attributes[0].value.string_value for each in sent.resource_spans] == ["shop"]
    for root in (span for span in spans if span.name.startswith("saga ")):
        parents = [span.parent for span in spans if span.parent == root.context]
        assert len(parents) > 1
        assert all(parent is root.context for parent in parents)


def test_what_the_callers_sampler_dropped_is_not_exported(home: Path, journal: SqliteJournal) -> None:
    killed(journal, "s", CALLER[:-1] + "0")
    memory = InMemorySpanExporter()
    exported(home, memory, from_start=True)
    assert memory.get_finished_spans() == ()


class Failing(SpanExporter):
    """Fails so many times, in each way that an exporter can fail; then it keeps what it gets."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.times -= 1
        if self.times >= 1:
            raise ConnectionError("no collector")
        if self.times == 0:
            return SpanExportResult.FAILURE
        self.spans += spans
        return SpanExportResult.SUCCESS


def test_an_exporter_that_fails_is_tried_again_and_nothing_is_lost(home: Path, journal: SqliteJournal) -> None:
    run(journal, "a", *FORWARD)
    exporter = Failing(2)
    export = TraceExport(home, exporter, from_start=True)
    assert [export.export() for _ in range(3)] == [False, False, True]
    assert [span.name for span in exporter.spans] == ["saga transfer", "execute Debit", "execute Credit"]
    assert export.export()
    assert len(exporter.spans) == 3
    export.close()


def test_one_process_exports_the_traces_of_a_home(home: Path) -> None:
    first = TraceExport(home, InMemorySpanExporter())
    with pytest.raises(SystemStateError, match="another process exports"):
        TraceExport(home, InMemorySpanExporter())
    first.close()
    first.close()
    TraceExport(home, InMemorySpanExporter()).close()


def test_an_export_that_could_not_begin_keeps_no_other_from_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("antistrophe.tracing.exporting.open_journal", refuse)
        with pytest.raises(JournalError, match="the server is away"):
            TraceExport(home, InMemorySpanExporter())
    TraceExport(home, InMemorySpanExporter()).close()


def test_where_the_position_cannot_be_kept_the_spans_come_again(
    home: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    export = TraceExport(home, first)
    run(journal, "a", *FORWARD)

    def full(*_: object) -> Path:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", full)
        export.close()
    exported(home, second)
    spans = [{span.context.span_id for span in memory.get_finished_spans()} for memory in (first, second)]
    assert len(spans[0]) == 3
    assert spans[0] == spans[1]


def test_a_home_without_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir(mode=0o700)
    with pytest.raises(JournalError, match="no journal"):
        TraceExport(tmp_path / "empty", InMemorySpanExporter())


def test_a_damaged_position_and_a_journal_from_before_begin_with_what_ends_from_now_on(
    home: Path, journal: SqliteJournal
) -> None:
    run(journal, "a", *FORWARD)
    for content in ("", "{}", '{"position": 99999}'):
        (home / "traces.json").write_text(content, "utf-8")
        memory = InMemorySpanExporter()
        export = TraceExport(home, memory, from_start=True)
        assert export.export()
        run(journal, f"after {content}", *FORWARD)
        assert export.export()
        assert len(memory.get_finished_spans()) == 3
        export.close()


def test_an_acceptance_in_a_trace_comes_back_and_is_listed(journal: SqliteJournal) -> None:
    append(journal, "s", traced("s"))
    for part in FORWARD:
        append(journal, "s", *part)
    found = journal.accepted("s")
    assert found == traced("s")
    saga = journal.metadata("s")
    assert saga is not None
    assert saga.name == "transfer"
    assert isinstance(journal.load("s")[1], AttemptStarted)


def test_a_collector_of_otlp_gets_the_spans(home: Path, journal: SqliteJournal) -> None:
    killed(journal, "s")
    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        exporter = OTLPSpanExporter(f"http://127.0.0.1:{server.server_port}/v1/traces", compression=None)
        with TraceExport(home, exporter, from_start=True):
            pass
        server.shutdown()
        thread.join()
    (body,) = got
    request = ExportTraceServiceRequest.FromString(body)
    spans = [span for each in request.resource_spans for scope in each.scope_spans for span in scope.spans]
    assert {span.name for span in spans} == {"saga transfer", "wait", "execute Debit", "kill", "compensate Debit"}
    assert {span.trace_id.hex() for span in spans} == {CALLER[3:35]}
