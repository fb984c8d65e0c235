"""The registry's view: a saga's state as monitoring shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.errors import JournalError
from antistrophe.journal.rows import pack_state, unpack_change, unpack_state
from antistrophe.records import SagaMetadata, SagaStatus, StepStatus
from antistrophe.saga import view
from antistrophe.saga.entries import FailureKind
from antistrophe.saga.inputs import CancelAsked, ProcessRefused, ResolveAsked, RetryAsked, Returned, TimePassed
from antistrophe.saga.state import Saga, replay
from antistrophe.saga.view import at, metadata_of, view_after, view_of
from antistrophe.serialization.fast_records import changed
from antistrophe.serialization.payload import pack_payload, unpack_payload
from tests.core.saga_kit import Told, attempts, step

DONE = Returned(b"\xa2ok")
ORDERS = ("retry", "resolve")


def statuses(told: Told) -> list[StepStatus]:
    return [each.status for each in metadata_of(told.saga).steps]


def test_times_are_aware_and_utc() -> None:
    told = Told(step())
    told.now += 5.0
    told.run()
    shown = metadata_of(told.saga)
    assert shown.created_at == datetime(1970, 1, 1, 0, 16, 40, tzinfo=UTC)
    assert shown.updated_at == shown.steps[0].started_at == at(1005.0)
    assert shown.steps[0].finished_at is None


def test_nothing_of_a_saga_is_seen_before_it_was_created() -> None:
    # The machine's clock is read a little after the system's: 30 us here.
    told = Told(step("pay"))
    told.saga = changed(told.saga, created_at=1000.00003)
    told.run()
    shown = view_of(told.saga, ahead_s=0.0)
    assert shown.updated_at == shown.created_at == 1000.00003
    assert shown.steps[0][4] == 1000.00003
    told.now += 5.0
    told.answer(DONE)
    assert view_of(told.saga, ahead_s=0.5).updated_at == 1005.5


def test_a_saga_that_goes_forward() -> None:
    told = Told(step("pay"), step("ship"), step("mail"))
    told.answer(DONE)
    shown = metadata_of(told.saga)
    assert (shown.id, shown.name, shown.status) == ("saga-1", "order", SagaStatus.EXECUTING)
    assert (shown.steps_executed, shown.total_steps, shown.error, shown.waiting) == (1, 3, None, None)
    assert statuses(told) == [StepStatus.SUCCEEDED, StepStatus.RUNNING, StepStatus.PENDING]
    assert [each.attempts for each in shown.steps] == [1, 1, 0]
    assert [each.pid for each in shown.steps] == [1, 1, None]


def test_a_saga_that_goes_back() -> None:
    told = Told(step("pay"), step("ship"), step("mail"))
    told.answer(DONE)
    told.times_out()
    assert statuses(told) == [StepStatus.SUCCEEDED, StepStatus.IN_DOUBT, StepStatus.SKIPPED]
    shown = metadata_of(told.saga)
    assert shown.status is SagaStatus.COMPENSATING
    assert shown.error == "ended after 10 s"
    assert shown.steps[1].in_doubt
    told.run()
    assert statuses(told)[1] is StepStatus.COMPENSATING
    told.answer(DONE)
    assert statuses(told) == [StepStatus.COMPENSATING, StepStatus.COMPENSATED, StepStatus.SKIPPED]
    told.answer(DONE)
    assert metadata_of(told.saga).status is SagaStatus.COMPENSATED


def test_a_clean_failure_is_shown_with_its_error() -> None:
    told = Told(step("pay"))
    told.raises()
    shown = metadata_of(told.saga).steps[0]
    assert (shown.status, shown.error) == (StepStatus.FAILED, "BankError: no money")


def test_a_compensation_between_two_attempts_is_still_compensating() -> None:
    told = Told(step("pay", compensation_retry=attempts(2, 5.0)), step("ship"))
    told.answer(DONE)
    told.raises()
    told.raises()
    assert told.saga.current is None
    assert statuses(told)[0] is StepStatus.COMPENSATING


def test_what_needs_attention() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.raises()
    told.raises(FailureKind.FATAL)
    shown = metadata_of(told.saga)
    assert shown.status is SagaStatus.FAILED
    assert shown.waiting == "an operator must retry or resolve the compensation that failed"
    assert shown.error is not None
    assert "pay" in shown.error
    assert statuses(told)[0] is StepStatus.COMPENSATION_FAILED
    assert shown.steps[0].error == "BankError: no money"
    told.tell(ResolveAsked(0, "by hand", "me"))
    assert statuses(told)[0] is StepStatus.RESOLVED
    assert metadata_of(told.saga).status is SagaStatus.COMPENSATED


def test_failed_undos_are_counted_over_an_operators_retries() -> None:
    told = Told(step("pay", compensation_retry=attempts(2)), step("ship"))
    told.answer(DONE)
    told.raises()
    counts = []
    for _ in range(2):
        told.dies(began=False)
        told.raises()
        told.raises()
        assert told.saga.parked
        counts.append(metadata_of(told.saga).steps[0].undo_failures)
        told.tell(RetryAsked("me"))
    assert counts == [2, 4], "those that never began are none"


def test_why_it_waits() -> None:
    told = Told(step("pay", retry=attempts(2, 60.0)))
    assert metadata_of(told.saga).waiting == "a step process to execute pay in"
    told.tell(ProcessRefused("no module named shop"))
    assert metadata_of(told.saga).waiting == "no module named shop"
    told.run()
    assert metadata_of(told.saga).waiting is None
    told.raises()
    waiting = metadata_of(told.saga).waiting or ""
    assert waiting.startswith(f"the next attempt to execute pay comes at {at(1060.0).isoformat()}, in the first step")


def test_a_process_that_does_not_die_is_seen() -> None:
    told = Told(step("pay"))
    told.run()
    told.tell(CancelAsked("too dear", "me"))
    assert metadata_of(told.saga).waiting == "process 1, which runs the attempt to execute pay, is being ended"


def test_attempts_that_never_reached_the_call_are_not_shown_as_attempts() -> None:
    told = Told(step("pay"))
    told.dies(began=False)
    assert metadata_of(told.saga).steps[0].attempts == 0
    told.answer(DONE)
    assert metadata_of(told.saga).steps[0].attempts == 1


def test_a_cancelled_saga_tells_why() -> None:
    told = Told(step("pay"), step("ship"))
    told.answer(DONE)
    told.tell(CancelAsked("too dear", "me"))
    told.dies(began=False)
    shown = metadata_of(told.saga)
    assert shown.status is SagaStatus.COMPENSATING
    told.answer(DONE)
    error = metadata_of(told.saga).error
    assert error is not None
    assert "too dear" in error


def test_a_saga_without_steps() -> None:
    shown = metadata_of(Told().saga)
    assert (shown.status, shown.steps, shown.total_steps) == (SagaStatus.COMPLETED, (), 0)


def test_what_is_stored_reads_as_what_is_shown() -> None:
    completed = Told(step("pay"), step("ship"))
    completed.now += 0.1234567
    completed.answer(DONE)
    completed.answer(DONE)
    parked = Told(step("pay", compensation_retry=attempts(2, 1.0)), step("ship", retry=attempts(2, 1.0)))
    parked.answer(DONE)
    parked.tell(ProcessRefused("there is no module 'shop'"))
    parked.raises()
    parked.times_out()
    parked.answer(DONE)
    parked.raises()
    parked.raises()
    parked.tell(ResolveAsked(0, "paid by hand", "ann"))
    cancelled = Told(step("pay"))
    cancelled.run()
    cancelled.tell(CancelAsked(None, "ann"))
    for told in (completed, parked, cancelled):
        for length in range(1, len(told.journal) + 1):
            saga = replay(told.journal[:length])
            assert unpack_state([pack_state(view_of(saga))], "it") == metadata_of(saga)


# --- what the journal keeps of it ---------------------------------------------------------------------------------

SAID: dict[str, Callable[[Told], object]] = {
    "answers": lambda told: told.answer(DONE),
    "raises": lambda told: told.raises(),
    "raises what is fatal": lambda told: told.raises(FailureKind.FATAL),
    "times out": lambda told: told.times_out(),
    "dies": lambda told: told.dies(),
    "never ran": lambda told: told.dies(began=False),
    "no process": lambda told: told.tell(ProcessRefused("there is no module 'shop'")),
    "cancel": lambda told: told.tell(CancelAsked("too dear", "ann")),
    "retry": lambda told: told.tell(RetryAsked("ann")),
    "resolve": lambda told: told.tell(ResolveAsked(0, "by hand", "ann")),
    "time": lambda told: told.tell(TimePassed(None, 0.0)),
}


@settings(max_examples=100)
@given(said=st.lists(st.sampled_from(sorted(SAID)), max_size=60), park=st.booleans(), whole_every=st.integers(1, 40))
def test_what_appends_change_adds_up_to_what_is_shown(said: list[str], park: bool, whole_every: int) -> None:
    retried = attempts(3)
    first, second = step("pay", retry=retried, idempotent=True), step("pack", requires_compensation=False)
    told = Told(first, second, step("ship", compensation_retry=retried), park=park)
    kept: list[bytes] = []
    shown: SagaMetadata | None = None
    known: Saga | None = None
    while True:
        entries = told.journal[0 if known is None else known.seq :]
        with patch.object(view, "WHOLE_EVERY", whole_every):
            state = pack_state(view_after(known, told.saga, entries))
        known, shown = told.saga, unpack_change(state, shown, "it")
        kept.append(state)
        assert shown == unpack_state(reversed(kept), "it") == metadata_of(told.saga)
        while said and told.saga is known and not (told.saga.ended or (told.saga.parked and said[-1] not in ORDERS)):
            SAID[said.pop()](told)
        if told.saga is known:
            return


def test_a_state_is_read_from_the_last_whole_one_on() -> None:
    told = Told(step("pay"), step("ship"))
    whole, before = pack_state(view_of(told.saga)), told.saga
    told.run()
    changed = pack_state(view_after(before, told.saga, told.journal[before.seq :]))

    def states() -> Iterator[bytes]:
        yield from (changed, whole)
        raise AssertionError("nothing before is asked for")

    assert unpack_state(states(), "it") == metadata_of(told.saga)
    assert len(changed) < len(whole) / 2
    assert unpack_change(changed, None, "it") is None
    for unreadable in ([changed], [changed, changed], []):
        with pytest.raises(JournalError, match="it: the state of the saga can't be read"):
            unpack_state(unreadable, "it")


@pytest.mark.parametrize("indexes", [[-1], [-2], [2], [0, 0], [True, 1], ["0"], [None]], ids=str)
def test_steps_that_no_append_can_have_changed_are_refused_however_they_are_read(indexes: list[object]) -> None:
    told = Told(step("pay"), step("ship"))
    whole, before = pack_state(view_of(told.saga)), told.saga
    told.run()
    row = unpack_payload(pack_state(view_after(before, told.saga, told.journal[before.seq :])))
    values = row[4][0][1:]
    damaged = pack_payload([*row[:4], [[index, *values] for index in indexes]])
    with pytest.raises(JournalError, match="it: the state of the saga can't be read"):
        unpack_change(damaged, metadata_of(before), "it")
    with pytest.raises(JournalError, match="it: the state of the saga can't be read"):
        unpack_state([damaged, whole], "it")
