"""The log of one run: a folder in which the calls of the run leave notes, and through which the verifier answers.

The log is made of files, not of messages of the actor system. Files outlive the processes that are killed, and the
system under test needs no change for them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

LOOK_S = 0.001
"""How often a waiting call looks for its flag."""

INJECTIONS_OFF = "injections-off"
"""Flag: from now on nothing is injected."""

ABANDONED = "abandoned"
"""Flag: from now on every call returns at once and does nothing, so that the saga comes to its end."""


class RunLog:
    """The folder of one run. The verifier and the calls of the run use the same class."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._notes = self._folder / "notes"

    @property
    def folder(self) -> str:
        return str(self._folder)

    def note(self, what: str, **fields: Any) -> None:
        """Add a note. The note is in the file when this returns, even if the process is killed right afterwards."""
        line = json.dumps({"what": what, **fields}) + "\n"
        file = os.open(self._notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def notes(self, what: str | None = None) -> list[dict[str, Any]]:
        """The notes so far: all of them, or those of one kind."""
        try:
            text = self._notes.read_text("utf-8")
        except FileNotFoundError:
            return []
        # The text after the last line break is still being written.
        lines = [json.loads(line) for line in text.split("\n")[:-1]]
        return [line for line in lines if what is None or line["what"] == what]

    def raise_flag(self, name: str) -> bool:
        """Set a flag; False if it was set before."""
        try:
            os.close(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            return False
        return True

    def has(self, name: str) -> bool:
        """True if that flag is set."""
        return (self._folder / name).exists()

    @property
    def over(self) -> bool:
        """True if calls should do nothing any more: the run was abandoned, or the verifier is gone."""
        return self.has(ABANDONED) or not self._folder.is_dir()

    def wait_for(self, name: str) -> None:
        """Block until that flag is set, or the run is over."""
        while not (self.has(name) or self.over):
            time.sleep(LOOK_S)

    def keep(self, name: str, data: bytes) -> None:
        """Store bytes under a name."""
        (self._folder / name).write_bytes(data)

    def kept(self, name: str) -> bytes | None:
        """The bytes that were stored under that name, or None."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
