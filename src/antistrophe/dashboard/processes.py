"""What the page of processes shows: every process of the home, what it is, what it takes, and what it works on."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from antistrophe.dashboard.running_sagas import RunningSaga, Work
from antistrophe.errors import OverloadedError, SystemUnavailableError
from antistrophe.launcher.control_protocol import PROTOCOL, Ready, State, unpack_settings
from antistrophe.linux.procfs import read, stat_of
from antistrophe.linux.termination import processes_of_home
from antistrophe.messages import ListProcesses, Processes
from antistrophe.records import ProcessRecord
from antistrophe.transport.mailbox import Mailbox

_ANSWER_S = 0.5
_STATES = {"R": "runs", "S": "sleeps", "D": "waits for a device", "T": "stopped", "t": "traced", "I": "idle"}
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Process:
    """One process. ``memory_bytes`` is what of it is in memory, ``cpu_s`` what it has used since its start ``up_s``
    seconds ago. ``work``: the ids of the sagas that it works for, and what it does for each."""

    pid: int
    parent: int
    role: str
    state: str
    memory_bytes: int
    cpu_s: float
    up_s: float
    depth: int = 0
    work: list[tuple[str, Work]] = field(default_factory=list)


def processes(home: Path, sagas: Iterable[RunningSaga], state: State | None) -> list[Process]:
    """The processes of the home as a tree, parents first, with the work of these sagas, which may be at other hosts."""
    found = {pid: made for pid in processes_of_home(home) if (made := _process(pid)) is not None}
    for pid, role in _known_roles(state).items():
        if pid in found:
            found[pid].role = role
    _add_work(found, sagas, _host_name(state))
    return _as_tree(found)


def _known_roles(state: State | None) -> dict[int, str]:
    """What the system says of its processes. One that does not answer in time has said what the launcher knows."""
    if not isinstance(state, Ready):
        return {}
    told = {record.pid: record.role for record in _asked(state)}
    return told | {
        state.launcher_pid: "launcher",
        state.admin_pid: "admin",
        state.logger_pid: "logger",
        state.supervisor_pid: "supervisor",
    }


def _asked(state: Ready) -> tuple[ProcessRecord, ...]:
    """Ask the supervisor without attaching: that keeps no system running."""
    if state.protocol != PROTOCOL:  # another release, whose messages may be other ones
        return ()
    correlation, until = uuid.uuid4().hex, time.monotonic() + _ANSWER_S
    try:
        with closing(Mailbox(state.supervisor)) as mailbox:
            mailbox.send(ListProcesses(correlation))
            while (left_s := until - time.monotonic()) > 0:
                answer = mailbox.receive(left_s)
                if isinstance(answer, Processes) and answer.correlation == correlation:
                    return answer.processes
    except (SystemUnavailableError, OverloadedError):
        pass
    return ()


def _host_name(state: State | None) -> str | None:
    """What the system of the home is called among hosts, if it runs."""
    if not isinstance(state, Ready) or state.protocol != PROTOCOL:
        return None
    return unpack_settings(state.settings).host


def _add_work(found: dict[int, Process], sagas: Iterable[RunningSaga], here: str | None) -> None:
    """Each machine has numbers of its own for processes: on another host the same one is another process."""
    for saga in sagas:
        if saga.work is None or saga.work.host not in (None, here):
            continue
        if (process := found.get(saga.work.pid or 0)) is not None:
            process.work.append((saga.id, saga.work))
            process.role = "step"


def _process(pid: int) -> Process | None:
    stat, text, memory = stat_of(pid), read(f"/proc/{pid}/stat"), read(f"/proc/{pid}/statm")
    if stat is None or not stat.lives or not text or not memory:
        return None
    fields = text[text.rindex(b")") + 2 :].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS
    up_s = max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - stat.start_ticks / _TICKS)
    return Process(
        pid, stat.parent, "", _STATES.get(stat.state, stat.state), int(memory.split()[1]) * _PAGE_BYTES, cpu_s, up_s
    )


def _as_tree(found: dict[int, Process]) -> list[Process]:
    children: dict[int, list[Process]] = {}
    for process in found.values():
        children.setdefault(process.parent if process.parent in found else 0, []).append(process)
    ordered: list[Process] = []
    ahead = [(process, 0) for process in reversed(children.get(0, []))]
    while ahead:
        process, process.depth = ahead.pop()
        ordered.append(process)
        ahead += [(child, process.depth + 1) for child in reversed(children.get(process.pid, []))]
    return ordered
