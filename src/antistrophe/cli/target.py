"""MODULE:SAGA, as `run` and `verify` take it: imports the module, and finds what the name means in it."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from antistrophe.errors import RequestError
from antistrophe.exception_text import name_and_text

HOOK = "after_run"
"""The name of the module's function that is called at the end with the status of each saga."""


class InputError(RequestError):
    """MODULE:SAGA or the input can't be used. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """``make`` takes one JSON object and returns a SagaDefinition. ``after_run`` is the module's hook, or None."""

    make: Callable[[dict[str, Any]], Any]
    after_run: Callable[[dict[str, Any]], Any] | None


def find_source(target: str) -> Source:
    """Import the function that ``MODULE:SAGA`` names. MODULE is a dotted module or the path of a .py file, both as
    seen from the current folder.

    Raises InputError.
    """
    module, make = find_object(target, "a function that returns a SagaDefinition")
    if not callable(make):
        raise InputError(f"{target} is {type(make).__name__}, not a function that returns a SagaDefinition")
    hook = getattr(module, HOOK, None)
    return Source(make, hook if callable(hook) else None)


def find_object(target: str, wanted: str) -> tuple[ModuleType, Any]:
    """The module and the object that ``MODULE:NAME`` names. Raises InputError, which says what is ``wanted``."""
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
    except BaseException as error:  # SystemExit too: a script without a guard may end itself
        missing = (
            isinstance(error, ModuleNotFoundError) and error.name is not None and f"{name}.".startswith(error.name)
        )
        hint = f"; it was looked for in {folders[0]} and on sys.path" if missing else ""
        raise InputError(f"module {name} can't be imported: {name_and_text(error)}{hint}") from error
