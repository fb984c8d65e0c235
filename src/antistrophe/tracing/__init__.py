"""Traces: every saga as a trace of OpenTelemetry, made of its journal's entries.

Needs the extra ``antistrophe[otel]``, which brings OpenTelemetry's SDK and its exporter of OTLP over HTTP::

    from antistrophe.tracing import TraceExport, otlp_exporter

    with TraceExport(home, otlp_exporter()):
        ...

    application's span ─traceparent─► acceptance in the journal ─► TraceExport (one process) ─► exporter
                                            │                       saga > attempts, waits > kills
                                            └─► ctx.traceparent of each attempt ─► the step's own spans

The rules:

- Nothing of OpenTelemetry is imported but here. Who does not use it pays nothing for it.
- Spans are made where they are exported, from what is durable: a saga that survives a crash has one trace. Their ids
  are digests (``saga/trace_ids``), so that a step knows the span of its attempt before it is made.
- A trace that the caller's sampler has dropped is not exported.

``spans`` makes spans of entries, ``exporting`` makes OpenTelemetry's of them and keeps how far it has come.
"""

from antistrophe.tracing.exporting import TraceExport, otlp_exporter

__all__ = ["TraceExport", "otlp_exporter"]
