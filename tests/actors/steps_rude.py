"""Steps that spoil the process in which they run, or leave something behind there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from antistrophe import SagaStep

FILES = 40


@dataclass(frozen=True)
class CloseAll(SagaStep):
    """Closes every descriptor, as code that makes a daemon does, and opens files of its own under the numbers."""

    folder: str
    name: str = "CloseAll"
    fails: bool = False
    requires_compensation = False

    def execute(self) -> list[object]:
        os.closerange(3, 4096)
        for number in range(FILES):
            os.open(Path(self.folder, f"own-{number}"), os.O_RDWR | os.O_CREAT, 0o600)
        Path(self.folder, "pid").write_text(str(os.getpid()))
        if self.fails:
            raise LookupError("no such account")
        return []


@dataclass(frozen=True)
class StopTheLoop(SagaStep):
    """Closes every descriptor in a process that it shares with others."""

    folder: str
    requires_compensation = False

    async def execute(self) -> None:
        os.closerange(3, 4096)
        for number in range(FILES):
            os.open(Path(self.folder, f"own-{number}"), os.O_RDWR | os.O_CREAT, 0o600)


@dataclass(frozen=True)
class Pid(SagaStep):
    """Tells in which process it runs."""

    folder: str
    name: str = "Pid"

    def execute(self) -> None:
        Path(self.folder, self.name).write_text(str(os.getpid()))

    def compensate(self) -> None:
        Path(self.folder, f"undo-{self.name}").write_text(str(os.getpid()))
