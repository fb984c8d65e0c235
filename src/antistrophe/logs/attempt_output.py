"""What one attempt says, on its way to the step log: cut into lines, and not too much of it."""

from __future__ import annotations

from collections.abc import Callable
from os import getpid
from time import monotonic, time

from antistrophe.logs.stored_records import head_of, line_of

STDOUT, STDERR, CONTEXT_LOG, LOGGING = "stdout", "stderr", "log", "logging"
"""The sources of a record: what is printed, ``ctx.log``, and all other loggers."""

LONGEST_TEXT = 1 << 15
"""So many characters of a record are kept, and then how many there were."""

_PARTS = 64
"""So many attempts that say as much as they may fill the step log."""
_REFILL_S = 16.0
_TOLD_EACH = 32
_LONGEST_LINE = 4 * LONGEST_TEXT


class Budget:
    """How many bytes an attempt may write: ``burst`` at once, and as many again in each 16 s."""

    __slots__ = ("_again_at", "_burst", "_left", "_since", "over")

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._left = float(burst)
        self._since = self._again_at = 0.0
        self.over = False

    def allows(self) -> bool:
        """Whether the attempt may write now. Once all is used up, some has to gather first."""
        if self._left > 0 and not self.over:
            return True
        now = monotonic()
        if self.over and now < self._again_at:
            return False
        self._left = min(self._burst, self._left + (now - self._since) * self._burst / _REFILL_S)
        self._since = now
        missing = self._burst / _TOLD_EACH - self._left
        self.over = missing > 0
        self._again_at = now + missing * _REFILL_S / self._burst
        return not self.over

    def take(self, written: int) -> None:
        """So many bytes were written."""
        if self._since == 0.0:
            self._since = monotonic()
        self._left -= written


class AttemptOutput:
    """One attempt. ``append`` takes a line of the step log, and answers whether it was written. Any thread may call."""

    __slots__ = ("_append", "_attempt", "_budget", "_burst", "_dropped_bytes", "_dropped_lines", "_head", "_partial")

    def __init__(
        self, append: Callable[[bytes], bool], max_bytes: int, saga_id: str, step_name: str, action: str, attempt: int
    ) -> None:
        self._append = append
        self._attempt = saga_id, step_name, action, attempt
        self._burst = max_bytes // _PARTS
        self._budget: Budget | None = None
        self._head = ""
        self._partial: dict[str, bytes] | None = None
        self._dropped_lines = self._dropped_bytes = 0

    @property
    def saga_id(self) -> str:
        """The saga of the attempt."""
        return self._attempt[0]

    def log(self, level: str, source: str, logger: str, text: str) -> bool:
        """Keep a record of logging. False where it was dropped."""
        if self._may_write():
            if len(text) > LONGEST_TEXT:
                text = f"{text[:LONGEST_TEXT]}… ({len(text):,} characters in all)"
            return self._write(level, source, logger, text)
        self._drop(1, len(text))
        return False

    def printed(self, source: str, data: bytes) -> None:
        """Keep each line that ``data`` ends; the rest is the start of the next one."""
        begun = self._partial.pop(source, b"") if self._partial else b""
        data, start = begun + data if begun else data, 0
        while self._may_write():
            end = data.find(b"\n", start)
            if end < 0:
                self._keep_partial(source, data[start:] if start else data)
                return
            self._write_line(source, data[start : min(end, start + _LONGEST_LINE)], end - start)
            start = end + 1
            if start == len(data):
                return
        self._drop(data.count(b"\n", start), len(data) - start)

    def flush(self, source: str) -> None:
        """Keep what was printed of a line that has not ended, as a line."""
        if self._partial and (rest := self._partial.pop(source, b"")):
            self._write_line(source, rest, len(rest))

    def end(self) -> None:
        """The call is over: keep the rest, and how much was dropped."""
        if self._partial:
            for source in [*self._partial]:
                self.flush(source)
        if self._dropped_bytes:
            self._tell_dropped()

    def _keep_partial(self, source: str, data: bytes) -> None:
        if len(data) >= _LONGEST_LINE:
            self._write_line(source, data[:_LONGEST_LINE], len(data))
            return
        if self._partial is None:
            self._partial = {}
        self._partial[source] = data

    def _write_line(self, source: str, line: bytes, size: int) -> None:
        """Keep a printed line of so many bytes, of which this is the start."""
        text = line.removesuffix(b"\r").decode("utf-8", "backslashreplace")
        if size > LONGEST_TEXT:
            text = f"{text[:LONGEST_TEXT]}… ({size:,} bytes in all)"
        self._write(None, source, None, text)

    def _may_write(self) -> bool:
        if self._budget is None:
            self._budget = Budget(self._burst)
        if not self._budget.allows():
            return False
        if self._dropped_bytes:
            self._tell_dropped()
        return True

    def _drop(self, lines: int, size: int) -> None:
        self._dropped_lines += lines
        self._dropped_bytes += max(size, 1)

    def _tell_dropped(self) -> None:
        lines, size = self._dropped_lines, self._dropped_bytes
        self._dropped_lines = self._dropped_bytes = 0
        text = f"… {lines:,} lines ({size:,} bytes) are missing here: more was said than is kept"
        if not self._write("WARNING", LOGGING, "antistrophe", text):
            self._dropped_lines += lines - 1
            self._dropped_bytes += size - len(text)

    def _write(self, level: str | None, source: str, logger: str | None, text: str) -> bool:
        self._head = self._head or head_of(*self._attempt)
        line = line_of(self._head, time(), getpid(), level, source, logger, text)
        if self._budget is not None:
            self._budget.take(len(line))
        if self._append(line):
            return True
        self._drop(1, len(text))
        return False
