"""What is printed past Python's streams goes into the launcher's log: line by line, escaped, and bounded."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaDefinition, SagaOrchestrator, SagaStatus, Settings, StepContext, step
from tests.actors.staging import seen
from tests.waiting import until

MIB = 1 << 20
AT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")


@step(requires_compensation=False)
def say(ctx: StepContext, text: str) -> None:
    sys.stdout.write(f"{text}\n")


@step(requires_compensation=False)
def say_from_a_child(ctx: StepContext, text: str) -> None:
    subprocess.run(["printf", "%s\\n", text], check=True)
    subprocess.run(["sh", "-c", "printf '%s' \"$1\" >&2", "sh", text], check=True)


@step(requires_compensation=False, timeout_s=120.0)
def flood(ctx: StepContext, mebibytes: int) -> None:
    block = b"z" * 1023 + b"\n"
    for _ in range(mebibytes):
        data = block * 1024
        while data:
            data = data[os.write(1, data) :]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(tmp_path / "home", settings=Settings(log_bytes=MIB)) as orchestrator:
        yield orchestrator


def log_of(system: SagaOrchestrator) -> Path:
    return system.home / "log" / "launcher.log"


def test_no_print_can_begin_a_line_of_the_log_or_control_a_terminal(system: SagaOrchestrator) -> None:
    forged = "2026-01-01 00:00:00,000 ERROR 1 antistrophe.launcher: forged"
    text = f"so far\r\x1b[2J\x00\u202e\udc80é\n{forged}"
    for number, each in enumerate((say(text.replace("\udc80", "")), say_from_a_child(text.replace("\x00", "\x07")))):
        system.execute(SagaDefinition(f"say-{number}").add_step(each), timeout_s=60.0)
    log = until(lambda: t if (t := log_of(system).read_text()).count("forged") == 2 else None, "two prints")
    lines = [each.partition(" | ")[2] for each in log.splitlines() if AT.match(each)]
    assert lines.count(forged) == 2
    assert [each.text for each in system.get_logs("say-0")] == ["so far\\r\\x1b[2J\\x00\\u202eé", forged]
    assert lines.count("so far\\r\\x1b[2J\\x07\\u202e\\udc80é") in (0, 2)
    assert log.isprintable() or set(log) - {"\n"} == {each for each in log if each.isprintable()}


def test_a_step_that_prints_without_end_fills_neither_the_disk_nor_the_time_of_others(
    system: SagaOrchestrator,
) -> None:
    flooding = system.start(SagaDefinition("flood").add_step(flood(2_000)))
    system.execute(SagaDefinition("neighbour").add_step(say("here")), timeout_s=60.0)
    flooding.result(timeout_s=120.0)
    assert seen(system, "flood").status is SagaStatus.COMPLETED
    logs = log_of(system).parent
    until(lambda: any("too many for the log, and dropped" in each for each in _texts(logs)), "what was dropped")
    sizes = [len(each.encode()) for each in _texts(logs)]
    assert len(sizes) <= 2
    assert max(sizes) < 2 * MIB


def _texts(logs: Path) -> list[str]:
    """The launcher's log and the one before, as far as they are there: a file that is full is renamed at any moment."""
    found = []
    for each in logs.glob("launcher.log*"):
        with contextlib.suppress(FileNotFoundError):
            found.append(each.read_text("utf-8"))
    return found


def test_what_was_printed_last_is_in_the_log_after_the_end(tmp_path: Path) -> None:
    with SagaOrchestrator(tmp_path / "home") as orchestrator:
        orchestrator.execute(SagaDefinition("say").add_step(say_from_a_child("the last words")), timeout_s=60.0)
    assert "| the last words\n" in (tmp_path / "home" / "log" / "launcher.log").read_text()


_LIFE = """
import os, signal, sys
from pathlib import Path
from antistrophe.launcher.printed_output import PrintedOutput
from antistrophe.linux.log_file import LogFile

PrintedOutput(LogFile(Path(sys.argv[1], "x.log"), 1 << 20), 1 << 20).take_over()
parent = os.getpid()
if os.fork():
    os.kill(os.getpid(), signal.SIGKILL)
while os.getppid() == parent:
    pass
try:
    os.write(1, b"after the launcher's death")
except OSError as error:
    Path(sys.argv[1], "raised").write_text(repr(error))
Path(sys.argv[1], "done").touch()
"""


def test_to_print_does_not_raise_in_a_process_that_outlives_the_launcher(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(_LIFE)
    with subprocess.Popen([sys.executable, str(script), str(tmp_path)]) as process:
        assert process.wait(60) == -9
    until((tmp_path / "done").exists, "the print")
    assert not (tmp_path / "raised").exists()
