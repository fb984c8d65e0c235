"""Code that is replaced while the application runs: once the new version has run, the old one runs no more."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, Settings
from antistrophe.linux.termination import processes_of_home
from tests.waiting import until

STEPS = """
import time
from dataclasses import dataclass
from pathlib import Path
from antistrophe import SagaStep, StepResult
import {helper} as helper

VERSION = "v1"

@dataclass(frozen=True)
class Plain(SagaStep):
    wait_for: str = ""
    timeout_s = 30.0

    def execute(self, ctx):
        began = VERSION
        Path(ctx.saga_id + ".began").touch()
        while self.wait_for and not Path(self.wait_for).exists():
            time.sleep(0.01)
        return StepResult([began, VERSION, helper.VERSION])

    def compensate(self, ctx): ...

@dataclass(frozen=True)
class Fresh(Plain):
    isolation = "fresh"

@dataclass(frozen=True)
class Async(SagaStep):
    async def execute(self, ctx):
        return StepResult([VERSION, VERSION, helper.VERSION])

    async def compensate(self, ctx): ...
"""

Play = Callable[..., Any]


class Shop:
    """A module of steps and one that it imports, under names that no other test uses."""

    def __init__(self, folder: Path, system: SagaOrchestrator) -> None:
        self.folder = folder
        self.system = system
        name = f"shop_{folder.name}"
        self.helper = folder / f"{name}_helper.py"
        self.helper.write_text('VERSION = "h1"\n')
        self.file = folder / f"{name}.py"
        self.file.write_text(STEPS.format(helper=self.helper.stem))
        importlib.invalidate_caches()
        self.steps = importlib.import_module(name)
        self.count = 0

    def start(self, cls: str, **fields: Any) -> Any:
        self.count += 1
        step = getattr(self.steps, cls)(**fields)
        return self.system.start(SagaDefinition(f"saga-{self.count}").add_step(step))

    def play(self, cls: str) -> list[str]:
        return list(self.start(cls).outputs(30.0)[cls])

    def edit(self, file: Path, old: str, new: str) -> None:
        """Replace the file by another one of the same size, within the same second where that can be."""
        other = file.with_suffix(".new")
        other.write_text(file.read_text().replace(old, new))
        other.replace(file)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    settings = Settings(drain_s=0.3, max_step_processes=3, max_async_processes=1)
    with SagaOrchestrator(tmp_path / "home", settings=settings) as system:
        yield Shop(tmp_path, system)
    assert processes_of_home(tmp_path / "home") == []


@pytest.mark.parametrize("cls", ["Plain", "Fresh", "Async"])
def test_a_change_is_noticed_and_then_only_the_new_version_runs(shop: Shop, cls: str) -> None:
    assert [shop.play(cls) for _ in range(3)] == [["v1", "v1", "h1"]] * 3
    shop.edit(shop.file, '"v1"', '"v2"')
    until(lambda: shop.play(cls) == ["v2", "v2", "h1"], "the new version")
    assert [shop.play(cls) for _ in range(5)] == [["v2", "v2", "h1"]] * 5
    shop.edit(shop.file, '"v2"', '"v3"')
    until(lambda: shop.play(cls) == ["v3", "v3", "h1"], "the newest version")


def test_a_call_that_runs_ends_with_the_version_with_which_it_began(shop: Shop) -> None:
    handle = shop.start("Plain", wait_for="go")
    until(Path("saga-1.began").exists, "the call")
    shop.edit(shop.file, '"v1"', '"v2"')
    until(lambda: shop.play("Plain")[0] == "v2", "the new version")
    Path("go").touch()
    assert handle.outputs(30.0)["Plain"] == ["v1", "v1", "h1"]
    assert [shop.play("Plain")[0] for _ in range(5)] == ["v2"] * 5


def test_what_a_module_imports_is_loaded_anew_on_demand(shop: Shop) -> None:
    assert shop.play("Plain") == shop.play("Async") == ["v1", "v1", "h1"]
    shop.edit(shop.helper, '"h1"', '"h2"')
    assert shop.system.reload() == 2
    assert shop.play("Plain") == shop.play("Async") == ["v1", "v1", "h2"]
    shop.edit(shop.helper, '"h2"', '"h3"')
    command = [str(Path(sys.executable).with_name("antistrophe")), "reload", "--home", str(shop.system.home)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout
    assert said == "2 step processes end, and others load the code anew\n"
    assert shop.play("Plain") == shop.play("Async") == ["v1", "v1", "h3"]


def test_where_no_system_runs_there_is_nothing_to_do(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.2)):
        pass
    command = [str(Path(sys.executable).with_name("antistrophe")), "reload", "--json", "--home", str(tmp_path / "home")]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=50).stdout == '{"processes": 0}\n'
    )


def test_a_file_whose_time_is_in_the_future_is_no_change(shop: Shop) -> None:
    later = shop.file.stat().st_mtime + 10_000
    os.utime(shop.file, (later, later))
    until(lambda: shop.play("Plain")[0] == "v1", "a process that has loaded it so")
    with_pid = [each.pid for each in shop.system.processes() if each.role == "idle"]
    assert len(with_pid) == 1


def test_a_script_is_noticed_too(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text('VERSION = "h1"\n')
    run = """
if __name__ == "__main__":
    from antistrophe import SagaDefinition, SagaOrchestrator, Settings
    with SagaOrchestrator("home", settings=Settings(drain_s=0.3)) as system:
        def play(number):
            return system.start(SagaDefinition(f"saga-{number}").add_step(Plain())).outputs(30.0)["Plain"][0]
        assert play(0) == "v1"
        text = Path(__file__).read_text()
        Path(__file__).write_text(text.replace('"v1"', '"v2"', 1))
        until, number = time.monotonic() + 30, 1
        while play(number) != "v2" and time.monotonic() < until:
            number += 1
        assert {play(number + more) for more in (1, 2, 3)} == {"v2"}
"""
    (tmp_path / "script.py").write_text(STEPS.format(helper="helper") + run)
    ran = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=55, check=False
    )
    assert ran.returncode == 0, ran.stderr
