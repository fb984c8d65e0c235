"""Statistics of sagas: what each entry counts, and that there is an end to labels and memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from antistrophe.saga import statistics as module
from antistrophe.saga.durations import BUCKETS_S, Durations
from antistrophe.saga.entries import Action, Entry, FailureKind, SagaAccepted, Verdict
from antistrophe.saga.inputs import CancelAsked, Raised, Refused, RetryAsked, Returned, Unencodable
from antistrophe.saga.statistics import OTHER, AttemptOutcome, KillCause, SagaEvent, SagaStatistics
from tests.core.saga_kit import Told, attempts, step

PAY, EXECUTE, COMPENSATE, VERIFY = "shop:pay", Action.EXECUTE, Action.COMPENSATE, Action.VERIFY


def counted(told: Told, **options: Any) -> SagaStatistics:
    statistics = SagaStatistics(**options)
    for entry in told.journal:
        statistics.add("saga-1", entry)
    return statistics


def accepted(saga_id: str, name: str, *classes: str) -> SagaAccepted:
    first = Told(*(step(each) for each in classes)).journal[0]
    assert isinstance(first, SagaAccepted)
    return replace(first, spec=replace(first.spec, id=saga_id, name=name))


def ended(told: Told) -> None:
    told.answer(Returned(None, ()))


def test_a_saga_that_completes_is_counted_with_its_attempts_and_durations() -> None:
    told = Told(step("pay"), step("ship"))
    told.run()
    told.now += 2.0
    ended(told)
    told.run()
    told.now += 40.0
    ended(told)
    found = counted(told)
    assert found.sagas == {("order", SagaEvent.ACCEPTED): 1, ("order", SagaEvent.COMPLETED): 1}
    assert found.attempts == {
        (PAY, EXECUTE, AttemptOutcome.RETURNED): 1,
        ("shop:ship", EXECUTE, AttemptOutcome.RETURNED): 1,
    }
    assert not found.kills
    assert not found.retries
    assert found.saga_durations["order", SagaEvent.COMPLETED].sum_s == pytest.approx(42.0)
    assert found.attempt_durations[PAY, EXECUTE].sum_s == pytest.approx(2.0)
    assert found.attempt_durations["shop:ship", EXECUTE].counts[BUCKETS_S.index(60.0)] == 1
    assert not found.knows("saga-1"), "a saga that has ended is not remembered"


@pytest.mark.parametrize(
    ("kind", "outcome", "doubt"),
    [
        (FailureKind.RAISED, AttemptOutcome.RAISED, 0),
        (FailureKind.FATAL, AttemptOutcome.RAISED, 0),
        (FailureKind.IN_DOUBT, AttemptOutcome.RAISED, 1),
    ],
)
def test_what_a_step_raises(kind: FailureKind, outcome: AttemptOutcome, doubt: int) -> None:
    told = Told(step("pay"))
    told.raises(kind)
    found = counted(told)
    assert found.attempts == {(PAY, EXECUTE, outcome): 1}
    assert found.doubts[PAY] == doubt
    assert not found.kills


def test_any_exception_of_a_step_that_is_not_atomic_leaves_doubt() -> None:
    told = Told(step("pay", atomic=False))
    told.raises()
    assert counted(told).doubts == {PAY: 1}


def test_a_timeout_is_a_kill_and_leaves_doubt() -> None:
    told = Told(step("pay"))
    told.times_out()
    found = counted(told)
    assert found.attempts == {(PAY, EXECUTE, AttemptOutcome.TIMEOUT): 1}
    assert found.kills == {(PAY, KillCause.TIMEOUT): 1}
    assert found.doubts == {PAY: 1}
    assert found.attempt_durations[PAY, EXECUTE].sum_s == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("found_out", "outcome", "kills"),
    [
        ({"signal": 9}, AttemptOutcome.CRASH, {(PAY, KillCause.SIGNAL): 1}),
        ({"exit_code": 3}, AttemptOutcome.CRASH, {}),
        ({"by_system": True}, AttemptOutcome.INTERRUPTED, {(PAY, KillCause.SYSTEM): 1}),
        ({"began": False, "signal": 9}, AttemptOutcome.NEVER_RAN, {}),
    ],
)
def test_a_death(found_out: dict[str, Any], outcome: AttemptOutcome, kills: dict[Any, int]) -> None:
    told = Told(step("pay"))
    told.dies(**found_out)
    found = counted(told)
    assert found.attempts == {(PAY, EXECUTE, outcome): 1}
    assert found.kills == kills


def test_a_cancel_that_ends_an_attempt_is_its_cause() -> None:
    told = Told(step("pay"))
    told.run()
    told.tell(CancelAsked("no more", "ann"))
    told.dies(signal=9)
    found = counted(told)
    assert found.kills == {(PAY, KillCause.CANCEL): 1}
    assert found.attempts == {(PAY, EXECUTE, AttemptOutcome.INTERRUPTED): 1}


def test_an_attempt_that_the_system_ends_after_its_limit_is_killed_once() -> None:
    told = Told(step("pay"))
    told.expires()
    told.dies(by_system=True)
    assert counted(told).kills == {(PAY, KillCause.TIMEOUT): 1}


def test_what_can_not_be_called_and_what_can_not_travel_have_outcomes_of_their_own() -> None:
    told = Told(step("pay", retry=attempts(3), idempotent=True))
    told.answer(Refused("no such module"))
    told.answer(Unencodable("a socket can't travel", "TypeError"))
    found = counted(told)
    assert found.attempts == {
        (PAY, EXECUTE, AttemptOutcome.REFUSED): 1,
        (PAY, EXECUTE, AttemptOutcome.UNENCODABLE): 1,
    }
    assert found.retries == {(PAY, EXECUTE): 1}
    assert found.doubts == {PAY: 1}


@pytest.mark.parametrize(
    ("verify", "outcome"),
    [
        (lambda told: told.says(Verdict.APPLIED), AttemptOutcome.RETURNED),
        (lambda told: told.says(Verdict.UNKNOWN), AttemptOutcome.RETURNED),
        (
            lambda told: told.answer(Raised(FailureKind.RAISED, "no line", "OSError", None, "Traceback")),
            AttemptOutcome.RAISED,
        ),
        (lambda told: told.times_out(), AttemptOutcome.TIMEOUT),
        (lambda told: told.dies(signal=9, no_stack="it was gone"), AttemptOutcome.CRASH),
    ],
)
def test_a_verify_has_an_outcome_too(verify: Any, outcome: AttemptOutcome) -> None:
    told = Told(step("pay", has_verify=True))
    told.dies(signal=9)
    told.run()
    verify(told)
    assert counted(told).attempts[PAY, VERIFY, outcome] == 1


def test_a_parked_saga_is_counted_each_time_and_when_it_ends_after_all() -> None:
    told = Told(step("pay"), step("ship"))
    ended(told)
    told.raises()
    told.raises()
    told.tell(RetryAsked("ann", None))
    told.raises()
    told.tell(RetryAsked("ann", None))
    ended(told)
    found = counted(told)
    assert found.sagas[("order", SagaEvent.PARKED)] == 2
    assert found.sagas[("order", SagaEvent.COMPENSATED)] == 1
    assert found.attempts[PAY, COMPENSATE, AttemptOutcome.RAISED] == 2
    assert found.attempts[PAY, COMPENSATE, AttemptOutcome.RETURNED] == 1


def test_entries_of_a_saga_that_is_not_known_count_as_other() -> None:
    told = Told(step("pay"))
    told.times_out()
    ended(told)
    statistics = SagaStatistics()
    for entry in told.journal[1:]:
        statistics.add("saga-1", entry)
    assert statistics.attempts == {
        (OTHER, EXECUTE, AttemptOutcome.TIMEOUT): 1,
        (OTHER, COMPENSATE, AttemptOutcome.RETURNED): 1,
    }
    assert statistics.kills == {(OTHER, KillCause.TIMEOUT): 1}
    assert statistics.sagas == {(OTHER, SagaEvent.COMPENSATED): 1}
    assert not statistics.attempt_durations


def test_a_saga_that_is_told_later_counts_under_its_labels_from_then_on() -> None:
    told = Told(step("pay"))
    ended(told)
    statistics = SagaStatistics()
    first = told.journal[0]
    assert isinstance(first, SagaAccepted)
    statistics.begin(first)
    assert not statistics.sagas
    for entry in told.journal[1:]:
        statistics.add("saga-1", entry)
    assert statistics.sagas == {("order", SagaEvent.COMPLETED): 1}


def test_there_is_an_end_to_labels() -> None:
    statistics = SagaStatistics(most_labels=2)
    for number in range(5):
        statistics.add(f"saga-{number}", accepted(f"saga-{number}", f"name-{number}", f"class-{number}"))
    statistics.add("saga-9", accepted("saga-9", "name-1", "class-1"))
    assert statistics.sagas == {
        ("name-0", SagaEvent.ACCEPTED): 1,
        ("name-1", SagaEvent.ACCEPTED): 2,
        (OTHER, SagaEvent.ACCEPTED): 3,
    }
    assert statistics.name_label("name-4") == OTHER
    assert len(statistics.name_label("x" * 10_000)) < 300


def test_there_is_an_end_to_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SAGAS_KEPT", 3)
    monkeypatch.setattr(module, "_STEPS_KEPT", 4)
    statistics = SagaStatistics()
    for number in range(5):
        statistics.add(str(number), accepted(str(number), "order", "pay", "ship"))
    assert [statistics.knows(str(number)) for number in range(5)] == [False, False, False, True, True]
    statistics.forget_courses()
    assert not statistics.knows("4")


def test_a_broken_journal_breaks_no_statistics() -> None:
    told = Told(step("pay"))
    told.times_out()
    stepwise: list[Any] = [entry for entry in told.journal[1:] if hasattr(entry, "step")]
    strange: list[Entry] = [replace(entry, step=17) for entry in stepwise]
    statistics = SagaStatistics()
    for entry in [told.journal[0], *strange, told.journal[-1], *strange]:
        statistics.add("saga-1", entry)
    assert statistics.attempts == {(OTHER, EXECUTE, AttemptOutcome.TIMEOUT): 2}


def test_durations_fall_into_buckets_and_percentiles_look_at_the_recent_ones() -> None:
    durations = Durations()
    assert durations.percentiles(0.0) is None
    for number in range(1, 101):
        durations.add(1000.0 + number, number / 100)
    durations.add(2000.0, -3.0)
    assert durations.count == 101
    assert durations.counts[BUCKETS_S.index(0.1)] == 5
    assert durations.percentiles(1001.0, (0.5, 0.95, 0.99)) == (0.5, 0.95, 0.99)
    assert durations.percentiles(1500.0) == (0.0, 0.0, 0.0)
    assert durations.percentiles(3000.0) is None
    durations.add(3000.0, 1e9)
    assert durations.counts[-1] == 1
