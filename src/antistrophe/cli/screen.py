"""How output looks: colours, tables and JSON, on a terminal and in a pipe."""

from __future__ import annotations

import json
import os
import re
import select
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from typing import IO, Any, cast

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from antistrophe.narration.json_values import json_value
from antistrophe.records import SagaStatus, StepStatus
from antistrophe.serialization.printable import printable

_PADDING = re.compile(r" +$", re.MULTILINE)

_LAST_STREAM = 2

PIPE_WIDTH = 400
"""The width of lines where the output is not a terminal, in columns."""

STYLES: Mapping[str, str] = {
    SagaStatus.NOT_STARTED.value: "dim",
    SagaStatus.EXECUTING.value: "cyan",
    SagaStatus.COMPENSATING.value: "yellow",
    SagaStatus.COMPLETED.value: "green",
    SagaStatus.COMPENSATED.value: "magenta",
    SagaStatus.FAILED.value: "bold red",
    StepStatus.PENDING.value: "dim",
    StepStatus.RUNNING.value: "cyan",
    StepStatus.SUCCEEDED.value: "green",
    StepStatus.IN_DOUBT.value: "bold yellow",
    StepStatus.COMPENSATION_FAILED.value: "bold red",
    StepStatus.SKIPPED.value: "dim",
    StepStatus.RESOLVED.value: "magenta",
}


def output() -> Console:
    """Standard output. A pipe gets no colours, and its lines are neither folded to a narrow screen nor padded."""
    if sys.stdout.isatty():
        return Console(markup=False, emoji=False, highlight=False)
    unpadded = cast(IO[str], _Unpadded(sys.stdout))
    return Console(markup=False, emoji=False, highlight=False, width=PIPE_WIDTH, file=unpadded)


class ReaderLeftError(Exception):
    """Whoever read the output has seen enough. A console would end the program for a BrokenPipeError, with code 1."""


class OutputLostError(Exception):
    """Standard output can't be written: the disk of its file is full, or its terminal is gone."""


@contextmanager
def to_reader() -> Iterator[None]:
    """Where standard output can't be written within this: raises ReaderLeftError or OutputLostError."""
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderLeftError from error
    except OSError as error:
        raise OutputLostError(f"standard output can't be written: {error.strerror or error}") from error


def open_closed_streams() -> None:
    """Give a call that was started without standard streams (``>&-``) those of a program in the background. Else their
    descriptors would be those of the next files that are opened, and whatever prints would write into these."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= _LAST_STREAM:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115 - open until the end
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


class _Unpadded:
    """A stream whose lines end with their last character. A console writes whole lines."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with to_reader():
            return self._stream.write(_PADDING.sub("", text))

    def flush(self) -> None:
        with to_reader():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def pause_while_read(seconds: float) -> None:
    """Wait, and raise ReaderLeftError as soon as nobody reads the output any more.

    Only a write tells that otherwise, and a verb that follows may have nothing to write for hours.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # the output is kept in this process
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(descriptor, 0)  # the end of the other side is told without being asked for; a file has none
    if poll.poll(seconds * 1_000):
        raise ReaderLeftError


def errors() -> Console:
    """Standard error: for problems and progress."""
    return Console(
        stderr=True, markup=False, emoji=False, highlight=False, width=None if sys.stderr.isatty() else PIPE_WIDTH
    )


def print_json(value: Any) -> None:
    """Print a value as one JSON document."""
    with to_reader():
        sys.stdout.write(json.dumps(json_value(value), indent=2) + "\n")


def print_json_line(value: Any) -> None:
    """Print a value as one line of JSON, and flush it: a program may be following."""
    with to_reader():
        sys.stdout.write(json.dumps(json_value(value)) + "\n")
        sys.stdout.flush()


def safe(text: str, style: str = "") -> Text:
    """A text from anywhere, without control characters but line breaks: it must not control the terminal."""
    return Text(printable(text, keep="\n"), style=style)


def safe_line(text: str, style: str = "") -> Text:
    """The text in one line, without control characters."""
    return safe(" ".join(text.split()), style)


def paragraphs(text: str, further: int = 0) -> RenderableType:
    """The lines of a text. Where one is folded, what is below its beginning is indented as it is, ``further`` in: so
    the end of a line of code can be told from the next one."""
    return Group(*(_Paragraph(line, further) for line in text.split("\n")))


class _Paragraph:
    """One line, which knows how wide the screen is when it is printed."""

    def __init__(self, line: str, further: int) -> None:
        self._text = safe(line.lstrip(" "))
        self._first = len(line) - len(line.lstrip(" "))
        self._below = self._first + further

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        within = Measurement.get(console, options, self._text)
        return Measurement(within.minimum, within.maximum + self._first).with_maximum(options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._first + self._text.cell_len <= options.max_width:
            yield Text(" " * self._first).append_text(self._text)
            return
        below = min(self._below, options.max_width // 2)
        first, *others = self._text.wrap(console, options.max_width - below)
        yield Text(" " * min(self._first, below)).append_text(first)
        for line in others:
            yield Text(" " * below).append_text(line)


def status_text(status: Enum) -> Text:
    """A status in its colour."""
    word = str(status.value)
    return safe(word.replace("_", " "), style=STYLES.get(word, ""))


def section(console: Console, title: str, body: RenderableType | Sequence[Text]) -> None:
    """Print a part of the output: an empty line, a title, a body."""
    console.print(safe(f"\n{title}", style="bold"))
    for part in body if isinstance(body, Sequence) else (body,):
        console.print(part, soft_wrap=isinstance(body, Sequence))


def table(*columns: str) -> Table:
    """An empty table with these columns."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def grid(columns: int) -> Table:
    """An empty table without headers."""
    made = table(*[""] * columns)
    made.show_header = False
    return made


def pairs(rows: Iterable[tuple[str, Any]]) -> Table:
    """A table of names and values, one pair a line."""
    made = grid(2)
    for name, value in rows:
        made.add_row(safe(name, style="dim"), value if isinstance(value, Text) else safe(str(value)))
    return made
