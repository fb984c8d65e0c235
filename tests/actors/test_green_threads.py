"""Libraries of green threads that replace the standard library: an orchestrator is refused there by name, at once."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from antistrophe.definition.green_threads import green_parts

SCRIPT = """
import sys
{before}
from antistrophe import AsyncSagaOrchestrator, SagaDefinition, SagaOrchestrator, SystemStateError, step
{after}

@step(requires_compensation=False)
def act(ctx): return None

if __name__ == "__main__":
    try:
        with SagaOrchestrator("home") as orchestrator:
            print(orchestrator.execute(SagaDefinition("one").add_step(act()), timeout_s=60.0))
    except SystemStateError as error:
        print("refused:", error)
"""

BREAKS = {
    "from gevent import monkey; monkey.patch_all()": "gevent has replaced socket, select, threading",
    "from gevent import monkey; monkey.patch_all(thread=False)": "gevent has replaced socket, select, subprocess",
    "from gevent import monkey; monkey.patch_all(select=False)": "gevent has replaced socket, threading",
    "from gevent import monkey; monkey.patch_socket()": "gevent has replaced socket (",
    "from gevent import monkey; monkey.patch_select()": "gevent has replaced select (",
    "from gevent import monkey; monkey.patch_thread()": "gevent has replaced threading",
    "from gevent import monkey; monkey.patch_subprocess()": "gevent has replaced subprocess (",
    "from gevent import monkey; monkey.patch_queue()": "gevent has replaced queue (",
    "import eventlet; eventlet.monkey_patch()": "eventlet has replaced socket, select",
    "import eventlet; eventlet.monkey_patch(thread=False)": "eventlet has replaced socket, select",
    "import eventlet; eventlet.monkey_patch(all=False, thread=True)": "eventlet has replaced threading",
}
WORKS = (
    "import gevent",
    "import eventlet",
    "from gevent import monkey; monkey.patch_time(); monkey.patch_ssl(); monkey.patch_dns()",
)


def run(folder: Path, patch: str, *, late: bool = False) -> str:
    """What the program says in which that was called, before antistrophe is imported or after it."""
    for library in ("gevent", "eventlet"):
        if library in patch and importlib.util.find_spec(library) is None:
            pytest.skip(f"{library} IS NOT INSTALLED, so nobody knows whether this holds: pip install {library}")
    script = SCRIPT.format(before="" if late else patch, after=patch if late else "")
    (folder / "green.py").write_text(script)
    command = [sys.executable, "-W", "ignore", "green.py"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("patch", BREAKS)
@pytest.mark.parametrize("late", [False, True], ids=["first", "late"])
def test_where_it_could_not_work_it_is_refused_by_name(tmp_path: Path, patch: str, late: bool) -> None:
    said = run(tmp_path, patch, late=late)
    assert said.startswith("refused: an orchestrator can't work in this process: ")
    assert BREAKS[patch] in said
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("patch", WORKS)
def test_where_nothing_that_it_needs_is_replaced_it_works(tmp_path: Path, patch: str) -> None:
    assert run(tmp_path, patch) == "[]\n"


def test_a_library_that_replaced_something_is_found_without_being_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert green_parts() is None

    class Popen:
        __module__ = "gevent.subprocess"

    monkeypatch.setattr(subprocess, "Popen", Popen)
    assert green_parts() == "gevent has replaced subprocess"
