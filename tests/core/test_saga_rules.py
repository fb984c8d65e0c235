"""The rules of the machine beside the table, for what attempts and time do: retries, doubt, deadlines, limits."""

from __future__ import annotations

from antistrophe.definition.spec import Origin, RetryPolicy
from antistrophe.errors import (
    StepCrashedError,
    StepFailedError,
    StepTimeoutError,
)
from antistrophe.saga.effects import RunAttempt, wake_at
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    FailureKind,
    RetryScheduled,
    SagaCompensated,
    SagaCompleted,
    SagaRelocated,
    SagaWaits,
    TurnedBack,
    TurnReason,
    Verdict,
)
from antistrophe.saga.inputs import (
    CancelAsked,
    ProcessGranted,
    ProcessRefused,
    Refused,
    RelocateAsked,
    Returned,
    TimePassed,
    Verified,
)
from antistrophe.saga.machine import BY_THE_SYSTEM
from antistrophe.saga.retries import NEVER_RAN_LIMIT
from tests.core.saga_kit import Told, attempts, parked, step

DONE = Returned(b"\xa2ok")


# --- retries ---------------------------------------------------------------------------------------------------


def test_a_fatal_error_is_not_retried() -> None:
    told = Told(step(retry=attempts(5), idempotent=True))
    told.raises(FailureKind.FATAL)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert isinstance(told.error, StepFailedError)
    assert told.error.error_type == "BankError"


def test_a_retryable_error_has_its_own_limit_and_its_own_wait() -> None:
    told = Told(step(retryable_attempts=3))
    told.raises(FailureKind.RETRYABLE, after_s=7.0)
    assert told.last(RetryScheduled).not_before == 1007.0
    told.raises(FailureKind.RETRYABLE)
    told.raises(FailureKind.RETRYABLE)
    assert told.trail == ["execute 0"] * 3
    assert isinstance(told.journal[-1], SagaCompensated)


def test_a_plain_exception_does_not_have_the_limit_of_a_retryable_one() -> None:
    told = Told(step(retryable_attempts=3))
    told.raises()
    assert told.trail == ["execute 0"]


def test_the_waits_grow_and_are_bounded() -> None:
    told = Told(step(retry=attempts(5, 1.0, 3.0)))
    waits = []
    for _ in range(4):
        told.raises()
        waits.append(told.last(RetryScheduled).not_before - told.now)
    assert waits == [1.0, 2.0, 3.0, 3.0]


def test_full_jitter_is_the_same_for_the_same_attempt_and_differs_between_attempts() -> None:
    def waits() -> list[float]:
        told = Told(step(retry=RetryPolicy(6, 10.0, 1.0, 10.0, jitter=True)))
        found = []
        for _ in range(5):
            told.raises()
            found.append(told.last(RetryScheduled).not_before - told.now)
        return found

    assert waits() == waits()
    assert len(set(waits())) == 5
    assert all(0.0 <= wait <= 10.0 for wait in waits())


def test_a_process_that_comes_too_early_starts_nothing() -> None:
    told = Told(step(retry=attempts(2, 5.0)))
    told.raises()
    lease = told.journal[1].lease if isinstance(told.journal[1], AttemptStarted) else None
    assert lease is not None
    assert told.tell(ProcessGranted(lease)) == ()
    told.now += 5.0
    (started,) = told.tell(ProcessGranted(lease))
    assert isinstance(started, AttemptStarted)


def test_the_same_process_makes_the_next_attempt_at_once() -> None:
    told = Told(step("pay"), step("ship"))
    lease = told.run().lease
    told.answer(DONE)
    assert told.run().lease == lease
    assert told.effects == (RunAttempt(told.run()),)


def test_a_step_that_asks_for_a_fresh_process_gets_no_used_one() -> None:
    told = Told(step("pay"), step("ship", fresh_process=True), step("mail"))
    told.answer(DONE)
    assert told.saga.current is None
    assert told.effects[-1] == told.asks(fresh=True, urgent=False, not_before=None)
    assert told.grant(used=True) == ()
    told.grant()
    told.answer(DONE)
    assert told.saga.current is None, "and its own process serves no other"


# --- attempts that never reached the call ----------------------------------------------------------------------


def test_an_attempt_that_died_before_the_call_did_nothing_and_does_not_count() -> None:
    told = Told(step())
    failed, again = told.dies(began=False, signal=9)
    assert isinstance(failed, AttemptFailed)
    assert (failed.failure.kind, failed.counts) == (FailureKind.NEVER_RAN, False)
    assert again == RetryScheduled(1000.0, 0, Action.EXECUTE, 1000.0)
    assert not told.at(0).in_doubt


def test_a_step_whose_processes_always_die_before_the_call_fails_in_the_end() -> None:
    told = Told(step())
    for _ in range(NEVER_RAN_LIMIT + 1):
        told.dies(began=False, signal=9)
    assert isinstance(told.journal[-1], SagaCompensated)
    assert isinstance(told.error, StepCrashedError)


def test_after_a_reboot_nobody_knows_whether_it_began() -> None:
    told = Told(step("pay"), step("ship"))
    told.dies(began=None, by_system=True)
    assert told.last(AttemptFailed).failure.kind is FailureKind.INTERRUPTED
    assert told.owed == (0,)


def test_a_call_that_could_not_be_made_is_neither_failure_nor_doubt() -> None:
    told = Told(step())
    told.answer(Refused("no module named shop"))
    assert told.saga.waiting == "no module named shop"
    assert told.at(0).counted == 0
    assert not told.at(0).in_doubt
    waits = []
    for _ in range(8):
        waits.append(told.last(RetryScheduled).not_before - told.now)
        told.answer(Refused("no module named shop"))
    assert waits == [5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompleted)
    assert told.saga.waiting is None


def test_a_process_that_refused_a_call_makes_no_other() -> None:
    told = Told(step("pay"), step("ship"), deadline_s=5.0)
    told.answer(DONE)
    told.now += 5.0
    told.answer(Refused("no module named shop"))
    assert told.saga.backward
    assert told.saga.current is None
    assert told.effects[-1] == told.asks(fresh=False, urgent=True, not_before=None)


def test_a_compensation_that_could_not_be_called_is_never_given_up() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    for _ in range(30):
        told.answer(Refused("no module named shop"))
    assert not told.saga.parked
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)


def test_no_process_to_be_had_is_a_reason_to_wait() -> None:
    told = Told(step())
    assert told.tell(ProcessRefused("full")) == (SagaWaits(1000.0, "full"),)
    assert told.tell(ProcessRefused("full")) == (), "said once"
    told.run()
    assert told.saga.waiting is None
    assert told.tell(ProcessRefused("full")) == (), "an attempt runs"


ELSEWHERE = Origin(None, ("/r2",), "/r2")


def test_code_that_is_found_elsewhere_is_no_reason_to_wait() -> None:
    told = Told(step())
    told.tell(ProcessRefused("gone"))
    moved = SagaRelocated(told.now, ELSEWHERE, BY_THE_SYSTEM, "its place was gone")
    assert told.tell(ProcessRefused("gone", ELSEWHERE)) == (moved,)
    assert (told.saga.spec.origin, told.saga.waiting) == (ELSEWHERE, None)
    assert told.tell(ProcessRefused("gone", ELSEWHERE)) == (), "it is there"
    told.run()
    assert told.tell(ProcessRefused("gone", Origin(None, (), "/r3"))) == (), "an attempt runs"


def test_an_operator_relocates_what_has_not_ended() -> None:
    told = Told(step())
    told.run()
    (moved,) = told.tell(RelocateAsked(ELSEWHERE, "me", "r1 is gone"))
    assert moved == SagaRelocated(told.now, ELSEWHERE, "me", "r1 is gone")
    assert told.tell(RelocateAsked(ELSEWHERE, "me")) == ()
    told.answer(DONE)
    assert told.saga.completed
    assert told.tell(RelocateAsked(Origin(None, (), "/r3"), "me")) == ()


def test_a_parked_saga_stays_parked_where_its_code_is_relocated() -> None:
    told = parked()
    told.tell(RelocateAsked(ELSEWHERE, "me"))
    assert told.saga.parked
    assert told.saga.spec.origin == ELSEWHERE


# --- verify ----------------------------------------------------------------------------------------------------


def doubtful(**changes: object) -> Told:
    told = Told(step("pay", has_verify=True, **changes), step("ship"))
    told.dies(signal=9)
    assert told.run().action is Action.VERIFY
    return told


def test_a_verify_that_could_not_be_asked_is_asked_again() -> None:
    told = doubtful()
    told.answer(Refused("no module named shop"))
    assert told.saga.waiting == "no module named shop"
    assert told.last(RetryScheduled) == RetryScheduled(1000.0, 0, Action.VERIFY, 1005.0)
    told.dies(began=False)
    told.dies(by_system=True)
    told.says(Verdict.APPLIED)
    assert told.at(0).succeeded
    assert told.trail == ["execute 0", *["verify 0"] * 4, "execute 1"]


def test_a_verify_that_never_reaches_its_call_says_unknown_in_the_end() -> None:
    told = doubtful()
    for _ in range(NEVER_RAN_LIMIT + 1):
        told.dies(began=False)
    assert told.run().action is Action.COMPENSATE


def test_a_verdict_that_is_not_asked_for_is_doubt() -> None:
    told = Told(step())
    told.answer(Verified(Verdict.APPLIED))
    assert told.last(AttemptFailed).failure.kind is FailureKind.IN_DOUBT


def test_a_result_that_is_no_verdict_says_unknown() -> None:
    told = doubtful()
    told.answer(DONE)
    assert told.run().action is Action.COMPENSATE


def test_verify_is_not_asked_once_a_cancel_was_accepted() -> None:
    told = Told(step("pay", has_verify=True))
    told.run()
    told.tell(CancelAsked(None, "me"))
    told.dies(signal=15)
    assert told.run().action is Action.COMPENSATE


def test_verify_is_asked_after_the_deadline_too_and_no_timer_is_set_meanwhile() -> None:
    told = Told(step("pay", has_verify=True), step("ship"), deadline_s=5.0)
    told.times_out()
    assert wake_at(told.saga) is None
    assert told.tell(TimePassed()) == ()
    told.says(Verdict.APPLIED)
    assert told.last(TurnedBack).cause.reason is TurnReason.DEADLINE
    assert told.owed == (0,)


# --- deadline --------------------------------------------------------------------------------------------------


def test_the_deadline_cuts_an_attempt_short() -> None:
    told = Told(step(timeout_s=10.0), deadline_s=4.0)
    assert told.run().limit_s == 4.0
    told.times_out()
    assert told.last(TurnedBack).cause.reason is TurnReason.DEADLINE
    told.answer(DONE)
    assert isinstance(told.error, StepTimeoutError)
    assert told.error.duration_s == 4.0


def test_the_deadline_counts_from_acceptance_however_late_the_call_began() -> None:
    told = Told(step(timeout_s=10.0), deadline_s=4.0)
    told.run()
    told.now = 1003.9
    assert told.tell(TimePassed(1003.0, 30.0)) == ()
    told.now = 1004.0
    assert told.tell(TimePassed(1003.0, 30.0)) != ()


def test_nothing_starts_after_the_deadline() -> None:
    told = Told(step("pay"), step("ship"), deadline_s=5.0)
    told.run()
    told.now += 5.0
    told.answer(DONE)
    assert told.last(TurnedBack).cause.reason is TurnReason.DEADLINE
    assert told.run().action is Action.COMPENSATE


def test_the_last_step_may_succeed_after_the_deadline() -> None:
    told = Told(step(), deadline_s=5.0)
    told.run()
    told.now += 5.0
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompleted)


def test_a_saga_that_waits_for_a_process_turns_back_at_its_deadline() -> None:
    told = Told(step("pay"), deadline_s=5.0)
    assert wake_at(told.saga) == 1005.0
    told.now = 1004.9
    assert told.tell(TimePassed()) == ()
    told.now = 1005.0
    turned, end = told.tell(TimePassed())
    assert isinstance(turned, TurnedBack)
    assert isinstance(end, SagaCompensated)


def test_a_retry_beyond_the_deadline_never_comes() -> None:
    told = Told(step(retry=attempts(2, 60.0)), deadline_s=5.0)
    told.raises()
    assert wake_at(told.saga) == 1005.0
    told.now = 1005.0
    told.tell(TimePassed())
    assert isinstance(told.journal[-1], SagaCompensated)


def test_the_deadline_does_not_touch_compensations() -> None:
    told = Told(step("pay"), step("ship"), deadline_s=5.0)
    told.answer(DONE)
    told.raises()
    assert told.run().limit_s == 20.0
    told.now += 19.0
    assert told.tell(TimePassed(1000.0, 0.0)) == ()
    told.answer(DONE)
    assert isinstance(told.journal[-1], SagaCompensated)


# --- the time limit --------------------------------------------------------------------------------------------


def test_the_limit_counts_from_the_call() -> None:
    told = Told(step(timeout_s=10.0))
    told.run()
    assert wake_at(told.saga) == 1010.0
    told.now = 1012.9
    assert told.tell(TimePassed(1003.0, 30.0)) == ()
    told.now = 1013.0
    assert told.tell(TimePassed(1003.0, 30.0)) == (AttemptExpired(1013.0, 0, Action.EXECUTE, 1),)
    assert wake_at(told.saga) is None
    assert told.tell(TimePassed(1003.0, 30.0)) == (), "only once"


def test_a_call_that_nobody_saw_begin_gets_the_allowance() -> None:
    told = Told(step(timeout_s=10.0))
    told.run()
    told.now = 1039.9
    assert told.tell(TimePassed(None, 30.0)) == ()
    told.now = 1040.0
    assert len(told.tell(TimePassed(None, 30.0))) == 1


def test_a_start_marker_from_before_the_intent_shortens_nothing() -> None:
    told = Told(step(timeout_s=10.0))
    told.run()
    told.now = 1009.0
    assert told.tell(TimePassed(0.0, 0.0)) == ()
