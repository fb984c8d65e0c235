"""A disk that is full, by a file that takes all there is or by a limit of each process."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path


def limit_files(pids: list[int], size_bytes: int) -> None:
    """No file may grow beyond that size, by the hands of these processes and of what they start from now on."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


def fill(folder: Path) -> Path:
    """Take all the space there is left."""
    junk = folder / "junk"
    with junk.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass
    return junk
