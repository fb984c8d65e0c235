"""Whether an attempt that failed is made again, and after how long.

The jitter of a wait is drawn from the saga, the step and the attempt, so that the same journal always gives the same
decision.
"""

from __future__ import annotations

import zlib

from antistrophe.definition.spec import StepSpec
from antistrophe.saga.entries import Action, AttemptFailed, Failure, FailureKind
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import LOST_LIMIT, StepState

NEVER_RAN_LIMIT = 10
"""How many attempts of one step may end before their call. One more counts as a failure of the step."""

REFUSED_DELAY_S = 5.0
"""The first wait after a process could not make the call; doubled up to REFUSED_MAX_S."""

REFUSED_MAX_S = 300.0


def may_retry(spec: StepSpec, step: StepState, failure: Failure, *, doubtful: bool) -> bool:
    """True if the step's policy allows another attempt of ``execute`` after this failure. ``doubtful``: it may have
    taken effect."""
    if failure.kind is FailureKind.REFUSED:
        return True
    if failure.kind is FailureKind.NEVER_RAN:
        return step.never_ran <= NEVER_RAN_LIMIT
    if failure.kind in (FailureKind.FATAL, FailureKind.UNENCODABLE) or (doubtful and not spec.idempotent):
        return False
    if step.lost >= LOST_LIMIT:
        return False
    limit = spec.retryable_attempts if failure.kind is FailureKind.RETRYABLE else spec.retry.max_attempts
    return step.counted < limit


def may_retry_undo(spec: StepSpec, step: StepState, failure: Failure) -> bool:
    """True if the step's policy allows another attempt of ``compensate`` after this failure."""
    if failure.kind is FailureKind.REFUSED:
        return True
    if failure.kind is FailureKind.NEVER_RAN:
        return step.undo_never_ran <= NEVER_RAN_LIMIT
    if failure.kind is FailureKind.FATAL or step.undo_lost >= LOST_LIMIT:
        return False
    return step.undo_counted < spec.compensation_retry.max_attempts


def may_ask_verify_again(step: StepState) -> bool:
    """True if attempts of ``verify`` do not all end before their call, or with the actor system."""
    return step.verify_never_ran <= NEVER_RAN_LIMIT and step.verify_lost < LOST_LIMIT


def delay_s(saga: Saga, failed: AttemptFailed) -> float:
    """How long the next attempt waits after this failed one of ``execute`` or ``compensate``."""
    failure, spec, step = failed.failure, saga.spec.steps[failed.step], saga.steps[failed.step]
    back = failed.action is Action.COMPENSATE
    if failure.kind is FailureKind.NEVER_RAN or (back and failure.kind is FailureKind.INTERRUPTED):
        return 0.0
    if failure.kind is FailureKind.REFUSED:
        return refused_delay_s(step.undo_refused if back else step.refused)
    if failure.after_s is not None:
        return failure.after_s
    policy, counted = (spec.compensation_retry, step.undo_counted) if back else (spec.retry, step.counted)
    return policy.delay_s(max(counted, 1), _share(saga, failed))


def refused_delay_s(times: int) -> float:
    """How long the next attempt waits after so many times in a row a process could not make the call."""
    return min(REFUSED_MAX_S, REFUSED_DELAY_S * 2.0 ** min(times - 1, 16))


def _share(saga: Saga, failed: AttemptFailed) -> float:
    """Which share of the wait that the policy draws from: 0 to 1."""
    draw = f"{saga.id}/{failed.step}/{failed.action.value}/{failed.attempt}".encode()
    return zlib.crc32(draw) / 0xFFFFFFFF
