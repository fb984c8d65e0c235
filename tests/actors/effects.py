"""The effect log: what the steps of a test say about themselves. Proof comes from here, never from our own records."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Effect:
    """One line: ``begin`` and ``done`` of an execute, ``undo`` and ``undone`` of a compensate, ``verify``, ``beat``
    (it still lives), ``cancelled`` (it was told to end). ``back``: of a compensate. ``at`` is CLOCK_MONOTONIC, one for
    the whole machine."""

    what: str
    saga: str
    step: str
    attempt: int
    pid: int
    at: float
    note: str = ""
    back: bool = False


def write(
    log: str, what: str, saga: str, step: str, attempt: int, *, note: str = "", back: bool = False, sync: bool = True
) -> None:
    """Append one line, by one write; it is on the disk when this returns."""
    effect = Effect(what, saga, step, attempt, os.getpid(), time.monotonic(), note, back)
    line = json.dumps(asdict(effect)).encode() + b"\n"
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, line)
        assert written == len(line), "a line is written whole"
        if sync:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


class EffectLog:
    """The reading side."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def read(self, saga: str | None = None) -> list[Effect]:
        """Every line, or those of one saga, in the order of writing. A line that is being written is left out."""
        try:
            lines = self.path.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return []
        effects = [Effect(**json.loads(line)) for line in lines]
        return [each for each in effects if saga is None or each.saga == saga]

    def story(self, saga: str, leave_out: Iterable[str] = ("beat",)) -> list[str]:
        """One saga in short: ``["begin a", "done a", ...]``."""
        return [f"{each.what} {each.step}" for each in self.read(saga) if each.what not in leave_out]

    def find(self, saga: str, what: str, step: str | None = None) -> list[Effect]:
        return [each for each in self.read(saga) if each.what == what and step in (None, each.step)]

    def gate(self, name: str) -> Path:
        """The file that steps of behaviour ``gate:NAME`` wait for."""
        return self.path.with_name(f"{self.path.name}.{name}.gate")

    def open_gate(self, name: str) -> None:
        self.gate(name).touch()
