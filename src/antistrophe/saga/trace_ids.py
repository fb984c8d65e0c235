"""The ids of a saga's trace and of its spans, in W3C's Trace Context: the same in every process, and after a restart.

A saga that was started within a span of its caller is a part of that span's trace. Any other saga has a trace of its
own. No id is drawn: each is a digest of what the journal holds, so that a step knows the id of its attempt's span
before anybody makes that span.
"""

from __future__ import annotations

import re
from functools import lru_cache
from hashlib import blake2b

from antistrophe.fast_dataclass import dataclass
from antistrophe.saga.entries import Action

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
SAMPLED = 1
ROOT = "saga"
"""The part of the span of a saga as a whole."""


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace: that of a span. ``flags`` has SAMPLED where the trace is recorded."""

    trace_id: str
    span_id: str
    flags: int

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def parse_traceparent(text: str) -> TraceContext | None:
    """The place that a traceparent names; None for a text that names none."""
    found = _TRACEPARENT.fullmatch(text)
    if found is None or text.startswith("ff") or not int(found[1], 16) or not int(found[2], 16):
        return None
    return TraceContext(found[1], found[2], int(found[3], 16) & SAMPLED)


def span_of(saga_id: str, request_id: str, traceparent: str, part: str = ROOT) -> TraceContext:
    """The span of a part of a saga, which was accepted by that request from a caller at ``traceparent`` (empty: in no
    trace)."""
    trace_id, flags, key = _trace_of(saga_id, request_id, traceparent)
    return TraceContext(trace_id, _digest(f"{saga_id}\0{part}", 8, key), flags)


def traceparent_of(saga_id: str, request_id: str, traceparent: str, part: str) -> str:
    """The same span as a W3C traceparent. Each attempt asks for it, so no TraceContext is made on the way."""
    trace_id, flags, key = _trace_of(saga_id, request_id, traceparent)
    span_id = _digest(f"{saga_id}\0{part}", 8, key)
    return f"00-{trace_id}-{span_id}-{flags:02x}"


@lru_cache(maxsize=64)
def _trace_of(saga_id: str, request_id: str, traceparent: str) -> tuple[str, int, bytes]:
    """The trace of a saga, its flags, and the key of the saga's digests: the same for all its spans."""
    key = request_id.encode("utf-8", "surrogatepass")[:64]
    caller = parse_traceparent(traceparent) if traceparent else None
    if caller is not None:
        return caller.trace_id, caller.flags, key
    return _digest(saga_id, 16, key), SAMPLED, key


def _digest(text: str, size: int, key: bytes) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=size, key=key).hexdigest()


def attempt_part(step: int, action: Action, attempt: int) -> str:
    """The part of a saga that an attempt is."""
    return f"{step} {action.value} {attempt}"
