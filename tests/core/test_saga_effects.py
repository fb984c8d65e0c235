"""Effects: what is to be done once entries are durable, and what a saga needs that was read from its journal."""

from __future__ import annotations

from dataclasses import replace

from antistrophe.definition.spec import LeaseRequest, Throttle
from antistrophe.saga.effects import (
    AdoptAttempt,
    EndProcess,
    ReleaseProcess,
    RunAttempt,
    TellOutcome,
    Work,
    effects_of,
    is_urgent,
    next_work,
    resume,
    wake_at,
)
from antistrophe.saga.entries import Action, FailureKind
from antistrophe.saga.inputs import CancelAsked, Returned
from antistrophe.saga.state import replay
from tests.core.saga_kit import Told, attempts, step

DONE = Returned(b"\xa2ok")


def test_an_accepted_saga_asks_for_a_process() -> None:
    told = Told(step(fresh_process=True))
    asked = (told.asks(fresh=True, urgent=False, not_before=None),)
    assert effects_of(None, told.saga) == asked
    assert resume(told.saga) == asked


def test_a_saga_accepted_with_a_process_at_hand_runs_at_once() -> None:
    told = Told(step())
    told.run()
    assert effects_of(None, told.saga) == (RunAttempt(told.run()),)


def test_a_started_attempt_is_run_and_after_a_crash_adopted() -> None:
    told = Told(step())
    started = told.run()
    assert told.effects == (RunAttempt(started),)
    assert resume(told.saga) == (AdoptAttempt(started),)


def test_the_process_is_released_when_it_is_not_needed_any_more() -> None:
    told = Told(step())
    lease = told.run().lease
    told.answer(DONE)
    assert told.effects == (ReleaseProcess(lease, reusable=True), TellOutcome())


def test_a_process_that_stays_is_not_released() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    assert told.effects == (RunAttempt(told.run()),)


def test_a_fresh_process_serves_nobody_else() -> None:
    told = Told(step(fresh_process=True))
    lease = told.run().lease
    told.answer(DONE)
    assert told.effects[0] == ReleaseProcess(lease, reusable=False)


def test_a_process_that_was_being_ended_serves_nobody_else() -> None:
    told = Told(step())
    lease = told.run().lease
    told.times_out()
    assert told.effects[0] == ReleaseProcess(lease, reusable=False)


def test_an_expired_attempt_is_ended_once_and_after_a_crash_again() -> None:
    told = Told(step(kill_grace_s=2.0))
    told.expires()
    ending = (EndProcess(told.run(), 2.0),)
    assert told.effects == ending
    assert resume(told.saga) == ending
    told.tell(CancelAsked(None, "me"))
    assert not told.effects, "it is being ended already"


def test_a_cancel_ends_what_runs() -> None:
    told = Told(step(kill_grace_s=2.0))
    started = told.run()
    told.tell(CancelAsked(None, "me"))
    assert told.effects == (EndProcess(started, 2.0),)
    assert resume(told.saga) == (EndProcess(started, 2.0),)


def test_a_saga_that_waits_is_urgent_where_it_compensates_or_will_at_its_deadline() -> None:
    told = Told(step("pay"), step("ship", retry=attempts(2, 200.0)), deadline_s=100.0)
    told.answer(DONE)
    told.raises()
    assert told.saga.deadline is not None
    assert is_urgent(told.saga, told.saga.deadline), "it turns back then"
    assert not is_urgent(told.saga, told.saga.deadline - 1.0)
    assert not is_urgent(told.saga, None)
    told.tell(CancelAsked("no longer", "me"))
    assert is_urgent(told.saga, None)


def test_a_retry_is_asked_for_not_before_its_time_and_a_compensation_urgently() -> None:
    told = Told(step("pay"), step("ship", retry=attempts(2, 3.0)))
    told.answer(DONE)
    told.raises()
    assert told.effects[-1] == told.asks(fresh=False, urgent=False, not_before=1003.0)
    told.raises(FailureKind.FATAL)
    assert next_work(told.saga) is None, "the compensation runs in the same process"
    told.dies(by_system=True)
    assert told.effects[-1] == told.asks(fresh=False, urgent=True, not_before=told.now)
    assert next_work(told.saga) == Work(0, Action.COMPENSATE)


def test_an_outcome_is_told_at_the_end_when_parked_and_after_every_restart() -> None:
    for told in (Told(step()), Told(step("pay"), step("ship"))):
        told.answer(DONE)
        if not told.saga.ended:
            told.raises()
            told.raises()
            assert told.saga.parked
        assert told.effects[-1] == TellOutcome()
        assert resume(told.saga) == (TellOutcome(),)
        assert wake_at(told.saga) is None
        assert next_work(told.saga) is None


def test_a_recovered_saga_needs_the_same_as_the_one_that_was_lost() -> None:
    told = Told(step("pay"), step("ship", retry=attempts(3, 3.0)), deadline_s=100.0)
    told.answer(DONE)
    told.raises()
    recovered = replay(told.journal)
    assert resume(recovered) == resume(told.saga)
    assert wake_at(recovered) == wake_at(told.saga) == 1100.0


def test_a_lease_request_says_all_that_the_pool_has_to_know() -> None:
    other = step("ship", class_ref="m:Ship", fresh_process=True, max_concurrent=2, shared=True)
    spec = replace(Told(step(), step("again", class_ref="shop:pay"), other).saga.spec, priority=3)
    assert spec.lease_request(0) == LeaseRequest(spec.origin, (spec.steps[0].class_ref, "m:Ship"), priority=3)
    assert spec.lease_request(2, urgent=True) == LeaseRequest(
        spec.origin, (spec.steps[0].class_ref, "m:Ship"), True, True, 3, Throttle("m:Ship", 2, None), True
    )
