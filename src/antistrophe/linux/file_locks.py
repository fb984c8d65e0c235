"""Who holds a lock on a file, by /proc/locks.

The kernel would also say so of an open file (F_GETLK). But POSIX drops every lock of a process on a file when the
process closes any descriptor of that file, so a look at a file that SQLite has open must not open it.
"""

from __future__ import annotations

import os

from antistrophe.linux.procfs import read

_WORDS = 8
"""How many words a line has: number, kind, sort, READ or WRITE, pid, device and inode, first byte, last byte."""

_LONGEST_COMMAND = 80


def writer_of(path: str | os.PathLike[str], first_byte: int) -> int | None:
    """The pid of the process that has a write lock on the file which begins at that byte. 0: a process of another PID
    namespace. None: there is none, or nobody can say."""
    try:
        inode = os.stat(path).st_ino
        locks = read("/proc/locks") or b""
    except OSError:
        return None
    # The device is left out: some file systems show another one here than stat does.
    for line in locks.splitlines():
        words = line.split()
        if len(words) != _WORDS or words[1] != b"POSIX" or words[3] != b"WRITE":
            continue  # a line of one more word is that of a process that waits for a lock
        if words[5].rpartition(b":")[2] == b"%d" % inode and words[6] == b"%d" % first_byte:
            return int(words[4])
    return None


def command_of(pid: int) -> str:
    """The command line of a process on one line, shortened; empty where nobody can say."""
    try:
        words = read(f"/proc/{pid}/cmdline") or b""
    except OSError:
        return ""
    line = words.replace(b"\0", b" ").decode("utf-8", "replace")
    text = "".join(each if each.isprintable() else "?" for each in " ".join(line.split()))
    return text if len(text) <= _LONGEST_COMMAND else f"{text[: _LONGEST_COMMAND - 3]}..."
