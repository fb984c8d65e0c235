"""A lock that its busiest user can't keep from the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class FairLock:
    """A lock that one thread holds at a time. The thread that holds it may take it again.

    Threads that take it by ``first`` go before those that take it by ``last``. The busiest user takes it by ``last``:
    with a plain lock it could release the lock and take it again at once, for as long as it has work.
    """

    def __init__(self) -> None:
        self._free = threading.Condition()
        self._owner: int | None = None
        self._first = 0

    @contextmanager
    def first(self) -> Iterator[None]:
        """Hold the lock as soon as it is free."""
        with self._taken(as_first=True):
            yield

    @contextmanager
    def last(self) -> Iterator[None]:
        """Hold the lock when it is free and no thread waits for it by ``first``."""
        with self._taken(as_first=False):
            yield

    @contextmanager
    def _taken(self, *, as_first: bool) -> Iterator[None]:
        me = threading.get_ident()
        if self._owner == me:
            yield
            return
        with self._free:
            self._first += as_first
            try:
                self._free.wait_for(lambda: self._owner is None and (as_first or not self._first))
            finally:
                self._first -= as_first
            self._owner = me
        try:
            yield
        finally:
            with self._free:
                self._owner = None
                self._free.notify_all()
