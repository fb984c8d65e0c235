"""Standard output and error of a process that makes calls: each line goes to the step log, as the attempt's.

They stand in the place of ``sys.stdout`` and ``sys.stderr`` alone. What does not go through these, as the output of
native code and of child processes, goes to the descriptors.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from os import write
from typing import TYPE_CHECKING, Any

from antistrophe.logs.attempt_output import STDERR, STDOUT, AttemptOutput

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_ENCODING, _ERRORS = "utf-8", "backslashreplace"

Speaker = Callable[[], AttemptOutput | None]


def take_streams(speaker: Speaker, *, many: bool) -> Callable[[], None]:
    """Put such streams in the place of this process's. ``many``: many attempts speak at the same time. Returns what has
    the streams give away what they hold back."""
    streams = StepStream(STDOUT, 1, speaker, many=many), StepStream(STDERR, 2, speaker, many=many)
    sys.stdout, sys.stderr = streams

    def push() -> None:
        for stream in streams:
            try:  # for each attempt: `suppress` would take as long as all that is done here
                stream.push()
            except Exception:
                continue

    return push


class StepStream(io.TextIOWrapper):
    """A text stream, written line by line. What is flushed without the end of its line is a line of its own. ``many``:
    nothing is held back, because the next word may be another attempt's."""

    def __init__(self, source: str, fileno: int, speaker: Speaker, *, many: bool = True) -> None:
        self._printed = _Printed(source, fileno, speaker)
        bytes_below: Any = self._printed  # all that a TextIOWrapper asks of a buffer
        super().__init__(bytes_below, _ENCODING, _ERRORS, line_buffering=True, write_through=many)

    def flush(self) -> None:
        """Only who calls this wants to see a line that has not ended: the stream itself does not call it."""
        super().flush()
        self._printed.show()

    def push(self) -> None:
        """Give away what is held back, and be as at first: user code may have configured the stream."""
        super().flush()
        if not self.line_buffering or self.encoding != _ENCODING:
            self.reconfigure(encoding=_ENCODING, errors=_ERRORS, line_buffering=True)


class Echo:
    """A stream that does what another one does, and whose words are kept as well."""

    def __init__(self, stream: Any, source: str, speaker: Speaker) -> None:
        self._stream = stream
        self._source = source
        self._speaker = speaker

    def write(self, text: str) -> int:
        """Write the text to that stream, and keep it."""
        written: int = self._stream.write(text)
        if (output := self._speaker()) is not None:
            output.printed(self._source, text.encode("utf-8", "backslashreplace"))
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Printed(io.RawIOBase):
    """The bytes below. ``fileno`` is where they go where no attempt speaks."""

    def __init__(self, source: str, fileno: int, speaker: Speaker) -> None:
        super().__init__()
        self.name = f"<{source}>"
        self._source = source
        self._fileno = fileno
        self._speaker = speaker

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fileno

    def write(self, data: ReadableBuffer) -> int:
        printed = bytes(data)
        with contextlib.suppress(Exception):  # a log fails no step
            output = self._speaker()
            if output is None:
                _write_all(self._fileno, printed)
            else:
                output.printed(self._source, printed)
        return len(printed)

    def show(self) -> None:
        """Keep what has been printed of a line."""
        with contextlib.suppress(Exception):
            if (output := self._speaker()) is not None:
                output.flush(self._source)


def _write_all(fileno: int, data: bytes) -> None:
    while data:
        data = data[write(fileno, data) :]
