"""What is in doubt in a saga after its journal was put back to an earlier state: the step that comes next, and where it
was done, the one after it, until one was not done."""

from __future__ import annotations

from antistrophe.saga.entries import Action, AttemptFailed, AttemptStarted, Entry, Failure, FailureKind, Lease
from antistrophe.saga.state import Saga

_WHY = (
    "the journal was put back to an earlier state: whether this step, and what comes behind it, was done since is not"
    " known"
)


def doubt_of_next_step(saga: Saga, now: float) -> tuple[Entry, ...]:
    """The entries by which the step that comes next counts as begun, and as in doubt. None where that step has begun,
    or where the saga goes back: an undo may be repeated."""
    if saga.backward or saga.unsettled is not None or saga.ahead == len(saga.steps) or saga.steps[saga.ahead].started:
        return ()
    index, limit_s = saga.ahead, saga.spec.steps[saga.ahead].timeout_s
    lease = Lease(f"restored:{saga.id}:{saga.seq}", 0, 0, "")  # a name that no process has
    return (
        AttemptStarted(now, index, Action.EXECUTE, 1, limit_s, now + limit_s, lease),
        AttemptFailed(now, index, Action.EXECUTE, 1, Failure(FailureKind.IN_DOUBT, _WHY), counts=False),
    )
