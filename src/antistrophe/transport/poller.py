"""One epoll(7) set for the life of an event loop, with the owner of each descriptor: a wait costs what happens, however
many descriptors are watched.

The standard library's ``selectors`` can't watch a descriptor for nothing but its end, as an idle connection to a peer
is watched, and its wait takes 1.5 times as long.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
BROKEN = select.EPOLLHUP | select.EPOLLERR


class Poller:
    """Watched descriptors with their owners.

    Forget a descriptor before you close it: a fork may still hold a copy for a moment, and the kernel reports events
    for as long as any copy is open. Forks share the set itself, and must `close` it at once. ``changes`` grows whenever
    a descriptor comes or goes.

    ``owner`` gives the owner of a descriptor; None where it was forgotten after `wait` returned it. It is a function in
    C, because every message asks.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._owners: dict[int, object] = {}
        self.changes = 0
        self.owner: Callable[[int], object | None] = self._owners.get

    @property
    def filenos(self) -> list[int]:
        """The descriptors that are watched."""
        return list(self._owners)

    @property
    def fileno(self) -> int:
        """The descriptor of the set itself."""
        return self._epoll.fileno()

    def watch(self, fileno: int, events: int, owner: object) -> None:
        """Watch this descriptor from now on; where ``events`` is 0, only for its end. Raises OSError for a descriptor
        that epoll does not take (a regular file is always ready)."""
        if fileno in self._owners:
            self._epoll.modify(fileno, events)
        else:
            self._epoll.register(fileno, events)
            self.changes += 1
        self._owners[fileno] = owner

    def forget(self, fileno: int) -> None:
        """Watch this descriptor no longer. It may be closed already."""
        if self._owners.pop(fileno, None) is not None:
            self.changes += 1
            with contextlib.suppress(OSError):
                self._epoll.unregister(fileno)

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Wait for events, at most ``timeout_s`` seconds, rounded up to milliseconds; return descriptors and events."""
        return self._epoll.poll(timeout_s)

    def close(self) -> None:
        """Close the set; nothing is watched any more."""
        self._owners.clear()
        self._epoll.close()
