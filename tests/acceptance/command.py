"""Runs the command line as a person would: a program of its own, with a deadline, whose streams are read."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe.cli import main
from tests.killing import kill_all
from tests.waiting import until

PROGRAM = Path(sys.executable).with_name("antistrophe")
LIMIT_S = 120.0
ESCAPE = "\x1b"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a call ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    def json_lines(self) -> list[Any]:
        """The documents on standard output, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def complaint(self) -> str:
        """The one line on standard error."""
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        return lines[0]


class Caller:
    """Calls the command line for one home, from one folder."""

    def __init__(self, home: Path, folder: Path, **environment: str) -> None:
        self.home = home
        self.folder = folder
        self._environment = {**os.environ, **environment}
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str | Path, limit_s: float = LIMIT_S) -> Ended:
        """Run to the end."""
        return finish(self.start(*words), limit_s)

    def ask(self, *words: str) -> Ended:
        """The same for a verb that only reads, in this process: starting a program each time takes most of the time."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--home", str(self.home), *words])
        return _checked(Ended(code, out.getvalue(), err.getvalue()))

    def start(self, *words: str | Path) -> subprocess.Popen[str]:
        """Start, and go on meanwhile."""
        program = subprocess.Popen(
            [str(PROGRAM), "--home", str(self.home), *map(str, words)],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._started.append(program)
        return program

    def close(self) -> None:
        """End what a test that failed has left."""
        for program in self._started:
            if program.poll() is None:
                program.kill()
            program.communicate()

    def kill_all(self, program: subprocess.Popen[str]) -> None:
        """kill -9: the program, and every process of the home, until none is left."""
        program.kill()
        program.communicate()
        until(lambda: not kill_all(self.home), "the death of every process of the home")

    def saga(self, saga_id: str) -> Any:
        """One saga as `show` has it, or None while there is none."""
        shown = self.ask("show", saga_id, "--json")
        return shown.json()["saga"] if shown.code == 0 else None


def finish(program: subprocess.Popen[str], limit_s: float = LIMIT_S) -> Ended:
    """Wait for the end; what went wrong is never told by a traceback, and a pipe gets no control characters."""
    try:
        out, err = program.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        program.kill()
        out, err = program.communicate()
        raise AssertionError(f"{program.args!r} did not end within {limit_s} s\n{out}\n{err}") from None
    return _checked(Ended(program.returncode, out, err))


def _checked(ended: Ended) -> Ended:
    assert "Traceback" not in ended.err, ended.err
    assert ESCAPE not in ended.out + ended.err
    return ended


def write_lines(path: Path, lines: Sequence[Any]) -> Path:
    """A file of JSON lines; a text or bytes among them stands as it is."""
    path.write_bytes(b"".join(_encoded(line) + b"\n" for line in lines))
    return path


def _encoded(line: Any) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line)).encode()
