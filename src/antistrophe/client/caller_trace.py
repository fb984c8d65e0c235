"""Where in a trace the caller is, if the application uses OpenTelemetry. Nothing of it is imported here: an application
that has not imported it is in no span."""

from __future__ import annotations

import sys
from typing import Any

from antistrophe.definition.spec import SagaSpec
from antistrophe.serialization.fast_records import changed


def in_callers_trace(spec: SagaSpec) -> SagaSpec:
    """The spec with the caller's place in a trace, if it is in one."""
    traceparent = current_traceparent()
    return changed(spec, traceparent=traceparent) if traceparent else spec


def current_traceparent() -> str:
    """The caller's span as a W3C traceparent; empty where there is none."""
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    try:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return ""
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 1:02x}"
    except Exception:  # another package of that name, or one that is being imported: a saga does not fail for its trace
        return ""
