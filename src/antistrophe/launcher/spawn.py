"""Start the launcher of a home from an application, and learn whether it serves."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import IO

from antistrophe import errors
from antistrophe.launcher.home_lock import LOG_FOLDER, prepare_home
from antistrophe.linux.private_files import open_private
from antistrophe.linux.termination import system_environment
from antistrophe.settings import ORIGIN, Settings

LAUNCHER_LOG = "launcher.log"
SERVING = "serving"
HELD = "held"
ERROR = "error"

_NEEDED = ("antistrophe", "thespian", "msgpack", "msgspec", "cattrs", "attr")
_BOOT = Path(__file__).with_name("boot.py")
_TAIL_BYTES = 2_000
_ENVIRONMENT_BYTES = 1 << 18


class Started(Enum):
    """What became of a launcher that was started.

    SERVING: it listens at the control socket. HELD: another launcher holds the home. DIED: it ended without a report.
    SILENT: it has not reported in time.
    """

    SERVING = "serves"
    HELD = "is not needed: another one holds the home, but does not answer"
    DIED = "ended without a word"
    SILENT = "has not said anything"


def start_launcher(
    home: Path, settings: Settings, timeout_s: float, meanwhile: Callable[[], None] | None = None
) -> Started:
    """Start a launcher, call ``meanwhile``, and wait up to ``timeout_s`` for the launcher's report.

    Raises JournalError for a home that can't be used, and the error that the launcher reports.
    """
    prepare_home(home)
    deadline = time.monotonic() + timeout_s
    with _start(home, settings) as process:
        assert process.stdout is not None, "a pipe was asked for"
        if meanwhile is not None:
            meanwhile()
        line = _read_to_end(process.stdout.fileno(), deadline)
        process.stdout.close()
        process.wait()  # it ends at once, and its child goes on as the launcher
    if line is None:
        return Started.SILENT
    try:
        said = json.loads(line)
    except ValueError:
        return Started.DIED
    if ERROR in said:
        raise error_named(said[ERROR], said["text"])
    return Started.HELD if HELD in said else Started.SERVING


def error_named(name: str, text: str) -> errors.AntistropheError:
    """An error of that class in antistrophe.errors; SystemUnavailableError where no such class can be made."""
    cls = getattr(errors, name, None)
    if isinstance(cls, type) and issubclass(cls, errors.RequestError | errors.SystemStateError):
        return cls(text)
    return errors.SystemUnavailableError(text)


def log_tail(home: Path) -> str:
    """The last lines of the log of a home's launcher, as the end of a message; empty where there is no log."""
    path = home / LOG_FOLDER / LAUNCHER_LOG
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            text = file.read().decode("utf-8", "replace").strip()
    except OSError:
        return ""
    return f"; the end of {path}:\n{text}" if text else f"; {path} is empty"


def _start(home: Path, settings: Settings) -> subprocess.Popen[bytes]:
    if not sys.executable:
        raise errors.SystemUnavailableError(
            "the launcher can't be started: this Python does not know its program (sys.executable is empty)"
        )
    log = home / LOG_FOLDER / LAUNCHER_LOG
    try:
        with open(open_private(log, os.O_WRONLY | os.O_APPEND), "ab") as log_file, _to_read(settings) as given:
            return subprocess.Popen(
                [sys.executable, "-P", str(_BOOT), str(home), json.dumps(_folders())],
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=log_file,
                env=system_environment(home, _what_fits(os.environ)),
                close_fds=True,
                start_new_session=True,
            )
    except OSError as error:
        raise errors.SystemUnavailableError(f"the launcher of {home} can't be started: {error}") from error


def _to_read(settings: Settings) -> IO[bytes]:
    """The settings as the launcher reads them from its standard input: everybody can read arguments of a process, and
    the journal's URL may hold a password. A file in memory takes all of it at once, whoever reads it and when."""
    file = os.fdopen(os.memfd_create("antistrophe-settings"), "w+b")
    file.write(json.dumps({**dataclasses.asdict(settings), ORIGIN: settings.origin}).encode())
    file.seek(0)
    return file


def _what_fits(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without its largest variables, where it is so large that no program could be started with it.
    Step processes get theirs from each application."""
    taken, size = {}, 0
    for name, value in sorted(environment.items(), key=lambda each: len(each[1])):
        size += len(os.fsencode(name)) + len(os.fsencode(value)) + 2
        if size > _ENVIRONMENT_BYTES:
            break
        taken[name] = value
    return taken


def _folders() -> dict[str, str]:
    found = {name: importlib.util.find_spec(name) for name in _NEEDED}
    return {
        name: str(Path(spec.origin).absolute().parents[1])
        for name, spec in found.items()
        if spec is not None and spec.origin is not None
    }


def _read_to_end(descriptor: int, deadline: float) -> bytes | None:
    """All bytes until the pipe ends: when the launcher serves, or when it ends. None when the deadline comes first."""
    data = b""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while True:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            return None
        more = os.read(descriptor, 65536)
        if not more:
            return data
        data += more
