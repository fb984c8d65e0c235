"""The input of `run` and `verify`: a file with one JSON object a line, each of which makes one saga."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, BinaryIO

from antistrophe.cli.target import InputError
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.exception_text import name_and_text

STANDARD_INPUT = Path("-")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input: its number from 1, and its saga. ``problem`` says what is wrong where there is no saga."""

    number: int
    saga: SagaDefinition | None
    problem: str | None = None


@contextlib.contextmanager
def kept_input(file: Path) -> Iterator[Path]:
    """A path at which the same bytes can be read more than once: what comes through a pipe is kept in a file until the
    end. ``-`` is the standard input. Raises InputError."""
    if file != STANDARD_INPUT and file.is_file():
        yield file
        return
    with contextlib.ExitStack() as stack:
        try:
            copy = stack.enter_context(NamedTemporaryFile(prefix="antistrophe-input-"))
            given = stack.enter_context(_standard_input() if file == STANDARD_INPUT else file.open("rb"))
            shutil.copyfileobj(given, copy)
            copy.flush()
        except OSError as error:
            raise InputError(f"{file} can't be read: {error.strerror}") from error
        yield Path(copy.name)


def _standard_input() -> BinaryIO:
    if sys.stdin is None:
        raise InputError("the standard input is closed: name a file with --input")
    return sys.stdin.buffer


def count_lines(file: Path) -> int:
    """How many lines of the file are not empty. Raises InputError."""
    with _opened(file) as lines:
        return sum(1 for line in lines if line.strip())


def read_lines(file: Path, make: Callable[[dict[str, Any]], Any]) -> Iterator[Line]:
    """The lines of the file that are not empty, each with its saga or its problem. Raises InputError."""
    seen: dict[str, int] = {}
    with _opened(file) as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                saga = _saga_of(line, make)
            except (ValueError, TypeError) as error:
                yield Line(number, None, str(error))
                continue
            first = seen.setdefault(saga.id, number)
            if first != number:
                yield Line(number, None, f"line {first} already has the id {saga.id!r}")
            else:
                yield Line(number, saga)


def _saga_of(line: bytes, make: Callable[[dict[str, Any]], Any]) -> SagaDefinition:
    """The saga of one line. Raises ValueError or TypeError with a text for people."""
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the line is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise TypeError(f"the line is not a JSON object ({{...}}), but {type(fields).__name__}")
    try:
        saga = make(fields)
    except Exception as error:  # the user's own code
        raise ValueError(name_and_text(error)) from error
    if not isinstance(saga, SagaDefinition):
        raise TypeError(f"no SagaDefinition was returned for the line, but {type(saga).__name__}")
    return saga


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Iterator[bytes]]:
    try:
        with file.open("rb") as lines:
            yield lines
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from error
