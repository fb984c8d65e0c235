"""Sagas run inline: the machine's decisions, the step process's encoding, and no waiting."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal, getcontext
from typing import Any

import pytest

from antistrophe import (
    CompensationFailedError,
    InvalidDefinitionError,
    PayloadTooLargeError,
    RetryPolicy,
    SagaDefinition,
    SagaStatus,
    SagaStep,
    StepContext,
    StepCrashedError,
    StepFailedError,
    StepTimeoutError,
    step,
)
from antistrophe.testing import Outcome, run_inline
from tests.core import steps_inline as steps

Calls = list[tuple[str, str, int]]


@pytest.fixture
def calls() -> Iterator[Calls]:
    with steps.recording() as made:
        yield made


def saga(*parts: SagaStep, deadline_s: float | None = None) -> SagaDefinition:
    made = SagaDefinition("inline-saga", deadline_s=deadline_s)
    for each in parts:
        made = made.add_step(each)
    return made


def kinds(outcome: Outcome) -> list[str]:
    return [entry.kind for entry in outcome.timeline]


def test_a_saga_that_completes_gives_its_events_in_step_order(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Work("one"), steps.AsyncWork("two", Decimal("0.1"))))
    assert outcome.events == [steps.InlineDone("one", Decimal("1.5")), steps.InlineDone("two", Decimal("0.1"))]
    assert (outcome.status, outcome.error) == (SagaStatus.COMPLETED, None)
    assert calls == [("execute", "one", 1), ("execute", "two", 1)]
    assert kinds(outcome) == [
        "SagaAccepted", "AttemptStarted", "AttemptSucceeded", "AttemptStarted", "AttemptSucceeded", "SagaCompleted",
    ]  # fmt: skip
    assert list(steps.PIDS) == [os.getpid()]


@pytest.mark.parametrize("wrong", ["s", 5, None, SagaDefinition], ids=str)
def test_what_is_no_saga_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidDefinitionError, match="is no saga: pass a SagaDefinition"):
        run_inline(wrong)


def test_a_saga_without_steps_completes() -> None:
    assert run_inline(saga()).status is SagaStatus.COMPLETED


def test_a_saga_that_fails_is_undone_in_reverse_order(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Work("one"), steps.AsyncWork("two"), steps.Fail("raise")))
    assert outcome.status is SagaStatus.COMPENSATED
    assert outcome.events == []
    assert isinstance(outcome.error, StepFailedError)
    assert (outcome.error.step_index, outcome.error.error_type, outcome.error.error) == (2, "ValueError", "no")
    assert calls[-2:] == [("compensate", "two", 1), ("compensate", "one", 1)]


def test_waits_take_no_time_but_count(calls: Calls) -> None:
    began = time.monotonic()
    patient = RetryPolicy(max_attempts=4, initial_s=1000.0, multiplier=1.0, max_s=1000.0, jitter=False)
    outcome = run_inline(saga(steps.Fail("raise", until=4, retry=patient)))
    assert outcome.status is SagaStatus.COMPLETED
    assert calls == [("execute", "Fail", number) for number in (1, 2, 3, 4)]
    assert time.monotonic() - began < 30.0
    assert (outcome.timeline[-1].at - outcome.timeline[0].at).total_seconds() == pytest.approx(3000.0, abs=30.0)


def test_the_deadline_ends_a_wait(calls: Calls) -> None:
    patient = RetryPolicy(max_attempts=4, initial_s=1000.0, max_s=1000.0, jitter=False)
    outcome = run_inline(saga(steps.Work("one"), steps.Fail("raise", retry=patient), deadline_s=500.0))
    assert isinstance(outcome.error, StepTimeoutError)
    assert [call[0] for call in calls] == ["execute", "execute", "compensate"]
    assert (outcome.timeline[-1].at - outcome.timeline[0].at).total_seconds() == pytest.approx(500.0, abs=30.0)


@pytest.mark.parametrize(
    ("how", "error", "in_doubt"),
    [
        ("raise", StepFailedError, False),
        ("fatal", StepFailedError, False),
        ("doubt", StepFailedError, True),
        ("garbage", StepFailedError, True),
        ("no result", StepFailedError, True),
        ("cancelled", StepFailedError, False),
        ("exit", StepCrashedError, True),
        ("lazy fails", StepFailedError, True),
        ("lazy later fails", StepFailedError, True),
        ("lazy together fails", StepFailedError, True),
        ("lazy wrong", StepFailedError, True),
        ("wrong result", StepFailedError, True),
        ("stop the loop", StepFailedError, True),
        ("doubt in a task group", StepFailedError, True),
        ("fatal in a group", StepFailedError, False),
        ("exit in a group", StepFailedError, True),
        ("cause", StepFailedError, False),
    ],
)
def test_each_way_to_fail(calls: Calls, how: str, error: type[Exception], in_doubt: bool) -> None:
    outcome = run_inline(saga(steps.Fail(how)))
    assert outcome.status is SagaStatus.COMPENSATED
    assert type(outcome.error) is error
    assert [call[0] for call in calls] == (["execute", "compensate"] if in_doubt else ["execute"])
    assert steps.CONTEXTS[-1].in_doubt is in_doubt


@pytest.mark.parametrize("how", ["lazy", "lazy later", "lazy together", "lazy within"])
def test_events_that_are_made_as_they_are_read_are_events(calls: Calls, how: str) -> None:
    outcome = run_inline(saga(steps.Fail(how)))
    assert outcome.events == [steps.InlineDone("0", Decimal(0)), steps.InlineDone("1", Decimal(1))]


def test_an_undo_whose_events_fail_is_tried_again(calls: Calls) -> None:
    outcome = run_inline(saga(steps.LazyUndo("one"), steps.Fail("raise")))
    assert outcome.status is SagaStatus.COMPENSATED
    assert calls[-2:] == [("compensate", "one", 1), ("compensate", "one", 2)]


@pytest.mark.parametrize(
    ("how", "exit_code", "text"),
    [
        ("exit with words", 1, "exit code 1, by sys.exit: licence expired"),
        ("exit with an object", 1, "exit code 1, by sys.exit: ['licence', 'expired']"),
        ("exit without words", 0, "exit code 0"),
        ("exit", 7, "exit code 7"),
    ],
)
def test_what_sys_exit_says_is_told(calls: Calls, how: str, exit_code: int, text: str) -> None:
    error = run_inline(saga(steps.Fail(how))).error
    assert isinstance(error, StepCrashedError)
    assert error.exit_code == exit_code
    assert str(error).endswith(f"crashed: its process ended: {text}")


def test_what_sys_exit_says_in_verify_is_told(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Verified(answer="exit")))
    given = next(entry.data for entry in outcome.timeline if entry.kind == "VerdictGiven")
    assert given["verdict"] == "unknown"
    assert given["detail"] == "verify did not answer: its process ended: exit code 1, by sys.exit: no licence"


@pytest.mark.parametrize("kind", [steps.SetsContext, steps.AsyncSetsContext])
def test_no_call_sees_what_another_has_set_in_its_context(kind: type[steps.SetsContext]) -> None:
    precision = getcontext().prec
    outcome = run_inline(saga(kind("one"), kind("two")))
    one, two = outcome.events
    assert isinstance(one, steps.Seen)
    assert isinstance(two, steps.Seen)
    assert one.tenant == "built for one"
    assert two.tenant == "built for two"
    assert (two.built_for, one.precision, two.precision) == (one.built_for, precision, precision)
    assert getcontext().prec == precision


def test_what_may_be_tried_again_is(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Fail("retryable", until=3, retry=RetryPolicy(max_attempts=3))))
    assert outcome.status is SagaStatus.COMPLETED
    assert (outcome.timeline[-1].at - outcome.timeline[0].at).total_seconds() == pytest.approx(7200.0, abs=30.0)


def test_a_call_that_comes_back_late_is_booked_as_timed_out(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Late(name="Late")))
    assert isinstance(outcome.error, StepTimeoutError)
    assert calls == [("execute", "Late", 1), ("compensate", "Late", 1)]
    assert "AttemptExpired" in kinds(outcome)


@pytest.mark.parametrize(("answer", "status"), [("applied", "COMPLETED"), ("not", "COMPENSATED"), ("?", "COMPENSATED")])
def test_verify_is_asked(calls: Calls, answer: str, status: str) -> None:
    outcome = run_inline(saga(steps.Verified(answer=answer)))
    assert outcome.status is SagaStatus[status]
    assert outcome.events == ([steps.InlineDone("found", Decimal(2))] if answer == "applied" else [])
    undone = [("compensate", "Verified", 1)] if answer == "?" else []
    assert calls == [("execute", "Verified", 1), ("verify", "Verified", 1), *undone]


def test_an_undo_is_tried_again_and_parks_the_saga_when_it_is_given_up(calls: Calls) -> None:
    assert run_inline(saga(steps.BadUndo(3), steps.Fail("raise"))).status is SagaStatus.COMPENSATED
    parked = run_inline(saga(steps.Work("one"), steps.BadUndo(4), steps.Fail("raise")))
    assert parked.status is SagaStatus.FAILED
    assert isinstance(parked.error, CompensationFailedError)
    assert isinstance(parked.error.__cause__, StepFailedError)
    assert ("compensate", "one", 1) not in calls


def test_input_and_outputs_travel_as_they_would(calls: Calls) -> None:
    run_inline(
        saga(steps.Work("one", output={"a": (1, {2}), "b": Decimal("1.10")}), steps.greet("you"), steps.Fail("exit"))
    )
    last = steps.CONTEXTS[-1]
    assert (last.step_name, last.output) == ("one", {"a": (1, {2}), "b": Decimal("1.10")})
    greeted = steps.CONTEXTS[-2]
    assert (greeted.step_name, greeted.output) == ("greet", ("you", (1, 2)))
    assert dict(greeted.outputs) == {"one": {"a": (1, {2}), "b": Decimal("1.10")}}
    assert greeted.forward_key == "inline-saga:1:forward"
    assert greeted.idempotency_key == "inline-saga:1:compensation"
    assert greeted.deadline.tzinfo is not None


def test_what_is_too_large_is_found(calls: Calls) -> None:
    outcome = run_inline(saga(steps.Fail("large")))
    assert isinstance(outcome.error, StepFailedError)
    assert outcome.error.error_type == "PayloadTooLargeError"
    with pytest.raises(PayloadTooLargeError):
        run_inline(saga(steps.Work("x", output="x" * (1 << 21))))


def test_what_is_not_the_sagas_goes_through(calls: Calls) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_inline(saga(steps.Fail("interrupt")))


def test_asynchronous_steps_run_where_a_loop_runs_already(calls: Calls) -> None:
    async def test() -> Outcome:
        return run_inline(saga(steps.AsyncWork("one"), steps.Fail("raise")))

    assert asyncio.run(test()).status is SagaStatus.COMPENSATED
    assert calls[-1] == ("compensate", "one", 1)


def test_importing_it_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; from antistrophe.testing import run_inline"
    subprocess.run([sys.executable, "-c", code], check=True)


@step(requires_compensation=False, retry=RetryPolicy(max_attempts=2, initial_s=0.1))
def speak(ctx: StepContext, word: str) -> None:
    sys.stdout.write(f"{word} ")
    sys.stdout.write("out\n")
    sys.stderr.write(f"{word} err\n")
    ctx.log.warning("%s ctx", word)
    if ctx.attempt == 1:
        raise ValueError(word)


@step(requires_compensation=False)
async def speak_on_a_loop(ctx: StepContext, word: str) -> None:
    await asyncio.to_thread(sys.stdout.write, f"{word}\n")


def test_what_steps_say_is_kept_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, [*logging.root.handlers]
    outcome = run_inline(SagaDefinition("says").add_step(speak("a")).add_step(speak_on_a_loop("b")))
    assert (sys.stdout, [*logging.root.handlers]) == before
    said = ("stdout", "a out"), ("stderr", "a err"), ("log", "a ctx")
    assert [(each.attempt, each.source, each.text) for each in outcome.logs] == [
        *[(attempt, *each) for attempt in (1, 2) for each in said],
        (1, "stdout", "b"),
    ]
    assert outcome.logs[-1].step_name == "speak_on_a_loop"
    assert outcome.logs[-1].pid == os.getpid()
    shown = capsys.readouterr()
    assert shown.out == "a out\na out\nb\n"
    assert shown.err.count("a err") == 2
