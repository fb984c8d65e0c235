"""Sagas as their journals tell them, made for the journal's tests: entries, rows and events that belong together."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.journal import Journal, SagaEvent, SqliteJournal
from antistrophe.journal.journal import Row
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CompensationGivenUp,
    CompensationRetried,
    Entry,
    Failure,
    FailureKind,
    Lease,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    SagaWaits,
    StepResolved,
    TurnCause,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import Saga, evolve, replay
from antistrophe.saga.view import metadata_of
from antistrophe.serialization.payload import pack_payload

START = 1_700_000_000.25
LEASE = Lease("lease-1", 4242, 17, "boot")
NO = Failure(FailureKind.RAISED, "no money", "ValueError")
DEBITED = EncodedEvent("journal.debited", 1, pack_payload({"account": "A", "amount": 7}))


def step(name: str) -> StepSpec:
    return StepSpec(
        name=name,
        class_ref=f"tests.no_such_module:{name}",
        input=pack_payload({"account": "A", "amount": 7}),
        timeout_s=30.0,
        kill_grace_s=5.0,
        retry=RetryPolicy(1),
        retryable_attempts=3,
        compensation_timeout_s=30.0,
        compensation_retry=RetryPolicy(12, 1.0, 2.0, 60.0),
        idempotent=False,
        atomic=True,
        requires_compensation=True,
        fresh_process=False,
        has_verify=False,
    )


def accepted(saga_id: str, name: str = "transfer", steps: tuple[str, ...] = ("Debit", "Credit")) -> SagaAccepted:
    origin = Origin("/srv/app.py", ("/srv", "/usr/lib"), "/srv")
    spec = SagaSpec(saga_id, name, None, True, tuple(map(step, steps)), origin)
    return SagaAccepted(START, f"request of {saga_id}", spec)


def started(index: int, action: Action = Action.EXECUTE, attempt: int = 1) -> AttemptStarted:
    return AttemptStarted(START + 1, index, action, attempt, 30.0, START + 31, LEASE)


def succeeded(index: int, action: Action = Action.EXECUTE) -> AttemptSucceeded:
    return AttemptSucceeded(START + 2, index, action, 1, pack_payload({"paid": True}), (DEBITED,))


def failed(index: int, action: Action = Action.EXECUTE) -> AttemptFailed:
    return AttemptFailed(START + 3, index, action, 1, NO)


def turned_back() -> TurnedBack:
    return TurnedBack(START + 3, TurnCause(TurnReason.STEP_FAILED, 1, NO))


FORWARD: tuple[tuple[Entry, ...], ...] = (
    (started(0),),
    (succeeded(0), started(1)),
    (succeeded(1), SagaCompleted(START + 4)),
)
TURN_BACK: tuple[tuple[Entry, ...], ...] = (
    (started(0),),
    (succeeded(0), started(1)),
    (failed(1), turned_back(), started(0, Action.COMPENSATE)),
)
UNDONE: tuple[Entry, ...] = (succeeded(0, Action.COMPENSATE), SagaCompensated(START + 5))
PARK: tuple[Entry, ...] = (failed(0, Action.COMPENSATE), CompensationGivenUp(START + 4, 0, NO), SagaParked(START + 4))
RETRY: tuple[Entry, ...] = (CompensationRetried(START + 6, "ann"), started(0, Action.COMPENSATE, 2))
RESOLVED: tuple[Entry, ...] = (StepResolved(START + 7, 0, "paid by hand", "ann"), SagaCompensated(START + 7))


def waits(reason: str) -> SagaWaits:
    return SagaWaits(START + 1, reason)


class ActorsJournal(SqliteJournal):
    """A journal that keeps of each append what the actors keep of it, where the row is what its entries say."""

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[SagaEvent] = (),
        row: Row,
        ahead_s: float = 0.0,
    ) -> int:
        """See ``Journal``."""
        row = row_of_actors(self, saga_id, expected_seq, entries, row)
        return super().append(
            saga_id, expected_seq=expected_seq, entries=entries, events=events, row=row, ahead_s=ahead_s
        )


def row_of_actors(journal: Journal, saga_id: str, expected_seq: int, entries: Sequence[Entry], row: Row) -> Row:
    """What the actors keep beside these entries, where the row is what they say; else the row."""
    known = journal.load(saga_id)
    with contextlib.suppress(ValueError):  # entries that can't follow, and none
        if len(known) == expected_seq and entries and row == metadata_of(replay((*known, *entries))):
            return as_kept(replay(known) if known else None, entries)
    return row


def as_kept(before: Saga | None, entries: Sequence[Entry]) -> Row:
    """What the actors keep beside these entries."""
    after = before
    for entry in entries:
        after = evolve(after, entry)
    assert after is not None
    return row_after(before, after, entries)


def append(journal: Journal, saga_id: str, *entries: Entry, events: tuple[SagaEvent, ...] = ()) -> int:
    """Go on with a saga by these entries, with the row that follows from them."""
    known = journal.load(saga_id)
    row = metadata_of(replay((*known, *entries)))
    return journal.append(saga_id, expected_seq=len(known), entries=entries, events=events, row=row)


def run(journal: Journal, saga_id: str, *parts: tuple[Entry, ...], name: str = "transfer") -> None:
    """Accept a saga and go on with it, one append for each part."""
    append(journal, saga_id, accepted(saga_id, name))
    for part in parts:
        append(journal, saga_id, *part)


def ids(sagas: list[SagaMetadata] | tuple[SagaMetadata, ...]) -> list[str]:
    return [saga.id for saga in sagas]


def counted(journal: Journal) -> dict[SagaStatus, int]:
    """The statuses that there are."""
    return {status: number for status, number in journal.counts().items() if number}
