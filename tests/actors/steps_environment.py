"""Steps that tell what they see of the environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import SagaStep, StepResult

AT_IMPORT = os.environ.get("SHOP_URL")


def seen(*names: str) -> StepResult[Any]:
    """What this process, and a program that it starts, see of those variables."""
    child = "import os, sys; print([os.environ.get(name) for name in sys.argv[1:]])"
    ran = subprocess.run([sys.executable, "-c", child, *names], capture_output=True, text=True, check=True)
    return StepResult(
        {
            "os": [os.environ.get(name) for name in names],
            "child": ran.stdout.strip() == str([os.environ.get(name) for name in names]),
            "import": AT_IMPORT,
            "zone": time.tzname[0],
            "temporary": tempfile.gettempdir(),
            "pid": os.getpid(),
        }
    )


@dataclass(frozen=True)
class See(SagaStep):
    names: tuple[str, ...] = ()

    def execute(self) -> Any:
        return seen(*self.names)

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class SeeFresh(See):
    isolation = "fresh"


@dataclass(frozen=True)
class SeeAsync(SagaStep):
    names: tuple[str, ...] = ()

    async def execute(self) -> Any:
        return seen(*self.names)

    async def compensate(self) -> None: ...


@dataclass(frozen=True)
class Digest(SagaStep):
    """Of a value that can't travel as a text."""

    variable: str

    def execute(self) -> Any:
        return StepResult(hashlib.sha256(os.environb[os.fsencode(self.variable)]).hexdigest())

    def compensate(self) -> None: ...


@dataclass(frozen=True)
class WaitForFile(SagaStep):
    """Tells that it waits, waits for the file, and then fails, so that it is undone."""

    path: str
    timeout_s = 60.0

    def execute(self) -> None:
        Path(self.path + ".waits").touch()
        while not Path(self.path).exists():
            time.sleep(0.01)

    def compensate(self) -> None:
        Path(self.path + ".undone").write_text(os.environ.get("SHOP_URL", "none"))
