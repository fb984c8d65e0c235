"""A system runs in whatever place and locale it is opened: what names its files travels as the bytes that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, SystemUnavailableError

SCRIPT = """
import sys
from antistrophe import SagaDefinition, SagaOrchestrator, StepResult, step

@step(requires_compensation=False)
def say(word: str):
    return StepResult(output=word + "!")

if __name__ == "__main__":
    with SagaOrchestrator(sys.argv[1]) as orchestrator:
        orchestrator.execute(SagaDefinition("s").add_step(say("hello")))
        print(orchestrator.get_outputs("s"))
"""


def test_a_home_with_letters_that_the_locale_has_not_and_a_line_break(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text(SCRIPT, "utf-8")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command: list[str | bytes] = [sys.executable, str(script), os.fsencode(tmp_path) + b"/\xc3\xbc\n\xff"]
    done = subprocess.run(command, capture_output=True, env=os.environ | ascii_only, timeout=60, check=False)
    assert done.stdout.decode() == "{'say': 'hello!'}\n", done.stderr.decode("utf-8", "replace")


def test_a_machine_without_proc_is_told_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: path != Path("/proc/self") and exists(path))
    with pytest.raises(SystemUnavailableError, match="/proc is not mounted here"):
        SagaOrchestrator(tmp_path / "home")
    assert not (tmp_path / "home").exists()
