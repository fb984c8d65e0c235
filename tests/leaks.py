"""Finds and ends the processes that a test left behind, from /proc alone: code under test is not asked."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

RUN_MARKER = "ANTISTROPHE_TEST_RUN"  # in the environment of all that a test starts by exec, programs included
HOME_MARKER = "ANTISTROPHE_HOME"  # in the environment of every process of an actor system


@dataclass(frozen=True, slots=True)
class Leftover:
    """A live process of this run: its pid, start in clock ticks since boot, command line, and home where it has one."""

    pid: int
    start_ticks: int
    command: str
    home: str | None

    def __str__(self) -> str:
        return f"pid {self.pid} (home {self.home}): {self.command}"


def all_pids() -> set[int]:
    """Every pid there is."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def leftovers(root: Path, known: Collection[int] = ()) -> list[Leftover]:
    """The live processes that carry this run's mark, that work in a home below ``root``, or that are children of this
    process; ``known`` pids are not looked at."""
    found = (_look(pid, root) for pid in sorted(all_pids().difference(known)) if pid != os.getpid())
    return [each for each in found if each is not None]


def end(process: Leftover) -> None:
    """Kill the process, unless its pid belongs to another one by now."""
    with contextlib.suppress(ProcessLookupError):
        handle = os.pidfd_open(process.pid)
        try:
            stat = _stat(process.pid)
            if stat is not None and stat[2] == process.start_ticks:
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        finally:
            os.close(handle)


def end_all(root: Path, known: Collection[int], within_s: float) -> list[Leftover]:
    """End everything of this run, and what it starts meanwhile; returns what is still alive after ``within_s``."""
    deadline = time.monotonic() + within_s
    while (alive := leftovers(root, known)) and time.monotonic() < deadline:
        for each in alive:
            end(each)
        _reap()
        time.sleep(0.01)
    return alive


def _look(pid: int, root: Path) -> Leftover | None:
    """Most processes are somebody else's, and are looked at after every test: those are told by what costs least."""
    stat = _stat(pid)
    if stat is None or stat[0] in "ZX":
        return None
    try:
        environment = _read(pid, "environ")
        of_run = f"{RUN_MARKER}={root}".encode() in environment.split(b"\0")
        is_child = stat[1] == os.getpid()
        if not (of_run or is_child or os.fsencode(root) in environment):
            return None
        command = _read(pid, "cmdline").decode("utf-8", "replace").replace("\0", " ").strip()
    except OSError:  # it has gone, or is another user's
        return None
    home = _home(environment)
    in_root = home is not None and Path(home).is_relative_to(root)
    is_ours = is_child and "multiprocessing.resource_tracker" not in command
    return Leftover(pid, stat[2], command, home) if in_root or of_run or is_ours else None


def _home(environment: bytes) -> str | None:
    named = dict(entry.split(b"=", 1) for entry in environment.split(b"\0") if b"=" in entry)
    home = named.get(HOME_MARKER.encode())
    return None if home is None else home.decode("utf-8", "replace")


def _stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start in ticks."""
    try:
        fields = _read(pid, "stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
