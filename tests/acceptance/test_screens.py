"""The screens at the widths that people have, in a terminal and in a pipe."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from antistrophe.cli.course_drawing import drawing
from antistrophe.cli.group import antistrophe
from antistrophe.cli.saga_rows import saga_lines
from antistrophe.narration.times import duration
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.saga.course import End, Span
from antistrophe.saga.entries import Action
from tests.acceptance.command import PROGRAM, Caller

WIDTHS = (80, 100, 140)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(caller: Caller, width: int, *words: str) -> list[str]:
    """The lines that a call shows on a terminal of that width, without their colours."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    command = [str(PROGRAM), "--home", str(caller.home), *words]
    sized = ("COLUMNS", "LINES")  # where they are set they count more than the terminal
    environment = {name: value for name, value in os.environ.items() if name not in sized} | {"TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as program:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 65_536):
                said += part
        os.close(ours)
        assert program.wait(60) == 0
    return _COLOURS.sub("", said.decode()).splitlines()


@pytest.mark.parametrize("width", WIDTHS)
def test_a_list_has_one_line_a_saga_and_fits(history: Caller, width: int) -> None:
    lines = on_terminal(history, width, "list")
    assert [line.split()[0] for line in lines] == ["saga", "stuck", "bad", "good"]
    assert all(len(line) <= width for line in lines)
    assert "the bank is closed" in "".join(on_terminal(history, 140, "list"))


@pytest.mark.parametrize("width", WIDTHS)
def test_what_is_shown_of_a_saga_fits(history: Caller, width: int) -> None:
    for verb in ("show", "explain"):
        for saga in ("good", "bad", "stuck"):
            lines = on_terminal(history, width, verb, saga)
            assert not [line for line in lines if len(line) > width and not line.startswith("  antistrophe ")]


def test_an_id_is_never_cut() -> None:
    now = datetime(2026, 11, 28, 20, 43, 6, tzinfo=UTC)
    ids = ["a" * 55, "b" * 36, "c"]
    sagas = [SagaMetadata(each, "n", SagaStatus.FAILED, 1, 2, now, now, error="it failed " * 20) for each in ids]
    lines = [line.plain for line in saga_lines(sagas, now, 60)]
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == ids
    assert [line.split()[0] for line in lines if line.startswith(" ")] == ["failed", "failed"], "below a long id"
    assert all(len(line) <= 60 for line in lines)
    assert lines[0].startswith("saga ")
    assert not any(line != line.rstrip() for line in lines)


def test_a_pipe_gets_no_padding_and_nothing_is_cut(history: Caller) -> None:
    for words in (["list"], ["show", "stuck"], ["explain", "stuck"], ["status"], ["list", "--status", "failed"]):
        said = history.ask(*words).out
        assert not [line for line in said.splitlines() if line != line.rstrip()]
        assert "…" not in said


def test_whoever_reads_may_leave(history: Caller) -> None:
    for words in (["list"], ["list", "--json"], ["show", "stuck"], ["watch", "--from", "0"]):
        with subprocess.Popen([PROGRAM, "--home", str(history.home), *words], stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            if words[0] == "watch":
                program.stdout.readline()
            program.stdout.close()
            assert program.wait(60) == 0, words


@pytest.mark.parametrize("words", [["list"], ["watch", "--from", "0", "--json"]])
def test_an_output_that_cannot_be_written_is_told_in_one_line(history: Caller, words: list[str]) -> None:
    command = [str(PROGRAM), "--home", str(history.home), *words]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert ended.stderr == "antistrophe: standard output can't be written: No space left on device\n"
    assert ended.returncode == 2


@pytest.mark.parametrize(("words", "closed"), [("list", ">&-"), ("watch --from 0 --until-idle", "<&- >&- 2>&-")])
def test_a_verb_without_standard_streams_works(history: Caller, words: str, closed: str) -> None:
    command = f"exec {PROGRAM} --home {history.home} {words} {closed}"
    ended = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def _connected() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


@pytest.mark.parametrize("joined", [os.pipe, _connected])
def test_a_verb_that_follows_ends_when_its_reader_leaves_though_it_has_nothing_more_to_say(
    joined: Callable[[], tuple[int, int]], history: Caller
) -> None:
    reads, writes = joined()
    with subprocess.Popen([PROGRAM, "--home", str(history.home), "watch", "--from", "0"], stdout=writes) as program:
        os.close(writes)
        said = b""
        while b" failed " not in said:  # the last change there is
            said += os.read(reads, 4096)
        os.close(reads)
        assert program.wait(60) == 0


def test_a_watch_that_is_stopped_says_so_with_its_code_and_its_columns_are_aligned(history: Caller) -> None:
    command = [str(PROGRAM), "--home", str(history.home), "watch", "--from", "0"]
    lines: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        while not lines or " failed " not in lines[-1]:
            lines.append(program.stdout.readline())
            assert lines[-1]
        program.send_signal(signal.SIGINT)
        assert program.wait(60) == 130
    ids = [line.split()[1] for line in lines]
    widest = [max(map(len, ids[: number + 1])) for number in range(len(ids))]
    moment = len("20:43:06.123")
    for line, width in zip(lines, widest, strict=True):
        assert re.match(r"  (executing|compensating|completed|compensated|failed)", line[moment + 2 + width :])


def test_times_are_local_or_in_utc(history: Caller) -> None:
    created = history.ask("list", "--json").json()["sagas"][0]["updated_at"]
    utc = datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M:%S")
    assert utc in history.ask("list", "--utc").out
    environment = {**os.environ, "TZ": "Asia/Tokyo"}
    command = [str(PROGRAM), "--home", str(history.home), "list"]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    assert utc not in said
    assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", said)


def test_the_module_is_the_command(history: Caller) -> None:
    command = [sys.executable, "-m", "antistrophe", "--home", str(history.home), "list"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert said == history.ask("list").out


def test_a_shell_is_offered_the_ids_of_the_home(history: Caller) -> None:
    def offered(*words: str, typed: str = "") -> list[str]:
        completion = ShellComplete(antistrophe, {}, "antistrophe", "_ANTISTROPHE_COMPLETE")
        return [item.value for item in completion.get_completions(["--home", str(history.home), *words], typed)]

    assert offered("show") == ["stuck", "bad", "good"]
    assert offered("retry", typed="st") == ["stuck"]
    assert "explain" in offered(typed="ex")
    completion = ShellComplete(antistrophe, {}, "antistrophe", "_ANTISTROPHE_COMPLETE")
    assert completion.get_completions(["--home", str(history.folder / "none"), "show"], "") == []


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.05, "0.05 s"), (2.5, "2.5 s"), (99, "99 s"), (3_000, "50 min"), (90_000, "1 d 1 h")]
)
def test_durations_are_told_in_words(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# --- the drawing ----------------------------------------------------------------------------------------------------

BEGAN = datetime(2026, 11, 28, 20, 0, 0, tzinfo=UTC)


def step(name: str, index: int, status: StepStatus, in_doubt: bool = False) -> StepRecord:
    return StepRecord(name, index, status, 1, in_doubt, None, None, None, None)


def drawn(spans: list[Span], steps: tuple[StepRecord, ...], now: float, width: int | None = None) -> list[str]:
    saga = SagaMetadata("s", "s", SagaStatus.EXECUTING, 0, len(steps), BEGAN, BEGAN, steps=steps)
    return [line.plain for line in drawing(saga, spans, now, width)]


def test_a_drawing_is_to_scale_and_shows_what_ended_each_attempt() -> None:
    began = BEGAN.timestamp()
    steps = (step("Pay", 0, StepStatus.COMPENSATED), step("Ship", 1, StepStatus.COMPENSATED, in_doubt=True))
    spans = [
        Span(0, Action.EXECUTE, 1, 7, began, began + 2.0, End.FAILED),
        Span(0, Action.EXECUTE, 2, 7, began + 3.0, began + 4.0, End.DONE),
        Span(1, Action.EXECUTE, 1, 7, began + 4.0, began + 5.0, End.KILLED),
        Span(0, Action.COMPENSATE, 1, 7, began + 5.0, began + 6.0, End.DONE),
    ]
    axis, pay, ship, legend = drawn(spans, steps, began + 6.0)
    assert axis.split() == ["0", "s", "3", "s", "6", "s"]
    assert pay == f"Pay   {'━' * 19}✗{' ' * 10}{'━' * 10}{' ' * 10}{'┄' * 10}  compensated"
    assert ship == f"Ship  {' ' * 40}{'━' * 9}†{' ' * 10}  compensated (was in doubt)"
    assert "killed or died" in legend


@pytest.mark.parametrize("width", [30, *WIDTHS])
def test_a_drawing_shows_every_attempt_whatever_the_clock_did(width: int) -> None:
    began = BEGAN.timestamp()
    steps = tuple(step(f"Step{index}", index, StepStatus.SUCCEEDED) for index in range(3))
    spans = [
        Span(0, Action.EXECUTE, 1, 7, began - 50.0, began - 49.0, End.DONE),  # the clock was put forward since
        Span(1, Action.EXECUTE, 1, 7, began + 86_400.0, began + 3.0, End.DONE),  # and back
        Span(2, Action.EXECUTE, 1, 7, began + 86_400.0),
    ]
    _, *bars, _ = drawn(spans, steps, began + 86_401.0, width)
    assert all("━" in bar for bar in bars)


def test_a_terminal_that_has_only_ascii_gets_ascii(history: Caller) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [str(PROGRAM), "--home", str(history.home), "show", "stuck"]
    said = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=True).stdout.decode("ascii")
    assert "== forward  -- undo  x raised" in said
    assert re.search(r"Charge +=+ *-*x", said), "an undo that fails within one column of time is its mark alone"


def test_a_saga_that_has_not_begun_has_no_drawing() -> None:
    assert drawn([], (step("Pay", 0, StepStatus.PENDING),), BEGAN.timestamp()) == []
