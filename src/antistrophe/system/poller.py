"""One poll(2) set that outlives the pass of a loop, and knows whose each descriptor is."""

from __future__ import annotations

import select

READABLE = select.POLLIN
WRITABLE = select.POLLOUT
BROKEN = select.POLLHUP | select.POLLERR
INVALID = select.POLLNVAL


class Poller:
    """Descriptors with their owners. It holds no kernel object, so a fork can't disturb it."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._owners: dict[int, object] = {}

    @property
    def filenos(self) -> list[int]:
        """The descriptors that are looked at."""
        return list(self._owners)

    def watch(self, fileno: int, events: int, owner: object) -> None:
        """Look at this descriptor from now on; with 0 for ``events`` only for its breaking."""
        self._poll.register(fileno, events)
        self._owners[fileno] = owner

    def forget(self, fileno: int) -> None:
        """Look at it no longer. It may have been closed already."""
        if self._owners.pop(fileno, None) is not None:
            self._poll.unregister(fileno)

    def wait(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Descriptors and what happened to them; after ``timeout_s`` at the latest, rounded up to milliseconds."""
        return self._poll.poll(None if timeout_s is None else timeout_s * 1000)

    def owner(self, fileno: int) -> object | None:
        """Whose it is; None when it was forgotten since `wait` named it."""
        return self._owners.get(fileno)
