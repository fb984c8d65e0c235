"""Imports that are put off until something is needed, and that no fork interrupts.

A fork keeps the lock of a module that another thread is importing, and nobody in the fork ever gives it back: the first
import of that module there would wait for ever. So a fork waits until such an import is done.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

_lock = threading.RLock()  # a module that is imported may import others late, too


@contextlib.contextmanager
def late_import() -> Iterator[None]:
    """Import within this block what is imported late::

    with late_import():
        from cattrs import Converter
    """
    with _lock:
        yield


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)
