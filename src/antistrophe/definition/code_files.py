"""The files of step modules: which version of a file is which, and compiled code that hides a change."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path

from antistrophe.fast_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class FileStamp:
    """The version of a file: when it was changed, in nanoseconds, and its size."""

    path: str
    changed_ns: int
    size_bytes: int


def stamp_of(path: str) -> FileStamp:
    """The stamp of a file as it is now. One that is gone, or can't be looked at, has a stamp of its own."""
    try:
        found = os.stat(path)
    except OSError:
        return FileStamp(path, -1, -1)
    return FileStamp(path, found.st_mtime_ns, found.st_size)


def forget_stale_bytecode(module_name: str) -> None:
    """Remove the .pyc of a module that may be older than its source. Python compares whole seconds and the size, and so
    misses an edit within the second in which it compiled the file."""
    with contextlib.suppress(Exception):  # what keeps the module from being found is told by its import
        spec = importlib.util.find_spec(module_name)
        if spec is not None and spec.origin is not None and spec.cached is not None:
            changed_s, compiled_ns = int(os.stat(spec.origin).st_mtime), os.stat(spec.cached).st_mtime_ns
            if compiled_ns < (changed_s + 1) * 1_000_000_000:
                Path(spec.cached).unlink()
