"""Who is who among the processes of a home, asked from outside, and without keeping its system up."""

from __future__ import annotations

from pathlib import Path

from antistrophe.errors import AntistropheError
from antistrophe.launcher.control_protocol import Ready
from antistrophe.launcher.probe import probe
from antistrophe.messages import ListProcesses, Processes
from antistrophe.transport.mailbox import Mailbox

ANSWER_S = 0.3


def roles_of(home: Path) -> dict[int, str]:
    """The role of each process that is known; empty where the system is not up, or does not answer at once."""
    state = probe(home)
    if not isinstance(state, Ready):
        return {}
    known = {state.launcher_pid: "launcher", state.admin_pid: "admin", state.logger_pid: "logger"}
    try:
        mailbox = Mailbox(state.supervisor)
    except (AntistropheError, OSError):
        return known
    try:
        mailbox.send(ListProcesses("roles"))
        answer = mailbox.receive(ANSWER_S)
    except (AntistropheError, OSError):
        return known
    finally:
        mailbox.close()
    rows = answer.processes if isinstance(answer, Processes) else ()
    return known | {row.pid: row.role for row in rows}
