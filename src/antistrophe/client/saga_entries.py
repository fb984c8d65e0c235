"""The journal entries of one saga as an application reads them: in parts that fit into messages, however many there
are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from antistrophe.client.request_reply import Requests
from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.outputs import unpack_output
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.errors import SagaNotFoundError
from antistrophe.journal import RESULTS, JournalRecord
from antistrophe.journal.rows import unpack_entry
from antistrophe.messages import GetEntries, SagaEntries
from antistrophe.saga.entries import SagaAccepted, SagaRelocated
from antistrophe.saga.results import result_in


def entries_of(requests: Requests, saga_id: str, place: str, kinds: tuple[str, ...] = ()) -> Iterator[JournalRecord]:
    """The entries of a saga in order, those of these kinds (none named: all); ``place`` names the home in messages.
    Raises SagaNotFoundError, and JournalError for an entry that can't be read."""
    after_seq, more, begun = 0, True, bytearray()
    while more:
        part = _part(requests, saga_id, after_seq, kinds, len(begun))
        if part.entries is None:
            raise SagaNotFoundError(f"there is no saga {saga_id!r} in {place}")
        for position, seq, piece, at_us in part.entries:
            begun += piece
            if part.rest == 0:
                after_seq, packed = seq, bytes(begun)
                begun.clear()
                where = f"{place}: entry {seq} of saga {saga_id!r}"
                yield JournalRecord(position, saga_id, seq, unpack_entry(packed, where), at_us / 1e6)
        more = part.more


def _part(requests: Requests, saga_id: str, after_seq: int, kinds: tuple[str, ...], offset: int) -> SagaEntries:
    return requests.ask(
        lambda correlation: GetEntries(correlation, saga_id, after_seq, kinds, offset),
        SagaEntries,
    )


def accepted_spec(requests: Requests, saga_id: str, place: str) -> SagaSpec | None:
    """The definition with which a saga was accepted; None where that is not in the journal yet."""
    try:
        entries = [record.entry for record in entries_of(requests, saga_id, place, (SagaAccepted.__name__,))]
    except SagaNotFoundError:
        return None
    return next((entry.spec for entry in entries if isinstance(entry, SagaAccepted)), None)


def code_of(requests: Requests, saga_id: str, place: str) -> tuple[Origin, tuple[str, ...]]:
    """Where the code of a saga is now, and the names of its step classes. Raises SagaNotFoundError."""
    origin: Origin | None = None
    class_refs: tuple[str, ...] = ()
    for record in entries_of(requests, saga_id, place, (SagaAccepted.__name__, SagaRelocated.__name__)):
        if isinstance(record.entry, SagaAccepted):
            origin, class_refs = record.entry.spec.origin, tuple(step.class_ref for step in record.entry.spec.steps)
        elif isinstance(record.entry, SagaRelocated):
            origin = record.entry.origin
    if origin is None:
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {place}")
    return origin, class_refs


def outputs_of(requests: Requests, saga_id: str, place: str) -> dict[str, Any]:
    """What the steps of a saga have returned so far, by the names of the steps, in step order."""
    names: tuple[str, ...] = ()
    origin: Origin | None = None
    found: dict[int, bytes] = {}
    for record in entries_of(requests, saga_id, place, (SagaAccepted.__name__, SagaRelocated.__name__, *RESULTS)):
        if isinstance(record.entry, SagaAccepted):
            names = tuple(step.name for step in record.entry.spec.steps)
            origin = record.entry.spec.origin
        elif isinstance(record.entry, SagaRelocated):
            origin = record.entry.origin
        result = result_in(record.entry)
        if result is not None and result.output is not None:
            found[result.step] = result.output
    return {
        names[step]: unpack_output(found[step], f"the output of step {names[step]!r} of saga {saga_id!r}", origin)
        for step in sorted(found)
    }


def events_of(requests: Requests, saga_id: str, place: str) -> list[EncodedEvent]:
    """The events of a completed saga, in step order."""
    found: dict[int, tuple[EncodedEvent, ...]] = {}
    for record in entries_of(requests, saga_id, place, RESULTS):
        result = result_in(record.entry)
        if result is not None:
            found[result.step] = result.events
    return [event for step in sorted(found) for event in found[step]]
