"""What the command line says: sentences for every kind of entry, plain JSON for every kind of value."""

from __future__ import annotations

import io
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from rich.console import Console

from antistrophe.cli import screen
from antistrophe.cli.group import VERBS
from antistrophe.cli.invocation import Invocation
from antistrophe.cli.read import _print
from antistrophe.client.host_list import LimitsNow
from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.narration.entry_sentences import SENTENCES
from antistrophe.narration.explanation import explain
from antistrophe.narration.phrases import places
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import (
    ENTRY_TYPES,
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelRequested,
    CompensationGivenUp,
    CompensationRetried,
    Entry,
    Failure,
    FailureKind,
    Lease,
    RetryScheduled,
    SagaAccepted,
    SagaCompensated,
    SagaParked,
    SagaRelocated,
    SagaWaits,
    StepResolved,
    TurnCause,
    TurnedBack,
    TurnReason,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.inputs import Raised, ResolveAsked, Returned
from tests.core.saga_kit import Told
from tests.core.saga_kit import step as planned
from tests.house.tree import ROOT

LEASE = Lease("lease-1", 4711, 1, "boot")


def step(name: str) -> StepSpec:
    policy = RetryPolicy()
    return StepSpec(name, f"m:{name}", b"", 3.0, 1.0, policy, 3, 30.0, policy, True, True, True, False, True)


def accepted(*names: str, deadline_s: float | None = None) -> SagaAccepted:
    steps = tuple(step(name) for name in names)
    return SagaAccepted(100.0, "r", SagaSpec("order 7", "order", deadline_s, True, steps, Origin(None, (), "/")))


def started(index: int, action: Action = Action.EXECUTE, attempt: int = 1, at: float = 101.0) -> AttemptStarted:
    return AttemptStarted(at, index, action, attempt, 3.0, at + 3.0, LEASE)


def succeeded(index: int, action: Action = Action.EXECUTE, attempt: int = 1) -> AttemptSucceeded:
    return AttemptSucceeded(102.0, index, action, attempt)


def failed(kind: FailureKind, action: Action = Action.EXECUTE, index: int = 0) -> AttemptFailed:
    return AttemptFailed(102.0, index, action, 1, Failure(kind, "no", "ValueError", duration_s=3.0))


def story(entries: Sequence[Entry]) -> list[str]:
    return [each.text for each in explain(entries, system_runs=True).story]


@pytest.mark.parametrize("kind", FailureKind)
def test_each_way_in_which_an_attempt_can_end_has_its_words(kind: FailureKind) -> None:
    sentence = story([accepted("Debit"), started(0), failed(kind)])[-1]
    assert sentence.startswith("Debit (process 4711, 1.000 s) ")
    assert ("in doubt" in sentence) == (
        kind
        in {
            FailureKind.IN_DOUBT,
            FailureKind.TIMEOUT,
            FailureKind.CRASH,
            FailureKind.INTERRUPTED,
            FailureKind.UNENCODABLE,
        }
    )


def test_every_kind_of_entry_has_its_words() -> None:
    assert set(SENTENCES) == set(ENTRY_TYPES)


def test_a_saga_that_turned_back_on_a_timeout() -> None:
    cause = TurnCause(TurnReason.STEP_TIMED_OUT, 1, Failure(FailureKind.TIMEOUT, "ended", duration_s=3.0))
    entries: list[Entry] = [
        accepted("debit", "Credit", deadline_s=9.0),
        SagaWaits(100.5, "its turn"),
        started(0),
        succeeded(0),
        started(1, at=102.0),
        AttemptExpired(105.0, 1, Action.EXECUTE, 1),
        replace(failed(FailureKind.TIMEOUT, index=1), no_stack="its process had been stopped"),
        started(1, Action.VERIFY),
        VerdictGiven(102.5, 1, 1, Verdict.UNKNOWN, detail="no answer", stack='File "a.py", line 1 in verify'),
        TurnedBack(106.0, cause),
        started(1, Action.COMPENSATE),
    ]
    explanation = explain(entries, system_runs=True)
    assert [each.text for each in explanation.story] == [
        "The saga was accepted with 2 steps: debit, Credit; its deadline is 9 s.",
        "The saga waits: its turn.",
        "debit (process 4711, 1.000 s) succeeded.",
        "Credit ran past its limit of 3 s, so its process is ended.",
        (
            "Credit (process 4711, 0.000 s) was killed after 3 s, and its process is proven dead: nobody knows whether"
            " it took effect, so it is in doubt.\nIts stack is not known: its process had been stopped."
        ),
        (
            "The check whether Credit took effect could not find out (no answer).\nIts stack at that moment:\n"
            'File "a.py", line 1 in verify'
        ),
        "The saga turned back. Steps done: debit.",
        "The undo of Credit started in process 4711; its limit is 3 s.",
    ]
    assert explanation.turned_back == "Credit did not end within 3 s and was killed."
    assert explanation.owed == (
        "the undo of Credit (in doubt: nobody knows whether it took effect)",
        "the undo of debit (it took effect)",
    )
    assert (explanation.status, explanation.orders) == (SagaStatus.COMPENSATING, ())


def parked() -> list[Entry]:
    failure = Failure(FailureKind.RAISED, "closed", "OSError")
    return [
        accepted("Debit", "Credit"),
        started(0),
        succeeded(0),
        CancelRequested(103.0, "a mistake", "eva"),
        TurnedBack(103.0, TurnCause(TurnReason.CANCELLED, 1, None, "a mistake")),
        started(0, Action.COMPENSATE),
        AttemptFailed(104.0, 0, Action.COMPENSATE, 1, failure),
        CompensationGivenUp(104.0, 0, failure),
        SagaParked(104.0),
    ]


def test_a_parked_saga_says_what_a_person_can_do() -> None:
    explanation = explain(parked(), system_runs=False)
    assert explanation.turned_back == "The saga was cancelled (a mistake)."
    assert explanation.owed == ("the undo of Debit (it took effect); given up after it failed once: OSError: closed",)
    assert explanation.orders == (
        "retry 'order 7'",
        "resolve 'order 7' Debit --note 'how it was settled'",
    )


@pytest.mark.parametrize("arguments", [("-x",), ("--help",), ("a b'c", "--note"), ("-", "x"), ("plain", "$HOME")])
def test_what_a_person_is_to_type_means_what_it_says(arguments: tuple[str, ...]) -> None:
    told: list[list[str]] = []

    @click.command()
    @click.argument("words", nargs=-1)
    @click.option("--note")
    def order(words: tuple[str, ...], note: str) -> None:
        told.append([*words, note])

    order.main(shlex.split(places(*arguments, options="--note 'so it was'")), standalone_mode=False)
    assert told == [[*arguments, "so it was"]]


def test_what_a_person_did_is_told() -> None:
    retried = [*parked(), CompensationRetried(105.0, "eva"), RetryScheduled(105.0, 0, Action.COMPENSATE, 105.5)]
    assert story(retried)[-2:] == ["eva ordered a retry of the undo.", "The undo of Debit is tried again in 0.5 s."]
    noted = [*parked(), CompensationRetried(105.0, "eva", "the bank is open")]
    assert story(noted)[-1] == "eva ordered a retry of the undo: the bank is open."
    moved = SagaRelocated(105.0, Origin(None, (), "/srv/r2\x1b"), "eva", "r1 is gone")
    assert story([*parked(), moved])[-1] == (
        "eva moved the place of the saga's code from / to /srv/r2\\x1b: r1 is gone."
    )
    resolved = [*parked(), StepResolved(105.0, 0, "paid in cash", "eva"), SagaCompensated(105.0)]
    explanation = explain(resolved, system_runs=False)
    assert "eva settled the undo of Debit by other means: paid in cash." in [each.text for each in explanation.story]
    assert (
        explanation.standing == "The saga was compensated: everything it did is undone (Debit: settled by an operator)."
    )
    assert (explanation.owed, explanation.orders) == ((), ())


def test_a_live_saga_without_a_system_says_how_to_go_on() -> None:
    entries: list[Entry] = [accepted("Debit"), started(0)]
    assert explain(entries, system_runs=False).orders == ("serve",)
    assert explain(entries, system_runs=True).orders == ("cancel 'order 7'",)


GONE = SagaWaits(103.0, "no module named shop")


@pytest.mark.parametrize("system_runs", [True, False])
def test_a_saga_that_waits_for_its_code_says_which_orders_end_it(system_runs: bool) -> None:
    serve = () if system_runs else ("serve",)
    forward: list[Entry] = [accepted("Debit", "Credit"), started(0), succeeded(0), GONE]
    told = explain(forward, system_runs=system_runs)
    assert told.orders == (*serve, "cancel 'order 7' --no-wait")
    assert "cancel the saga: it turns back at once" in told.advice[-1]
    turned = TurnedBack(104.0, TurnCause(TurnReason.CANCELLED, 1, None, "gone"))
    back = explain([*forward, CancelRequested(104.0, "gone", "eva"), turned, GONE], system_runs=system_runs)
    assert back.orders == (*serve, "resolve 'order 7' Debit --note 'how it was settled' --no-wait")
    assert "settle the undo of Debit by other means" in back.advice[-1]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC), "2026-01-02T03:04:05.000678+00:00"),
        (timedelta(seconds=1.5), 1.5),
        (SagaStatus.FAILED, "failed"),
        ({SagaStatus.FAILED: (1, {2})}, {"failed": [1, [2]]}),
        (b"\x00\xff", "00ff"),
        (Path("/a"), "/a"),
        (Decimal("1.10"), "Decimal('1.10')"),
        ("\udcff ü", "\udcff ü"),
    ],
)
def test_json_has_plain_values(value: object, expected: Any, capsys: pytest.CaptureFixture[str]) -> None:
    screen.print_json(value)
    assert json.loads(capsys.readouterr().out) == expected


def test_no_text_commands_the_terminal() -> None:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, color_system=None, markup=False, emoji=False)
    console.print(screen.safe("red \x1b[31m\x07 [bold]:smile: x\x00"))
    assert "\x1b" not in shown.getvalue()
    assert "red \\x1b[31m\\x07 [bold]:smile: x\\x00" in shown.getvalue()


HOSTILE = "no money\n12:00:00.000 The saga completed.\r\x1b[2J\x00\u202e\u2028"
ESCAPED = r"no money\n12:00:00.000 The saga completed.\r\x1b[2J\x00\u202e\u2028"


def test_an_explanation_has_no_line_and_no_control_character_of_anybody_else(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = Told(planned("turned \u202e round"), planned("second"))
    told.answer(Returned())
    told.answer(Raised(FailureKind.RAISED, HOSTILE, "BankError"))
    told.answer(Raised(FailureKind.RAISED, HOSTILE, "BankError"))
    told.tell(ResolveAsked(0, HOSTILE, "eva"))
    explanation = replace(explain(told.journal, system_runs=True), id="an \u202e id", name="a \u202e name")
    _print(Invocation(), explanation, LimitsNow(datetime.now(UTC), ()))
    said = capsys.readouterr().out
    assert said.replace("\n", "").isprintable()
    assert [line for line in said.splitlines() if line.startswith("12:00:00.000")] == []
    assert said.count(ESCAPED) >= 4
    for escaped in (r"turned \u202e round", r"an \u202e id", r"a \u202e name"):
        assert escaped in said


def test_the_reference_names_every_verb_and_no_other() -> None:
    page = (ROOT / "docs" / "reference" / "command-line.md").read_text("utf-8")
    verbs = page.split("| verb |")[1].split("\n\n")[0]
    assert [row.split("`")[1].split()[0] for row in verbs.splitlines() if row.startswith("| `")] == list(VERBS)
