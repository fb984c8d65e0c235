"""What `run` is given: the callable that makes sagas, found by MODULE:SAGA, and the lines of the input."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import RequestError

HOOK = "after_run"
"""The function of the module that is called at the end with the status of each saga, where there is one."""


class InputError(RequestError):
    """MODULE:SAGA or the input can't be used; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """``make`` takes one JSON object and returns a SagaDefinition; ``after_run`` is the module's hook, or None."""

    make: Callable[[dict[str, Any]], Any]
    after_run: Callable[[dict[str, Any]], Any] | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the input: its number from 1, and the saga that it asks for, or what is wrong with it."""

    number: int
    saga: SagaDefinition | None
    problem: str | None = None


def find_source(target: str) -> Source:
    """Import what ``MODULE:SAGA`` names: a dotted module, or the path of a .py file, seen from the current folder.

    Raises InputError.
    """
    module, make = find(target, "a function that returns a SagaDefinition")
    if not callable(make):
        raise InputError(f"{target} is {type(make).__name__}, not a function that returns a SagaDefinition")
    hook = getattr(module, HOOK, None)
    return Source(make, hook if callable(hook) else None)


def find(target: str, wanted: str) -> tuple[ModuleType, Any]:
    """The module of ``MODULE:NAME``, and what the name means in it. Raises InputError that says what is ``wanted``."""
    module_name, colon, name = target.rpartition(":")
    if not colon or not module_name or not name:
        raise InputError(f"{target!r} names no saga: write MODULE:SAGA, as in shop.orders:order or orders.py:order")
    is_path = module_name.endswith(".py") or os.sep in module_name
    module = _import_file(Path(module_name)) if is_path else _import(module_name, [str(Path.cwd())])
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise InputError(f"module {module_name} has no {name!r}: name {wanted}")
    return module, found


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if not path.stem.isidentifier():
        raise InputError(
            f"{path} can't be imported: a module's name consists of letters, digits and _; rename the file"
        )
    module = _import(path.stem, [str(path.resolve().parent), str(Path.cwd())])
    if module.__file__ is None or not path.samefile(module.__file__):
        raise InputError(
            f"{path} can't be imported: {module.__file__} has the name {path.stem} already; rename the file"
        )
    return module


def _import(name: str, folders: list[str]) -> ModuleType:
    sys.path[:0] = [folder for folder in folders if folder not in sys.path]
    try:
        return importlib.import_module(name)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # SystemExit, above all: a script without a guard ends itself like that
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(error.name)
        )
        hint = f"; it is looked for in {folders[0]} and on sys.path" if missing else ""
        raise InputError(f"module {name} can't be imported: {type(error).__name__}: {error}{hint}") from error


def count_lines(file: Path) -> int:
    """How many lines of the input are not empty. Raises InputError."""
    with _opened(file) as lines:
        return sum(1 for line in lines if line.strip())


def read_lines(file: Path, make: Callable[[dict[str, Any]], Any]) -> Iterator[Line]:
    """The lines of the input that are not empty, each as a saga or with what is wrong with it. Raises InputError."""
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
                yield Line(number, None, f"the id {saga.id!r} is that of line {first} already")
            else:
                yield Line(number, saga)


def _saga_of(line: bytes, make: Callable[[dict[str, Any]], Any]) -> SagaDefinition:
    """Raises ValueError or TypeError with a text for people."""
    try:
        fields = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8: {error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise TypeError(f"it is not a JSON object ({{...}}), but {type(fields).__name__}")
    try:
        saga = make(fields)
    except Exception as error:  # the user's own code
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(saga, SagaDefinition):
        raise TypeError(f"no SagaDefinition was returned for it, but {type(saga).__name__}")
    return saga


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Iterator[bytes]]:
    try:
        with file.open("rb") as lines:
            yield lines
    except OSError as error:
        raise InputError(f"{file} can't be read: {error.strerror}") from error
