"""The ids of traces and spans: derived, never drawn; and what a caller's context says of them."""

from __future__ import annotations

import sys
import types

import pytest

from antistrophe.client.caller_trace import current_traceparent
from antistrophe.saga.entries import Action
from antistrophe.saga.trace_ids import attempt_part, parse_traceparent, span_of

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_saga_is_in_the_trace_of_its_caller() -> None:
    root = span_of("s", "request", CALLER)
    assert root.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert root.span_id != "b7ad6b7169203331"
    assert span_of("s", "request", CALLER) == root, "the same in every process"
    assert span_of("s", "request", CALLER[:-1] + "0").flags == 0, "what the caller's sampler dropped stays dropped"


def test_without_a_caller_each_request_has_a_trace_of_its_own() -> None:
    one, other = span_of("s", "request", ""), span_of("s", "another", "")
    assert one.trace_id != other.trace_id
    assert one.flags == 1
    assert parse_traceparent(str(one)) == one


def test_no_two_attempts_of_a_saga_are_one_span() -> None:
    parts = [attempt_part(step, action, run) for step in range(3) for action in Action for run in range(1, 4)]
    spans = {span_of("s", "request", "", part) for part in [*parts, "saga"]}
    assert len({each.span_id for each in spans}) == len(parts) + 1
    assert len({each.trace_id for each in spans}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        CALLER.upper(),
        f"ff{CALLER[2:]}",
        f"{CALLER}-more",
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_a_text_that_is_no_traceparent_is_no_place_in_a_trace(text: str) -> None:
    assert parse_traceparent(text) is None
    assert span_of("s", "request", text) == span_of("s", "request", "")


def test_who_has_not_imported_opentelemetry_is_in_no_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace", raising=False)
    assert current_traceparent() == ""
    assert "opentelemetry.trace" not in sys.modules
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", types.ModuleType("another package"))
    assert current_traceparent() == ""


def test_the_span_of_the_caller_is_found() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    context = trace.SpanContext(int("0af7651916cd43dd8448eb211c80319c", 16), int("b7ad6b7169203331", 16), False, 1)
    assert current_traceparent() == ""
    with trace.use_span(trace.NonRecordingSpan(context)):
        assert current_traceparent() == CALLER
