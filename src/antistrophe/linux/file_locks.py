"""Who holds a lock on a file, by /proc/locks.

The kernel would also say so of an open file (F_GETLK). But POSIX drops every lock of a process on a file when the
process closes any descriptor of that file, so a look at a file that SQLite has open must not open it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from antistrophe.linux.procfs import read

_WORDS = 8
"""How many words a line has: number, kind, sort, READ or WRITE, pid, device and inode, first byte, last byte."""

_LONGEST_COMMAND = 80


def writer_of(path: str | os.PathLike[str], first_byte: int) -> int | None:
    """The pid of the process that has a write lock on the file which begins at that byte. 0: a process of another PID
    namespace. None: there is none, or nobody can say."""
    return next((pid for kind, pid in _locks(path, first_byte) if kind == b"WRITE"), None)


def is_locked(path: str | os.PathLike[str], first_byte: int) -> bool:
    """Whether some process, this one included, has a lock on the file which begins at that byte, as far as can be
    seen."""
    return next(_locks(path, first_byte), None) is not None


def _locks(path: str | os.PathLike[str], first_byte: int) -> Iterator[tuple[bytes, int]]:
    """Kind and pid of each lock on the file which begins at that byte."""
    try:
        inode = os.stat(path).st_ino
        locks = read("/proc/locks") or b""
    except OSError:
        return
    # The device is left out: some file systems show another one here than stat does.
    for line in locks.splitlines():
        words = line.split()
        if len(words) != _WORDS or words[1] != b"POSIX":
            continue  # a line of one more word is that of a process that waits for a lock
        if words[5].rpartition(b":")[2] == b"%d" % inode and words[6] == b"%d" % first_byte:
            yield words[3], int(words[4])


def command_of(pid: int) -> str:
    """The command line of a process on one line, shortened; empty where nobody can say."""
    try:
        words = read(f"/proc/{pid}/cmdline") or b""
    except OSError:
        return ""
    line = words.replace(b"\0", b" ").decode("utf-8", "replace")
    text = "".join(each if each.isprintable() else "?" for each in " ".join(line.split()))
    return text if len(text) <= _LONGEST_COMMAND else f"{text[: _LONGEST_COMMAND - 3]}..."
