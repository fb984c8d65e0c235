"""Steps see the environment of their application as it was when it opened its orchestrator, and nobody else does."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RequestError, SagaDefinition, SagaOrchestrator, SagaStep, Settings
from antistrophe.client import introduction
from antistrophe.linux.termination import processes_of_home
from tests.actors.steps_environment import Digest, See, SeeAsync, SeeFresh
from tests.killing import kill_all
from tests.waiting import until

SETTINGS = Settings(drain_s=0.3)
SECRET = "s3cr3t-of-the-shop"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    assert processes_of_home(tmp_path / "home") == []


def output(system: SagaOrchestrator, step: SagaStep, saga_id: str = "saga") -> Any:
    return next(iter(system.start(SagaDefinition(saga_id).add_step(step)).outputs(30.0).values()))


@pytest.mark.parametrize("cls", [See, SeeFresh, SeeAsync])
def test_steps_see_the_environment_of_their_application(
    home: Path, cls: type[See], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    names = ("SHOP_URL", "ONLY_FIRST", "ANTISTROPHE_SETTING", "ANTISTROPHE_HOME", "PATH")
    monkeypatch.setenv("SHOP_URL", "first")
    monkeypatch.setenv("ONLY_FIRST", "1")
    with SagaOrchestrator(home, settings=SETTINGS) as first:
        monkeypatch.setenv("SHOP_URL", "second")
        monkeypatch.delenv("ONLY_FIRST")
        monkeypatch.setenv("ANTISTROPHE_SETTING", "not for steps")
        monkeypatch.setenv("TZ", "XYZ-3")
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        with SagaOrchestrator(home) as second:
            monkeypatch.setenv("SHOP_URL", "later")
            for number in range(2):
                one, two = output(first, cls(names), f"a-{number}"), output(second, cls(names), f"b-{number}")
                assert one["os"] == ["first", "1", None, str(home), os.environ["PATH"]]
                assert two["os"] == ["second", None, None, str(home), os.environ["PATH"]]
                assert (one["import"], two["import"], two["zone"]) == ("first", "second", "XYZ")
                assert two["temporary"] == str(tmp_path)
                assert one["child"]
                assert two["child"]
                assert one["pid"] != two["pid"]


def test_values_of_any_kind_and_size_travel_and_are_written_nowhere(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = b"\xff\xfe " + SECRET.encode()
    big = SECRET * (2_000_000 // len(SECRET))
    with SagaOrchestrator(home, settings=SETTINGS) as starter:
        monkeypatch.setitem(os.environb, b"ODD", odd)
        monkeypatch.setenv("BIG", big)
        with SagaOrchestrator(home) as system:
            assert output(system, Digest("ODD"), "odd") == hashlib.sha256(odd).hexdigest()
            assert output(system, Digest("BIG"), "big") == hashlib.sha256(big.encode()).hexdigest()
            assert output(starter, See(("ODD", "BIG")))["os"] == [None, None]
            assert not holding(home)
    assert not holding(home)


def holding(home: Path) -> list[Path]:
    """The files that have the secret."""
    return [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_system_starts_from_an_environment_with_which_no_program_could(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIG", "x" * 3_000_000)
    with SagaOrchestrator(home, settings=SETTINGS) as system:
        assert output(system, Digest("BIG")) == hashlib.sha256(b"x" * 3_000_000).hexdigest()


def test_an_environment_that_is_too_large_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(introduction, "MAX_ENVIRONMENT_BYTES", 100_000)
    monkeypatch.setenv("HUGE", "x" * 100_000)
    with pytest.raises(RequestError, match="'HUGE' is the largest variable"):
        SagaOrchestrator(home)


@pytest.fixture
def interrupted(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saga whose system and application are gone: its step waits for this file."""
    file = tmp_path / "file"
    script = f"""
import sys
sys.path[:] = {sys.path!r}
from antistrophe import SagaDefinition, SagaOrchestrator, Settings
from tests.actors.steps_environment import WaitForFile
with SagaOrchestrator({str(home)!r}) as system:
    system.execute(SagaDefinition("saga").add_step(WaitForFile({str(file)!r})))
"""
    environment = {**os.environ, "SHOP_URL": "before"}
    application = subprocess.Popen([sys.executable, "-c", script], env=environment)
    until(Path(f"{file}.waits").exists, "the step")
    application.kill()
    application.wait()
    kill_all(home)
    file.touch()
    return file


def undone_by(file: Path) -> str:
    undone = Path(f"{file}.undone")
    until(lambda: undone.exists() and undone.read_text(), "the undo", 40.0)
    return undone.read_text()


def test_a_resumed_saga_gets_the_environment_of_the_newest_application_of_its_origin(
    home: Path, interrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_URL", "after")
    with SagaOrchestrator(home, settings=SETTINGS):
        assert undone_by(interrupted) == "after"


def test_where_none_is_attached_that_of_serve_counts(home: Path, interrupted: Path, tmp_path: Path) -> None:
    serve = [str(Path(sys.executable).with_name("antistrophe")), "serve", "--home", str(home)]
    with subprocess.Popen(serve, cwd=tmp_path, env={**os.environ, "SHOP_URL": "of serve"}) as server:
        try:
            assert undone_by(interrupted) == "of serve"
        finally:
            server.terminate()
