"""What `ps` and `top` show of a process: its role and its home, in place of the command line of the launcher, of which
every process of the system is a fork."""

from __future__ import annotations

import contextlib
import os

_COMMAND_BEGINS, _COMMAND_ENDS = 45, 46
"""Where the addresses of the command line stand in ``/proc/self/stat``, behind the name of the program."""


def set_title(role: str, home: str) -> None:
    """Be ``antistrophe ROLE HOME`` for `ps`, and ``as-ROLE`` for `top` and ``pgrep``. Where the kernel does not allow
    it, nothing changes: only people read it."""
    with contextlib.suppress(OSError, ValueError, IndexError, OverflowError):
        _replace_command_line(os.fsencode(f"antistrophe {role} {home}"))
        with open("/proc/self/comm", "wb", buffering=0) as name:
            name.write(f"as-{role}".encode())


def _replace_command_line(title: bytes) -> None:
    """Write over the words of the command line, and no further: what does not fit is cut."""
    with open("/proc/self/stat", "rb", buffering=0) as stat:
        fields = stat.read().rpartition(b")")[2].split()
    begins, ends = int(fields[_COMMAND_BEGINS]), int(fields[_COMMAND_ENDS])
    room = ends - begins
    if room <= 0:
        return
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(begins)
        memory.write(title[: room - 1].ljust(room, b"\0"))
