"""People are told of parked sagas: once for each parking, also of those that were parked before, and failures show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from antistrophe import CompensationFailedError, SagaMetadata, SagaOrchestrator, SagaStatus, Settings
from antistrophe.cli import main
from antistrophe.definition.on_parked import NAME
from tests.actors.steps_parked import parking, told_in
from tests.waiting import until

TELL, NO_FUNCTION = "tests.actors.steps_parked:tell", "tests.actors.steps_parked:NO_FUNCTION"


def told(home: Path) -> list[dict[str, Any]]:
    file = told_in(home)
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def tellings(orchestrator: SagaOrchestrator, status: SagaStatus) -> list[SagaMetadata]:
    return list(orchestrator.list_sagas(name=NAME, status=status))


def test_each_parking_is_told_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(on_parked=TELL, drain_s=0.5)) as orchestrator:
        with pytest.raises(CompensationFailedError):
            orchestrator.execute(parking("p"))
        until(lambda: tellings(orchestrator, SagaStatus.COMPLETED), "the parking is told")
        (first,) = told(home)
        assert {key: first[key] for key in ("saga_id", "name", "step", "error", "home")} == {
            "saga_id": "p",
            "name": "parking",
            "step": "NoUndo",
            "error": "OSError: the bank is closed",
            "home": str(home),
        }
        assert first["age_s"] >= 0
        orchestrator.retry_compensation("p")
        until(lambda: len(tellings(orchestrator, SagaStatus.COMPLETED)) == 2, "the second parking is told")
        orchestrator.wait_idle(30)
        assert [each["saga_id"] for each in told(home)] == ["p", "p"]
        assert len({each["parked_at"] for each in told(home)}) == 2


def test_what_was_parked_before_is_told_and_a_failure_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "home"
    with SagaOrchestrator(home, settings=Settings(drain_s=0.5)) as orchestrator:
        for saga_id in ("p", "q" * 200):
            with pytest.raises(CompensationFailedError):
                orchestrator.execute(parking(saga_id))
    with SagaOrchestrator(home, settings=Settings(on_parked=NO_FUNCTION, drain_s=0.5)) as orchestrator:
        until(lambda: len(tellings(orchestrator, SagaStatus.COMPENSATED)) == 2, "the tellings have failed")
        log = home / "log" / "system.log"
        until(lambda: log.read_text("utf-8").count("on_parked has failed, and is not tried again") == 2, "log")
    with SagaOrchestrator(home, settings=Settings(on_parked=TELL, drain_s=0.5)) as orchestrator:
        orchestrator.resolve("p", "NoUndo", note="by hand")
        orchestrator.wait_idle(30)
        assert told(home) == [], "each parking has one telling, and those have failed"
    main(["show", "p", "--home", str(home)])
    assert "on_parked has failed" in " ".join(capsys.readouterr().out.split())
    main(["doctor", "--home", str(home), "--json"])
    (finding,) = [each for each in json.loads(capsys.readouterr().out)["findings"] if each["subject"] == "on_parked"]
    assert "NO_FUNCTION" in finding["says"]
    assert ":p" not in finding["says"], "a saga that is settled needs nobody"
