"""The sagas that are to go on: what the supervisor has to know of each, in a few questions for all of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial

from antistrophe.actors.base import log
from antistrophe.errors import JournalError
from antistrophe.journal import StoredJournal
from antistrophe.saga.entries import SagaAccepted
from antistrophe.scheduling.admission import AdmissionRank, rank_of
from antistrophe.serialization.struct_dataclass import dataclass

_AT_ONCE = 100
"""Of how many sagas one question reads the acceptances, each of which may be large."""


@dataclass(frozen=True, slots=True)
class OpenSaga:
    """A saga that an earlier incarnation of the system left unfinished."""

    id: str
    request_id: str
    compensating: bool
    rank: AdmissionRank


def open_sagas(journal: StoredJournal, besides: Collection[str]) -> list[OpenSaga]:
    """The sagas to go on with, in order of acceptance, ``besides`` those that are known."""
    compensating = {saga_id: compensates for saga_id, compensates in journal.live() if saga_id not in besides}
    ids = [*compensating]
    found: list[OpenSaga] = []
    for first in range(0, len(ids), _AT_ONCE):
        for each in journal.acceptances(ids[first : first + _AT_ONCE]):
            rank = _rank(each.saga_id, partial(journal.acceptance_in, each))
            found.append(OpenSaga(each.saga_id, each.request_id, compensating[each.saga_id], rank))
    return found


def rank_in(journal: StoredJournal, saga_id: str) -> AdmissionRank:
    """What decides when the saga may run."""
    return _rank(saga_id, partial(journal.accepted, saga_id))


def _rank(saga_id: str, acceptance: Callable[[], SagaAccepted | None]) -> AdmissionRank:
    try:
        accepted = acceptance()
    except JournalError as error:  # the saga's actor will meet the same error; the other sagas go on
        log.error("%s", error)
        accepted = None
    return AdmissionRank(saga_id) if accepted is None else rank_of(accepted.spec)
