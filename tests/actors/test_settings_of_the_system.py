"""The settings of the system that runs: known to everybody who attaches, with where each comes from."""

from __future__ import annotations

import asyncio
import json
import warnings
from pathlib import Path

import pytest

from antistrophe import AsyncSagaOrchestrator, SagaOrchestrator, Settings, SettingsWarning
from antistrophe.cli import main


def test_who_attaches_with_other_settings_is_warned_and_sees_those_that_hold(tmp_path: Path) -> None:
    home, given = tmp_path / "home", Settings(drain_s=0.5, max_running_sagas=7)
    with SagaOrchestrator(home, settings=given) as first:
        assert first.settings == given
        with (
            pytest.warns(SettingsWarning, match=r"drain_s is 0.5, not 9.0, report_s is 0.05, not 0.1\. ") as told,
            SagaOrchestrator(home, settings=Settings(drain_s=9, max_running_sagas=7, report_s=0.1)) as second,
        ):
            assert second.settings == given
        assert told[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for same in (None, Settings(max_running_sagas=7, drain_s=0.5)):
                with SagaOrchestrator(home, settings=same) as third:
                    assert third.settings == given

        async def attach() -> Settings:
            async with AsyncSagaOrchestrator(home) as other:
                return other.settings

        assert asyncio.run(attach()) == given


def test_doctor_shows_where_each_setting_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, profile = tmp_path / "home", tmp_path / "profile.toml"
    profile.write_text("drain_s = 0.5\nmax_running_sagas = 7\n")
    with SagaOrchestrator(home, settings=Settings.load(profile)):
        main(["doctor", "--home", str(home), "--json"])
        shown = json.loads(capsys.readouterr().out)["settings"]
        assert shown["drain_s"] == {"value": 0.5, "from": str(profile)}
        assert shown["max_running_sagas"] == {"value": 7, "from": str(profile)}
        assert shown["report_s"] == {"value": 0.05, "from": "default"}
        main(["doctor", "--home", str(home)])
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["drain_s", "0.5", str(profile)] in [line[:3] for line in lines] or str(profile) in str(lines)
        assert ["report_s", "0.05", "default"] in lines
    with SagaOrchestrator(home, settings=Settings(drain_s=0.25)) as orchestrator:
        assert orchestrator.settings.sources()["drain_s"] == "argument"
        main(["doctor", "--home", str(home), "--json"])
        assert json.loads(capsys.readouterr().out)["settings"]["drain_s"] == {"value": 0.25, "from": "argument"}
    main(["doctor", "--home", str(home), "--json"])
    assert json.loads(capsys.readouterr().out)["settings"] is None
