"""One epoll(7) set that outlives the pass of a loop, and knows whose each descriptor is: its cost is that of what
happens, not of what is watched."""

from __future__ import annotations

import contextlib
import select

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLHUP | select.EPOLLERR


class Poller:
    """Descriptors with their owners.

    Forget a descriptor before closing it: a fork may still hold a copy for a moment, and as long as one is open
    somewhere the kernel goes on reporting it. The set itself is shared with forks, which must `close` it at once.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._owners: dict[int, object] = {}

    @property
    def filenos(self) -> list[int]:
        """The descriptors that are looked at."""
        return list(self._owners)

    def watch(self, fileno: int, events: int, owner: object) -> None:
        """Look at this descriptor from now on; with 0 for ``events`` only for its breaking. Raises OSError for one that
        can't be waited for (a plain file is always ready)."""
        if fileno in self._owners:
            self._epoll.modify(fileno, events)
        else:
            self._epoll.register(fileno, events)
        self._owners[fileno] = owner

    def forget(self, fileno: int) -> None:
        """Look at it no longer. It may have been closed already."""
        if self._owners.pop(fileno, None) is not None:
            with contextlib.suppress(OSError):
                self._epoll.unregister(fileno)

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Descriptors and what happened to them; after ``timeout_s`` at the latest, rounded up to milliseconds."""
        return self._epoll.poll(timeout_s)

    def owner(self, fileno: int) -> object | None:
        """Whose it is; None when it was forgotten since `wait` named it."""
        return self._owners.get(fileno)

    def close(self) -> None:
        """Let go of the set; nothing is looked at any more."""
        self._owners.clear()
        self._epoll.close()
