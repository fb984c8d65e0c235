"""The memory of a process that forks: its forks should share as much of it as they can, for as long as they can."""

from __future__ import annotations

import ctypes
import gc

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library has it, others don't


def settle_memory() -> None:
    """Take what there is for what stays, in this process and in its forks.

    No garbage collector visits it any more, neither here nor in a fork, where a visit would copy its pages. What the
    C library keeps of freed memory goes back to the kernel.
    """
    gc.freeze()
    if _trim is not None:
        _trim(0)
