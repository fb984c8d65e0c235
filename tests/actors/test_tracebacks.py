"""Tracebacks: what a step raised in its process is told to the caller, in the timeline and on the screen."""

from __future__ import annotations

import asyncio
import json
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from antistrophe import (
    CompensationFailedError,
    RetryPolicy,
    SagaDefinition,
    SagaError,
    SagaOrchestrator,
    SagaStep,
    Settings,
    StepCrashedError,
    StepFailedError,
)
from antistrophe.cli import main
from tests.actors.staging import outcome

SETTINGS = Settings(drain_s=0.5)


class SpeechlessError(Exception):
    def __str__(self) -> str:
        raise SystemExit("no text")


def amount_of(order: dict[str, int]) -> int:
    return order["amount"]


@dataclass(frozen=True)
class Pay(SagaStep):
    how: str
    retry = RetryPolicy(max_attempts=2, initial_s=0.0)

    def execute(self) -> Any:
        big = "x" * 5_000_000
        match self.how:
            case "group":
                asyncio.run(together())
            case "exit":
                raise SystemExit("licence expired")
            case "speechless":
                raise SpeechlessError(big)
            case "escapes":
                raise ValueError("\x1b[2J\u202e\nstep 0 succeeded")
        amount_of({})

    def compensate(self) -> None:
        pass


@dataclass(frozen=True)
class PayLater(Pay):
    async def execute(self) -> Any:
        if self.how == "group":
            await together()
        await asyncio.to_thread(amount_of, {})


@dataclass(frozen=True)
class Book(SagaStep):
    compensation_retry = RetryPolicy(max_attempts=1)

    def execute(self) -> None:
        pass

    def compensate(self) -> None:
        raise ValueError("no refund")


@dataclass(frozen=True)
class Check(Pay):
    def verify(self) -> object:
        raise LookupError("no such page")


async def together() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.Event().wait())
        group.create_task(asyncio.to_thread(amount_of, {}))


def saga(saga_id: str, *steps: SagaStep) -> SagaDefinition:
    made = SagaDefinition(saga_id)
    for each in steps:
        made = made.add_step(each)
    return made


def told(error: object) -> str:
    assert isinstance(error, SagaError)
    assert error.traceback is not None
    assert "antistrophe/definition" not in error.traceback
    assert "actors/step" not in error.traceback
    return error.traceback


@pytest.mark.parametrize("step", [Pay("raise"), Pay("group"), PayLater("raise"), PayLater("group")])
def test_the_caller_gets_the_traceback_and_each_failed_attempt_has_its_own(system: SagaOrchestrator, step: Pay) -> None:
    definition = saga(f"{type(step).__name__}-{step.how}", step)
    text = told(outcome(system, definition))
    assert "in execute" in text
    assert "in amount_of\n" in text
    assert 'return order["amount"]' in text
    failed = [each for each in system.get_timeline(definition.id) if each.kind == "AttemptFailed"]
    assert [each.data["traceback"] for each in failed] == [text, text]


def test_a_text_of_sys_exit_has_its_traceback(system: SagaOrchestrator) -> None:
    error = outcome(system, saga("exit", Pay("exit")))
    assert isinstance(error, StepCrashedError)
    assert told(error).endswith("SystemExit: licence expired")


def test_an_exception_without_a_text_has_its_traceback(system: SagaOrchestrator) -> None:
    error = outcome(system, saga("speechless", Pay("speechless")))
    assert isinstance(error, StepFailedError)
    assert "raise SpeechlessError(big)" in told(error)


def test_what_verify_raised_is_in_the_timeline(system: SagaOrchestrator) -> None:
    assert isinstance(outcome(system, saga("verify", Check("exit"))), SagaError)
    entry = next(each for each in system.get_timeline("verify") if each.kind == "VerdictGiven")
    assert str(entry.data["traceback"]).endswith("LookupError: no such page")
    assert entry.data["verdict"] == "unknown"


def test_a_failed_undo_and_its_cause_keep_theirs_over_a_restart(tmp_path: Path) -> None:
    definition = saga("undone", Book(), Pay("raise"))
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        first = outcome(orchestrator, definition)
    with SagaOrchestrator(tmp_path / "home", settings=SETTINGS) as orchestrator:
        with pytest.raises(CompensationFailedError) as again:
            orchestrator.handle("undone").result(30.0)
        cause = again.value.__cause__
        assert told(again.value) == told(first)
        assert told(again.value).endswith("ValueError: no refund")
        assert told(cause).endswith("KeyError: 'amount'")
        printed = "".join(traceback.format_exception(again.value))
        assert told(again.value) in printed
        assert told(cause) in printed


def test_screens_show_it_without_control_characters(
    system: SagaOrchestrator,
    shared_home: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    outcome(system, saga("shown", Pay("escapes")))
    for verb in ("explain", "show"):
        main([verb, "shown", "--home", str(shared_home)])
        shown = capsys.readouterr().out
        assert "in execute" in shown
        assert r"ValueError: \x1b[2J\u202e" in shown
        assert shown.replace("\n", "").isprintable()
    main(["show", "shown", "--home", str(shared_home), "--json"])
    timeline = json.loads(capsys.readouterr().out)["timeline"]
    failed = [each for each in timeline if each["kind"] == "AttemptFailed"]
    assert failed
    assert all("in execute" in each["data"]["traceback"] for each in failed)
