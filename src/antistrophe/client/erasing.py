"""An erasure as an application or the command line makes it: in the caller's process, beside the work."""

from __future__ import annotations

import time
from contextlib import closing

from antistrophe.client.arguments import check_text
from antistrophe.definition.validation import is_text
from antistrophe.errors import JournalBusyError, SagaNotFoundError
from antistrophe.journal import JournalPlace, Where, open_journal
from antistrophe.logs.forgetting import forget

_LOG_PATIENCE_S = 30.0
_PAUSE_S = 0.05


def erase(
    where: Where,
    saga_id: str,
    *,
    events: bool = False,
    synchronous: str = "FULL",
    log_patience_s: float = _LOG_PATIENCE_S,
) -> bool:
    """Erase a saga in the journal at that place, with ``events`` also what it has put into the event store. False where
    all of that was erased before.

    Raises RequestError for a saga that has not finished, SagaNotFoundError, SagaExistsError for one that was purged,
    and JournalBusyError where the saga is erased and the log still has what stood there.
    """
    place = JournalPlace.at(where)
    check_text(saga_id, "saga's id")
    if not is_text(saga_id):
        raise SagaNotFoundError(f"there is no saga {saga_id!a:.200} in {place}")
    place.refuse_in_transaction("an erasure")
    with closing(open_journal(place, synchronous=synchronous)) as journal:
        erased = journal.erase(saga_id, events=events)
        if not erased:
            journal.confirm()
        if place.home is not None:
            forget(place.home, lambda each: each == saga_id)
        deadline = time.monotonic() + log_patience_s
        while not journal.cut_log():
            if time.monotonic() > deadline:
                raise JournalBusyError(
                    f"saga {saga_id!r} is erased, but {place}-wal still holds what stood there and can't be cut off,"
                    f" because somebody has been reading {place} for {log_patience_s:g} s and more: have that program"
                    " end its transaction (fuser names who has the file open), then erase the saga again"
                )
            time.sleep(_PAUSE_S)
    return erased
