"""The trace of a saga in a running system: it goes on from its caller's span to the spans of its steps."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antistrophe import SagaDefinition, SagaOrchestrator, Settings, StepTimeoutError
from antistrophe.linux.termination import processes_of_home
from antistrophe.tracing import TraceExport
from tests.actors.steps_trace import hang, tell, wait_for
from tests.killing import kill_all
from tests.waiting import until

TRACE, SPAN = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


def test_a_killed_saga_is_in_the_trace_of_its_caller_with_the_spans_that_its_steps_were_told(
    system: SagaOrchestrator,
) -> None:
    memory = InMemorySpanExporter()
    caller = trace.NonRecordingSpan(trace.SpanContext(TRACE, SPAN, False, trace.TraceFlags(1)))
    saga = SagaDefinition("traced", name="transfer").add_step(tell()).add_step(hang())
    with TraceExport(system.home, memory), trace.use_span(caller), pytest.raises(StepTimeoutError):
        system.execute(saga, timeout_s=60.0)
    spans = {span.name: span for span in memory.get_finished_spans() if not span.name.startswith("wait")}
    assert set(spans) == {
        "saga transfer",
        "execute tell",
        "execute hang",
        "kill",
        "compensate hang",
        "compensate tell",
    }
    assert {span.context.trace_id for span in spans.values()} == {TRACE}
    root = spans["saga transfer"]
    assert root.parent is not None
    assert root.parent.span_id == SPAN
    told = system.get_outputs("traced")["tell"]
    assert told == f"00-{TRACE:032x}-{spans['execute tell'].context.span_id:016x}-01"
    attributes = spans["execute hang"].attributes
    assert attributes is not None
    assert (attributes["antistrophe.cause"], attributes["antistrophe.in_doubt"]) == ("timeout", True)


def test_a_saga_whose_whole_system_was_killed_is_one_trace_with_each_attempt_once(tmp_path: Path) -> None:
    told, gate, memory = tmp_path / "told", tmp_path / "gate", InMemorySpanExporter()
    caller = trace.NonRecordingSpan(trace.SpanContext(TRACE, SPAN, False, trace.TraceFlags(1)))
    saga = SagaDefinition("survivor").add_step(tell()).add_step(wait_for(str(gate), str(told)))
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.5)) as orchestrator:
        with TraceExport(orchestrator.home, InMemorySpanExporter()) as before, trace.use_span(caller):
            handle = orchestrator.start(saga)
            until(lambda: told.exists() and told.read_text(), "the second step")
            killed = processes_of_home(orchestrator.home)
            kill_all(orchestrator.home)
            assert before.export(), "a saga that has not ended has no spans yet, and a system that is down is no error"
        gate.touch()
        with TraceExport(orchestrator.home, memory):
            handle.result(timeout_s=60.0)
    spans = {span.context.span_id: span for span in memory.get_finished_spans()}
    assert len(spans) == len(memory.get_finished_spans())
    assert {span.context.trace_id for span in spans.values()} == {TRACE}
    names = Counter(span.name for span in spans.values() if not span.name.startswith("wait "))
    assert names == {"saga survivor": 1, "execute tell": 1, "execute wait_for": 2}
    (root,) = (span for span in spans.values() if span.name == "saga survivor")
    assert root.parent is not None
    assert root.parent.span_id == SPAN
    below = {span.parent and span.parent.span_id for span in spans.values() if span is not root}
    assert below == {root.context.span_id}
    first, second = (span for span in spans.values() if span.name == "execute wait_for")
    assert told.read_text().split() == [f"00-{TRACE:032x}-{each.context.span_id:016x}-01" for each in (first, second)]
    assert first.end_time is not None
    assert second.start_time is not None
    assert first.end_time <= second.start_time
    assert first.attributes is not None
    assert second.attributes is not None
    assert first.attributes["antistrophe.cause"] == "interrupted"
    assert (first.attributes["antistrophe.attempt"], second.attributes["antistrophe.attempt"]) == (1, 2)
    assert second.attributes["process.pid"] not in killed
