"""What became of telling people of parked sagas (the setting ``on_parked``), for `show` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterable

from antistrophe.definition.on_parked import ID_BEGINS, NAME, id_of
from antistrophe.journal import StoredJournal
from antistrophe.narration import times
from antistrophe.records import SagaMetadata, SagaStatus, TimelineEntry
from antistrophe.saga.entries import SagaParked


def told_by(journal: StoredJournal, saga_id: str, timeline: Iterable[TimelineEntry]) -> list[SagaMetadata]:
    """The sagas that have told, or are to tell, of the parkings of a saga, in order."""
    parkings = [entry.seq for entry in timeline if entry.kind == SagaParked.__name__]
    found = (journal.metadata(id_of(saga_id, seq)) for seq in parkings)
    return [saga for saga in found if saga is not None]


def in_words(told: SagaMetadata) -> str:
    """How the telling went, and which saga did it."""
    match told.status:
        case SagaStatus.COMPLETED:
            return f"on_parked was run at {times.moment(told.updated_at)} (saga {told.id})"
        case SagaStatus.COMPENSATED:
            return f"on_parked has failed: {told.error} (saga {told.id})"
        case _:
            why = f": {times.with_local_times(told.waiting)}" if told.waiting else ""
            return f"on_parked is being run{why} (saga {told.id})"


def not_told(journal: StoredJournal, limit: int) -> list[SagaMetadata]:
    """The last sagas that could not tell of a saga that is still parked."""
    failed = journal.list(status=SagaStatus.COMPENSATED, name=NAME, limit=limit).sagas
    return [told for told in failed if _is_parked(journal, told)]


def _is_parked(journal: StoredJournal, told: SagaMetadata) -> bool:
    saga_id = told.id.removeprefix(ID_BEGINS).partition(":")[2]
    return journal.status(saga_id) in (SagaStatus.FAILED, None)  # a long id is stored as a digest of it
