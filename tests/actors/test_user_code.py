"""Where user code comes from: scripts, modules beside them, installed ones; gone, edited and broken after a restart."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SagaStatus, Settings
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import seen, wait_for_status
from tests.waiting import until

MODULE = """
from dataclasses import dataclass
from pathlib import Path
import time
from antistrophe import SagaStep, step

@dataclass(frozen=True)
class Write(SagaStep):
    folder: str
    text: str
    name: str = "Write"
    {field}

    def execute(self, ctx):
        {execute}

    def compensate(self, ctx):
        {compensate}

@step(timeout_s=20)
def note(ctx, folder: str, text: str):
    {execute_function}

@note.compensation
def _(ctx, folder: str):
    {compensate_function}
"""

WRITE = 'Path(self.folder, "log").open("a").write("do " + self.text + "\\n")'
UNWRITE = 'Path(self.folder, "log").open("a").write("undo " + self.text + "\\n")'


def module(*, execute: str = WRITE, compensate: str = UNWRITE, field: str = "") -> str:
    return MODULE.format(
        field=field,
        execute=execute,
        compensate=compensate,
        execute_function='Path(folder, "log").open("a").write("do " + text + "\\n")',
        compensate_function='Path(folder, "log").open("a").write("undo\\n")',
    )


RUN = """
if __name__ == "__main__":
    import sys
    from antistrophe import SagaDefinition, SagaOrchestrator, SagaError, Settings
    saga = SagaDefinition("saga").add_step(Write(sys.argv[1], "class")).add_step(note(sys.argv[1], "function"))
    with SagaOrchestrator(sys.argv[1] + "/home", settings=Settings(drain_s=0.3)) as orchestrator:
        orchestrator.execute(saga)
"""


def run(*arguments: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=_environment(),
    )
    assert done.returncode == code, done.stderr
    return done.stderr


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def written(folder: Path) -> list[str]:
    log = folder / "log"
    return log.read_text().split("\n")[:-1] if log.exists() else []


def test_steps_defined_in_the_script_itself(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(module() + RUN)
    run("script.py", str(tmp_path), cwd=tmp_path)
    assert written(tmp_path) == ["do class", "do function"]


def test_steps_in_a_module_beside_the_script_run_from_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "place" / "neighbour.py").write_text(module())
    (tmp_path / "place" / "script.py").write_text("from neighbour import Write, note\n" + RUN)
    run(str(tmp_path / "place" / "script.py"), str(tmp_path), cwd=tmp_path)
    assert written(tmp_path) == ["do class", "do function"]


def test_steps_of_a_package_run_with_m(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(module() + RUN)
    run("-m", "shop", str(tmp_path), cwd=tmp_path)
    assert written(tmp_path) == ["do class", "do function"]


def test_a_script_without_a_guard_is_told_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(module() + RUN.replace('if __name__ == "__main__":', "if True:"))
    (tmp_path / "waits.py").write_text((tmp_path / "script.py").read_text().replace("execute(saga)", "start(saga)"))
    run("waits.py", str(tmp_path), cwd=tmp_path)
    with SagaOrchestrator(tmp_path / "home") as orchestrator:
        waiting = until(lambda: reason(orchestrator, "saga"), "a reason to wait")
    assert 'if __name__ == "__main__":' in waiting
    assert not written(tmp_path)


def reason(orchestrator: SagaOrchestrator, saga_id: str) -> str | None:
    waiting = seen(orchestrator, saga_id).waiting
    return waiting if waiting and "a step process to" not in waiting else None


def says_why_it_waits(orchestrator: SagaOrchestrator, name: str) -> bool:
    parts = (name, "ended the process (exit code 5)", "no longer fits")
    return any(part in (reason(orchestrator, name) or "") for part in parts)


# --- after a restart ----------------------------------------------------------------------------------------------

START = """
if __name__ == "__main__":
    import importlib, sys, time
    from pathlib import Path
    from antistrophe import SagaDefinition, SagaOrchestrator, Settings
    home, names = sys.argv[1] + "/home", sys.argv[2:]
    with SagaOrchestrator(home, settings=Settings(drain_s=0.0, max_step_processes=12)) as orchestrator:
        for name in names:
            Write, folder = importlib.import_module(name).Write, sys.argv[1] + "/" + name
            Path(folder).mkdir()
            first, second = Write(folder, "first", "first"), Write(folder, "second", "second")
            orchestrator.start(SagaDefinition(name).add_step(first).add_step(second))
        until = time.monotonic() + 30
        while not all(Path(sys.argv[1], name, "log").exists() for name in names) and time.monotonic() < until:
            time.sleep(0.005)
"""

FIRST_WAITS = f"""{WRITE}
        while self.text == "first" and not Path(self.folder, "go").exists():
            time.sleep(0.005)"""

BROKEN = {
    "gone": "",
    "has_no_class": "nothing = 5",
    "has_a_syntax_error": "def broken(:",
    "raises": "raise RuntimeError('broken on purpose')",
    "kills": "import os; os._exit(5)",
    "exits": "import sys; sys.exit(0)",
    "has_another_class": "Write = 5",
    "has_other_fields": module()
    .replace("text: str\n    name", "words: str\n    name")
    .replace("self.text", "self.words"),
}
"""What becomes of the module of that name while its saga is in the middle."""


@pytest.fixture
def left_in_the_middle(tmp_path: Path) -> Path:
    """A home with a saga of each module, whose first step was interrupted and may be made again."""
    names = [*BROKEN, "edited"]
    for name in names:
        (tmp_path / f"{name}.py").write_text(module(execute=FIRST_WAITS, field="idempotent = True"))
    (tmp_path / "script.py").write_text(START)
    run("script.py", str(tmp_path), *names, cwd=tmp_path)
    assert processes_of_home(tmp_path / "home") == []
    for name in names:
        assert written(tmp_path / name) == ["do first"]
        (tmp_path / name / "go").touch()
    return tmp_path


@pytest.mark.timeout(240)  # what can't be loaded is tried again after 2, 4, 8 ... seconds
def test_code_that_can_not_be_loaded_any_more_makes_its_saga_wait(left_in_the_middle: Path) -> None:
    """It goes on when the code is back; code that was edited and can be loaded runs as it is now."""
    folder = left_in_the_middle
    text = (folder / "gone.py").read_text()
    for name, broken in BROKEN.items():
        (folder / f"{name}.py").write_text(broken)
    (folder / "gone.py").unlink()
    (folder / "edited.py").write_text(text.replace('"do "', '"do anew "'))
    with SagaOrchestrator(folder / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        wait_for_status(orchestrator, "edited", SagaStatus.COMPLETED, 30.0)
        assert written(folder / "edited") == ["do first", "do anew first", "do anew second"]
        for name in BROKEN:
            # Before that it waits for its turn to be tried.
            until(partial(says_why_it_waits, orchestrator, name), f"why {name} waits", 60.0)
            assert seen(orchestrator, name).status is SagaStatus.EXECUTING
            assert written(folder / name) == ["do first"], "neither retried nor undone"
            (folder / f"{name}.py").write_text(text)
        for name in BROKEN:
            wait_for_status(orchestrator, name, SagaStatus.COMPLETED, 90.0)
            assert written(folder / name) == ["do first", "do first", "do second"]


AGAIN = """
if __name__ == "__main__":
    import sys
    from antistrophe import SagaDefinition, SagaOrchestrator
    with SagaOrchestrator(sys.argv[1] + "/home") as orchestrator:
        orchestrator.execute(SagaDefinition(sys.argv[2]).add_step(Write(sys.argv[1], sys.argv[2])))
"""


def test_each_application_runs_the_code_as_it_is_when_it_starts(tmp_path: Path) -> None:
    """Beside one that keeps the system up, and within a second, so that no time stamp tells the difference."""
    script = tmp_path / "script.py"
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)):
        for number in range(3):
            script.write_text((module() + AGAIN).replace('"do "', f'"version {number}: "'))
            run("script.py", str(tmp_path), f"saga-{number}", cwd=tmp_path)
    assert written(tmp_path) == [f"version {number}: saga-{number}" for number in range(3)]


def test_a_compensation_that_was_mended_is_what_an_operators_retry_runs(tmp_path: Path) -> None:
    broken = module(compensate="raise RuntimeError('broken')", field="compensation_retry = RetryPolicy(max_attempts=1)")
    head = "from antistrophe import RetryPolicy\n"
    fails = """
if __name__ == "__main__":
    import sys
    from antistrophe import SagaDefinition, SagaError, SagaOrchestrator, Settings
    saga = SagaDefinition("saga").add_step(Write(sys.argv[1], "x")).add_step(note(sys.argv[1] + "/nowhere", "y"))
    with SagaOrchestrator(sys.argv[1] + "/home") as orchestrator:
        if len(sys.argv) > 2:
            orchestrator.retry_compensation("saga")
            orchestrator.wait_idle(20)
        else:
            try:
                orchestrator.execute(saga)
            except SagaError:
                pass
"""
    script = tmp_path / "script.py"
    with SagaOrchestrator(tmp_path / "home", settings=Settings(drain_s=0.3)) as orchestrator:
        script.write_text(head + broken + fails)
        run("script.py", str(tmp_path), cwd=tmp_path)
        assert seen(orchestrator, "saga").status is SagaStatus.FAILED
        run("script.py", str(tmp_path), "retry", cwd=tmp_path)
        assert seen(orchestrator, "saga").status is SagaStatus.FAILED
        script.write_text(head + module(field="compensation_retry = RetryPolicy(max_attempts=1)") + fails)
        run("script.py", str(tmp_path), "retry", cwd=tmp_path)
        assert seen(orchestrator, "saga").status is SagaStatus.COMPENSATED
    assert written(tmp_path) == ["do x", "undo x"]
