"""What only the running system knows, asked with a short deadline and without keeping the system up."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe.errors import OverloadedError, SystemUnavailableError
from antistrophe.launcher.control_protocol import PROTOCOL, Ready
from antistrophe.launcher.probe import probe
from antistrophe.messages import AwaitChanges, Changes, CountSagas, ListProcesses, Processes, SagaCounts
from antistrophe.records import ProcessRecord
from antistrophe.transport.mailbox import Mailbox

PROBE_S = 0.5
ANSWER_S = 0.5
"""How long the launcher, and then the supervisor and the registry, may take to answer."""


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """What a system said of itself. ``up``: it takes requests. ``commits``: their number, and the seconds that they
    took. None: nobody could be asked, or has answered in time."""

    up: bool
    processes: Mapping[str, int] | None = None
    commits: tuple[int, float] | None = None
    registry_lag_s: float | None = None


def ask(home: Path) -> RunningSystem:
    """Ask the system of that home."""
    try:
        state = probe(home, PROBE_S)
    except SystemUnavailableError:
        return RunningSystem(up=False)
    if not isinstance(state, Ready):
        return RunningSystem(up=False)
    if state.protocol != PROTOCOL:  # another release, whose messages may be other ones
        return RunningSystem(up=True)
    try:
        mailbox = Mailbox(state.supervisor)
    except (SystemUnavailableError, OverloadedError):
        return RunningSystem(up=True)
    try:
        return _asked(mailbox)
    finally:
        mailbox.close()


def _asked(mailbox: Mailbox) -> RunningSystem:
    correlation = uuid.uuid4().hex
    begun = time.monotonic()
    processes: Mapping[str, int] | None = None
    commits: tuple[int, float] | None = None
    lag_s: float | None = None
    try:
        mailbox.send(ListProcesses(correlation))
        mailbox.send(AwaitChanges(correlation, None, 1, 0.0))
        mailbox.send(CountSagas(correlation))
    except OverloadedError:
        return RunningSystem(up=True)
    while (left_s := begun + ANSWER_S - time.monotonic()) > 0 and None in (processes, lag_s, commits):
        answer: Any = mailbox.receive(left_s)
        if getattr(answer, "correlation", None) != correlation:
            continue
        if isinstance(answer, Processes):
            processes = _by_state(answer.processes)
        elif isinstance(answer, Changes):
            lag_s = time.monotonic() - begun
        elif isinstance(answer, SagaCounts):
            commits = answer.commits, answer.commits_s
    return RunningSystem(up=True, processes=processes, commits=commits, registry_lag_s=lag_s)


def _by_state(records: tuple[ProcessRecord, ...]) -> Mapping[str, int]:
    """How many step processes work, and how many are idle. One that makes several calls is listed for each."""
    states = {record.pid: record.role for record in records if record.role in ("step", "idle")}
    numbers = Counter("working" if role == "step" else "idle" for role in states.values())
    return {state: numbers[state] for state in ("working", "idle")}
