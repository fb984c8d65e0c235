"""Planting a bug: a function of the machine is replaced by itself with one piece of its source changed."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from tests.simulation.properties import Check


@dataclass(frozen=True)
class Patch:
    """In the function ``where`` (``module:qualified.name``), the piece ``old``, which stands there once, is ``new``."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A planted bug: ``breaks`` names the properties (P1-P8) and promises (G1-G9) that it breaks, ``caught_by`` the
    check that has to notice."""

    name: str
    breaks: str
    caught_by: Check
    patches: tuple[Patch, ...]


@contextlib.contextmanager
def planted(mutant: Mutant) -> Iterator[None]:
    """The machine with that bug in it."""
    with contextlib.ExitStack() as stack:
        for patch in mutant.patches:
            _plant(patch, stack)
        yield


def _plant(patch: Patch, stack: contextlib.ExitStack) -> None:
    module_name, _, qualified = patch.where.partition(":")
    module = importlib.import_module(module_name)
    *path, name = qualified.split(".")
    owner: Any = module
    for part in path:
        owner = getattr(owner, part)
    original = vars(owner)[name]
    changed = _changed(original, patch, module)
    stack.enter_context(mock.patch.object(owner, name, changed))
    for other in [each for each_name, each in sys.modules.items() if each_name.startswith("antistrophe.")]:
        # Others hold it under its own name, or in a table.
        if other is not module and vars(other).get(name) is original:
            stack.enter_context(mock.patch.object(other, name, changed))
        for table in [value for value in vars(other).values() if isinstance(value, dict)]:
            keys = [key for key, value in table.items() if value is original]
            if keys and other is module and table is not vars(other):
                stack.enter_context(mock.patch.dict(table, dict.fromkeys(keys, changed)))


def _changed(original: Any, patch: Patch, module: Any) -> Any:
    function: Any = original.fget if isinstance(original, property) else original
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(patch.old) == 1, f"{patch.where} has {patch.old!r} {source.count(patch.old)} times, not once"
    made: dict[str, Any] = {}
    code = "from __future__ import annotations\n" + source.replace(patch.old, patch.new)
    exec(compile(code, f"<mutant of {patch.where}>", "exec"), vars(module), made)
    return made[function.__name__]
