"""What the journal's list of sagas says of a saga, and of which sagas it keeps a view beside their entries."""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Entry
from antistrophe.saga.outcome import status_of
from antistrophe.saga.state import Saga
from antistrophe.saga.view import SagaView, ViewChange, error_text, obstacle, view_after, view_of
from antistrophe.serialization.struct_dataclass import dataclass

FOLDED_ENTRIES = 64
FOLDED_STEPS = 32
FOLDED_BYTES = 32 * 1024
"""Of a saga with no more entries, steps, and bytes of inputs, outputs and events, no view is kept: whoever asks for it
folds the entries. So an append writes entries alone, and a question still reads a bounded number of them."""

_ORDINARY = (SagaStatus.EXECUTING, None, None)


@dataclass(frozen=True, slots=True)
class Listed:
    """What lists search of a saga whose view is the fold of its entries, and is not kept. ``waiting`` is None, too,
    where the saga waits for nothing but a free step process: that is the ordinary course, which changes no row of the
    list. ``changed``: the append has changed something of it."""

    id: str
    status: SagaStatus
    error: str | None
    waiting: str | None
    changed: bool = True


def row_after(
    before: Saga | None, after: Saga, entries: Sequence[Entry], ahead_s: float = 0.0
) -> Listed | SagaView | ViewChange:
    """What the journal keeps beside these entries: of a short saga what lists search, of a long one the view, whole or
    what has changed. ``ahead_s``: how far the machine's clock, which people see, is ahead of the system's."""
    if not _is_short(after):
        return view_of(after, ahead_s) if before and _is_short(before) else view_after(before, after, entries, ahead_s)
    said = listed_words(after, ahead_s)
    return Listed(after.id, *said, before is None or said != listed_words(before, ahead_s))


def listed_words(saga: Saga, ahead_s: float) -> tuple[SagaStatus, str | None, str | None]:
    """The status of a saga, its error, and what it waits for. Nearly every append finds the saga in the ordinary course
    before and after, where nothing has to be asked: an attempt runs forward, and nothing is to end it."""
    forward = saga.current is not None and saga.waiting is None and saga.cause is None and saga.cancel is None
    if forward and not (saga.expired or saga.ended or saga.parked):
        return _ORDINARY
    return status_of(saga), error_text(saga), obstacle(saga, ahead_s)


def _is_short(saga: Saga) -> bool:
    """Whether the view of the saga is folded. A saga that was not short never is again."""
    if saga.seq > FOLDED_ENTRIES or len(saga.steps) > FOLDED_STEPS or saga.kept_bytes > FOLDED_BYTES:
        return False
    size = saga.kept_bytes
    for spec, state in zip(saga.spec.steps, saga.steps, strict=True):
        if state.output is None and state.output_seq is not None:  # too large to be kept in a state
            return False
        size += len(spec.input)
    return size <= FOLDED_BYTES
