"""Sagas of three steps as their journals tell them, made up for benchmarks: one that completed, one that was undone,
one that is parked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.journal import Journal, SagaEvent
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CompensationGivenUp,
    Entry,
    Failure,
    FailureKind,
    Lease,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    TurnCause,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import Saga, evolve
from antistrophe.serialization.payload import pack_payload
from tests.contract.journal_sagas import step

COURSES = ("completed", "compensated", "parked")

_INPUT = pack_payload({"account": "A-1", "amount": 100})
_PAID = EncodedEvent("bench.debited", 1, _INPUT)
_REFUSED = Failure(FailureKind.RAISED, "the account of A-1 has no money left", "ValueError")
_LEASE = Lease("2c8271c39011-1", 28262, 2565182, "5d0b1a9e-2f53-4c63-9a51-8f7e3f6f1c55", False, "fe00:2e64a8:45056")


def spec(saga_id: str, name: str) -> SagaSpec:
    """The definition of all of them."""
    steps = tuple(replace(step(f"Step{number}"), class_ref="bank:Step", input=_INPUT) for number in range(3))
    return SagaSpec(saga_id, name, None, True, steps, Origin("/srv/app.py", ("/srv", "/usr/lib/python3.11"), "/srv"))


@dataclass(frozen=True)
class Append:
    """One append of a saga: the states before and after it, and what it writes."""

    before: Saga | None
    after: Saga
    entries: list[Entry]
    events: list[SagaEvent]

    def write(self, journal: Journal) -> None:
        """Append it, with what the saga's actor keeps beside the entries."""
        journal.append(
            self.after.id,
            expected_seq=0 if self.before is None else self.before.seq,
            entries=self.entries,
            events=self.events,
            row=row_after(self.before, self.after, self.entries),
        )


def appends(saga_id: str, now: float, course: str = COURSES[0], name: str = "bench") -> Iterator[Append]:
    """The appends of a saga of that course, each with the event of the step that it ends."""
    saga: Saga | None = None
    for number, entries in enumerate(_parts(saga_id, now, course, name)):
        before = saga
        for entry in entries:
            saga = evolve(saga, entry)
        assert saga is not None
        events = [] if isinstance(entries[0], SagaAccepted | AttemptFailed) else [_event(saga_id, number)]
        yield Append(before, saga, entries, events)


def event_id(saga_id: str, number: int) -> uuid.UUID:
    """The id of the event that comes with the append of that number."""
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{saga_id}/{number}")


def _event(saga_id: str, number: int) -> SagaEvent:
    metadata = {"saga_id": saga_id, "step": number, "attempt": 1}
    return SagaEvent(saga_id, _PAID.type, 1, _PAID.data, metadata, str(event_id(saga_id, number)))


def _parts(saga_id: str, now: float, course: str, name: str) -> Sequence[list[Entry]]:
    accepted = SagaAccepted(now, f"request of {saga_id}", spec(saga_id, name), now)
    begun: list[list[Entry]] = [[accepted, _started(now, 0)], [_succeeded(now, 0), _started(now, 1)]]
    if course == "completed":
        return [*begun, [_succeeded(now, 1), _started(now, 2)], [_succeeded(now, 2), SagaCompleted(now)]]
    back = TurnedBack(now, TurnCause(TurnReason.STEP_FAILED, 1, _REFUSED))
    failed = AttemptFailed(now, 1, Action.EXECUTE, 1, _REFUSED)
    begun.append([failed, back, _started(now, 0, Action.COMPENSATE)])
    if course == "compensated":
        return [*begun, [_succeeded(now, 0, Action.COMPENSATE), SagaCompensated(now)]]
    undo_failed = AttemptFailed(now, 0, Action.COMPENSATE, 1, _REFUSED)
    return [*begun, [undo_failed, CompensationGivenUp(now, 0, _REFUSED), SagaParked(now)]]


def _started(now: float, step: int, action: Action = Action.EXECUTE) -> AttemptStarted:
    return AttemptStarted(now, step, action, 1, 30.0, now + 30.0, _LEASE)


def _succeeded(now: float, step: int, action: Action = Action.EXECUTE) -> AttemptSucceeded:
    return AttemptSucceeded(now, step, action, 1, None, (_PAID,))
