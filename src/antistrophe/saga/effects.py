"""The effects to perform once entries are durable: they follow from two states of a saga, or from a recovered state."""

from __future__ import annotations

from typing import TypeAlias

from antistrophe.definition.spec import LeaseRequest
from antistrophe.saga.entries import Action, AttemptStarted, Lease
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import ALONE_FROM
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class RequestLease:
    """Ask for a step process, but not before ``not_before`` (seconds since the epoch; None: at once)."""

    request: LeaseRequest
    not_before: float | None


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """Tell the leased process to make the call."""

    started: AttemptStarted


@dataclass(frozen=True, slots=True)
class AdoptAttempt:
    """Find out what became of an attempt that an earlier actor of this saga started."""

    started: AttemptStarted


@dataclass(frozen=True, slots=True)
class EndProcess:
    """End the process of the current attempt: SIGTERM, ``grace_s`` seconds, SIGKILL to its group, and see it dead."""

    started: AttemptStarted
    grace_s: float


@dataclass(frozen=True, slots=True)
class ReleaseProcess:
    """Give the process back. ``reusable``: the process may serve other attempts."""

    lease: Lease
    reusable: bool


@dataclass(frozen=True, slots=True)
class TellOutcome:
    """Tell those who wait how the saga ended, or that it is parked."""


Effect: TypeAlias = RequestLease | RunAttempt | AdoptAttempt | EndProcess | ReleaseProcess | TellOutcome


@dataclass(frozen=True, slots=True)
class Work:
    """The next attempt: its step, and what it calls."""

    step: int
    action: Action


def next_work(saga: Saga) -> Work | None:
    """The attempt that comes next. None if the saga has ended, is parked, runs an attempt, or has nothing left to
    do."""
    if saga.ended or saga.parked or saga.current is not None:
        return None
    if saga.unsettled is not None and not saga.backward:
        return Work(saga.unsettled.step, Action.VERIFY)
    if saga.backward:
        if saga.spec.park_on_failure and saga.given_up:
            return None
        left = len(saga.first_starts) - saga.settled
        return Work(saga.first_starts[left - 1], Action.COMPENSATE) if left else None
    index = saga.ahead
    return Work(index, Action.EXECUTE) if index < len(saga.steps) else None


def wake_at(saga: Saga) -> float | None:
    """When the saga must be told that time has passed, in seconds since the epoch, or None."""
    if saga.ended or saga.parked:
        return None
    if saga.current is not None:
        return None if saga.ending else saga.current.deadline
    # A verify that is due ends the forward phase with its answer, so until then the deadline changes nothing.
    return None if saga.backward or saga.unsettled is not None else saga.deadline


def is_urgent(saga: Saga, until: float | None) -> bool:
    """Whether a saga that has nothing to do before ``until`` has a compensation to make then."""
    return saga.backward or (until is not None and until == saga.deadline)


def effects_of(before: Saga | None, after: Saga) -> tuple[Effect, ...]:
    """The effects to perform once the entries between the two states are durable."""
    effects: list[Effect] = []
    old = before.current if before is not None else None
    new = after.current
    if old is not None and (new is None or new.lease != old.lease):
        assert before is not None
        fresh = before.spec.steps[old.step].fresh_process
        reusable = not before.ending and not fresh and not _refused(before, after, old.step)
        effects.append(ReleaseProcess(old.lease, reusable))
    same = new is old or new == old  # a saga that was read anew has another object for the same attempt
    if new is not None and not same and not after.ending:
        effects.append(RunAttempt(new))
    if new is not None and after.ending and not (before is not None and before.ending and same):
        effects.append(end(after))
    if new is None:
        effects.extend(_without_attempt(after))
    return tuple(effects)


def _refused(before: Saga, after: Saga, index: int) -> bool:
    """Whether the process could not make the call: it has loaded code that does not fit, and would refuse again."""
    old, new = before.steps[index], after.steps[index]
    counts = (
        (old.refused, new.refused),
        (old.undo_refused, new.undo_refused),
        (old.verify_refused, new.verify_refused),
    )
    return any(now > then for then, now in counts)


def resume(saga: Saga) -> tuple[Effect, ...]:
    """The effects to perform for a saga that was just read from the journal."""
    if saga.current is not None:
        return (end(saga),) if saga.ending else (AdoptAttempt(saga.current),)
    return _without_attempt(saga)


def end(saga: Saga) -> EndProcess:
    """End the process of the current attempt, with the grace that its step has."""
    assert saga.current is not None, "only a running attempt is ended"
    return EndProcess(saga.current, saga.spec.steps[saga.current.step].kill_grace_s)


def _without_attempt(saga: Saga) -> tuple[Effect, ...]:
    if saga.ended or saga.parked:
        return (TellOutcome(),)
    work = next_work(saga)
    if work is None:
        return ()
    alone = saga.steps[work.step].times_lost(work.action) >= ALONE_FROM
    request = saga.spec.lease_request(work.step, urgent=work.action is Action.COMPENSATE, alone=alone)
    return (RequestLease(request, saga.not_before),)
