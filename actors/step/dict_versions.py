"""The version of a dict: a number that CPython keeps of it, and that is another one after every change of the dict.

CPython keeps it for its own caches, up to 3.13 at least, and shows it to nobody. So it is read where it stands, and
only where it was seen to change. Elsewhere there is none.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Mapping
from gc import get_referents
from types import MappingProxyType, ModuleType
from typing import Any

# Behind the head of the object stands the number of its items, and then the version.
_OFFSET = object.__basicsize__ + ctypes.sizeof(ctypes.c_ssize_t)

_ATTEMPTS = 64
"""More changes than it takes until the interpreter uses a quicker way to make them."""


class DictVersions:
    """The versions of some dicts, or of the dicts behind read-only views. The caller keeps the dicts."""

    def __init__(self, dicts: Iterable[Mapping[str, Any]]) -> None:
        self._numbers = [_number_of(each) for each in dicts] if _kept else []

    def read(self) -> list[int] | None:
        """The versions now; equal ones mean that nothing has changed. None where this interpreter keeps none."""
        return [each.value for each in self._numbers] or None


def _number_of(names: Mapping[str, Any]) -> ctypes.c_uint64:
    behind = get_referents(names)[0] if isinstance(names, MappingProxyType) else names
    return ctypes.c_uint64.from_address(id(behind) + _OFFSET)


def _changes_with(probe: Any) -> bool:
    """Whether the version of the probe's names changes with each way to change them."""
    number, seen = _number_of(vars(probe)), []
    for each in range(_ATTEMPTS):
        probe.name = each
        seen.append(number.value)
    for each in range(_ATTEMPTS):
        setattr(probe, f"name_{each}", each)
        seen.append(number.value)
        delattr(probe, f"name_{each}")
        seen.append(number.value)
    return len({*seen}) == len(seen) and number.value == seen[-1]


_kept = _changes_with(ModuleType("probe")) and _changes_with(type("Probe", (), {}))
