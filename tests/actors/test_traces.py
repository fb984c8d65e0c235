"""The trace of a saga in a running system: it goes on from its caller's span to the spans of its steps."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from antistrophe import SagaDefinition, SagaOrchestrator, StepTimeoutError
from antistrophe.tracing import TraceExport
from tests.actors.steps_trace import hang, tell

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
