"""What the processes of a system print: each line into the launcher's log, escaped, and not too much of it.

Standard output and error of the launcher, and so of every process that comes from it, are one pipe, which a thread of
the launcher reads. A file in its place would grow with what steps print, and show whatever they write to a terminal.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import json
import os
import select
import signal
import threading
import time
from datetime import UTC, datetime

from antistrophe.linux.log_file import LogFile
from antistrophe.serialization.printable import printable

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_LONGEST_LINE = 1 << 13
_IDLE_S = 0.25
"""So long without more, and what was printed without the end of its line is written as a line."""

_WINDOW_S = 10.0
_MARK = "| "
_PRINTED = "printed"
_TAB = "\t"
_END_S = 2.0


def _as_text(line: str) -> str:
    now = time.time()
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(now))},{int(now * 1000) % 1000:03} {_MARK}{line}"


def _as_json(line: str) -> str:
    return json.dumps({"at": datetime.now(UTC).isoformat(timespec="microseconds"), "logger": _PRINTED, "text": line})


class PrintedOutput:
    """Takes the place of standard output and error from `take_over` until `give_back`. In ten seconds ``max_bytes`` are
    written at most; the rest of what was printed is counted and dropped. ``form`` is the setting ``log_format``."""

    def __init__(self, file: LogFile, max_bytes: int, form: str = "text") -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._told = _as_json if form == "json" else _as_text
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._line = ""
        self._window_end = 0.0
        self._written = 0
        self._dropped = 0
        # Every fork keeps the reading end: without one, `print` would raise in a step that outlives the launcher for a
        # moment, and the step would count as failed.
        self._reader = -1
        self._thread = threading.Thread(target=self._run, name="antistrophe-printed", daemon=True)

    def take_over(self) -> None:
        """From now on, what is printed is read. Raises OSError."""
        self._reader, writer = os.pipe2(os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # the user may have too many pipes already
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        os.close(writer)
        self._thread.start()

    def give_back(self) -> None:
        """Write the rest, once no other process prints any more."""
        nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        os.close(nothing)
        self._thread.join(_END_S)

    def _run(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # they are for the main thread
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        while True:
            waits = self._line or self._dropped
            if not poll.poll(_IDLE_S * 1000 if waits else None):
                self._idle()
                continue
            data = os.read(self._reader, _READ_BYTES)
            if not data:
                self._flush()
                return
            self._take(data)

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        if now >= self._window_end:
            self._tell_dropped()
            self._window_end, self._written = now + _WINDOW_S, 0
        if self._written >= self._max_bytes:
            self._dropped += len(data)
            return
        *lines, self._line = (self._line + self._decoder.decode(data)).split("\n")
        if len(self._line) > _LONGEST_LINE:
            lines.append(self._line)
            self._line = ""
        self._write(lines)

    def _idle(self) -> None:
        if self._line:
            self._write([self._line])
            self._line = ""
        if time.monotonic() >= self._window_end:
            self._tell_dropped()

    def _flush(self) -> None:
        if self._line:
            self._write([self._line])
        self._tell_dropped()

    def _write(self, lines: list[str]) -> None:
        text = "".join(f"{self._told(printable(line, keep=_TAB))}\n" for line in lines)
        if text:
            self._file.write(text)
            self._written += len(text)

    def _tell_dropped(self) -> None:
        if self._dropped:
            self._write([f"... {self._dropped} bytes more were printed, too many for the log, and dropped"])
            self._dropped = 0
