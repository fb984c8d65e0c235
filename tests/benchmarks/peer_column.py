"""Another library in an environment of its own, made once in the user's cache folder, and driven through pipes."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from pathlib import Path

from tests.benchmarks.measuring import Sample

_ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 60.0


class PeerUnavailableError(Exception):
    """The library can't be installed or started; the text says why."""


def environment(package: str, limit_s: float = 120.0) -> Path:
    """The Python of an environment that has the package, which is made where it is not there yet."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / f"antistrophe-bench-{package}-{sys.version_info.major}.{sys.version_info.minor}"
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            _run([sys.executable, "-m", "venv", str(folder)], limit_s)
        if subprocess.run([python, "-c", f"import {package}"], capture_output=True, check=False, timeout=60).returncode:
            _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", package], limit_s)
    except (OSError, subprocess.SubprocessError) as error:
        raise PeerUnavailableError(f"{package} can't be installed: {error}") from error
    return python


def _run(command: list[str], limit_s: float) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit_s)
    if done.returncode:
        raise PeerUnavailableError(f"{' '.join(command)}: {done.stderr.strip()[-400:]}")


class Peer:
    """A process that runs a workflow of the package as often as it is told. ``name``: that of its column. ``place``:
    where it keeps what it stores, a folder or a URL."""

    def __init__(self, name: str, package: str, place: str | Path) -> None:
        self.name = name
        self._script = f"tests.benchmarks.{package}_sagas"
        self._process = subprocess.Popen(
            [environment(package), "-m", self._script, str(place)],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            if self._read(_PATIENCE_S) != "ready\n":
                raise PeerUnavailableError(f"{self._script} does not start")
        except BaseException:
            self.close()
            raise

    def run(self, sagas: int, at_once: int, limit_s: float) -> Sample:
        """See ``Floor.run``."""
        assert self._process.stdin is not None
        order = {"sagas": sagas, "at_once": at_once, "limit_s": limit_s}
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        return Sample(**json.loads(self._read(limit_s + _PATIENCE_S)))

    def _read(self, limit_s: float) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            raise PeerUnavailableError(f"{self._script} does not answer within {limit_s:.0f} s")
        return self._process.stdout.readline().decode()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
