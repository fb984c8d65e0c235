"""A purge as an application or the command line makes it: in the caller's process, in small steps beside the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

from antistrophe.client.arguments import check_text
from antistrophe.errors import JournalBusyError, RequestError
from antistrophe.journal import JournalPlace, Purgeable, StoredJournal, Where, open_journal
from antistrophe.logs.forgetting import forget
from antistrophe.records import PurgeReport, SagaStatus

_LOG_PATIENCE_S = 30.0
_LONGEST_PAUSE_S = 0.25


def purgeable(
    older_than: timedelta, name: str | None = None, status: SagaStatus | str | None = None, *, events: bool = False
) -> Purgeable:
    """What the caller wants purged. Raises RequestError for what can't be purged."""
    if not isinstance(older_than, timedelta) or older_than < timedelta(0):
        raise RequestError(f"older_than must be a timedelta of 0 or more, not {older_than!a:.200}")
    check_text(name, "name of the sagas", optional=True)
    if status is not None and status not in [each for each in SagaStatus if each.final]:
        raise RequestError(
            f"only sagas that have finished are purged: status must be COMPLETED or COMPENSATED, not {status!a:.200}"
        )
    finished_by_us = time.time_ns() // 1000 - older_than // timedelta(microseconds=1)
    return Purgeable(finished_by_us, name, None if status is None else SagaStatus(status), bool(events))


def purge(
    where: Where,
    which: Purgeable,
    *,
    dry_run: bool,
    synchronous: str = "FULL",
    go_on: Callable[[], object] | None = None,
) -> PurgeReport:
    """Purge the journal at that place, and give the room back. ``go_on`` is called between the steps, and may raise.

    Whoever waits for its write lock gets it between two steps. Raises JournalError; what was purged until then
    stays purged.
    """
    place = JournalPlace.at(where)
    place.refuse_in_transaction("a purge")
    with closing(open_journal(place, synchronous=synchronous)) as journal:
        walk = journal.purge(_by_its_clock(journal, which), dry_run=dry_run)
        if dry_run:
            while walk.step():
                pass
            return walk.report
        for step in (walk.step, journal.give_back):
            while _step(step, go_on):
                _keep_log_small(journal, place)
        journal.empty_log()
        if place.home is not None:
            forget(place.home, lambda saga_id: journal.purged(saga_id) is not None)
    return walk.report


def _by_its_clock(journal: StoredJournal, which: Purgeable) -> Purgeable:
    """What this machine calls so old, by the clock that the rows are dated by."""
    clock = journal.clock()
    if clock is None:
        return which
    return replace(which, finished_by_us=which.finished_by_us + round((clock - time.time()) * 1e6))


def _step(step: Callable[[], bool], go_on: Callable[[], object] | None) -> bool:
    """Take a step, and then leave the lock to others for as long as the step took."""
    if go_on is not None:
        go_on()
    begun = time.monotonic()
    more = step()
    time.sleep(min(time.monotonic() - begun, _LONGEST_PAUSE_S))
    return more


def _keep_log_small(journal: StoredJournal, place: JournalPlace) -> None:
    """Wait where somebody reads for so long that the log would grow without a bound. Raises JournalBusyError."""
    deadline = time.monotonic() + _LOG_PATIENCE_S
    while not journal.empty_log():
        if time.monotonic() > deadline:
            raise JournalBusyError(
                f"{place}-wal can't be emptied, because somebody has been reading {place} for {_LOG_PATIENCE_S:g} s and"
                " more: have that program end its transaction (fuser names who has the file open), then purge again;"
                " what was purged stays purged"
            )
        time.sleep(_LONGEST_PAUSE_S)
