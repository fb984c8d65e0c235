"""Follow an event store: each event once and in order, from any position, soon after its commit."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from antistrophe.errors import AntistropheError, JournalError
from antistrophe.eventstore.backend import StoredEvent
from antistrophe.eventstore.recorded import RecordedEvent

_PAGE = 256
_SHORTEST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.025
"""Commits of other processes are looked for at these intervals: short when something has just come, longer after."""

Fetch = Callable[[int, int], Sequence[StoredEvent]]
Decode = Callable[[Sequence[StoredEvent]], Sequence[RecordedEvent]]


class Commits:
    """Tells the readers in this process that something was committed, or that it is over."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.count = 0
        self.over = False

    def tell(self) -> None:
        """Something was committed; never waits for a reader."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Let every waiting reader look again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Wait until more than ``seen`` commits were told, at most that long; may come back early."""
        with self._changed:
            if self.count == seen and not self.over:
                self._changed.wait(timeout_s)


class Subscription:
    """An iterator over the events behind a position that waits for new ones; it ends when it or its store is closed.

    An event is handed out only after its commit. Several threads may iterate over one subscription: each event goes to
    one of them, in order of position; for every event in every thread make one subscription each. A reader that is slow
    costs nobody anything. An event that can't be read (of a newer version, say) raises, and raises again when asked
    again: nothing is passed over.
    """

    def __init__(self, fetch: Fetch, decode: Decode, commits: Commits, from_position: int) -> None:
        self._fetch = fetch
        self._decode = decode
        self._commits = commits
        self._turn = threading.Lock()
        self._ready: deque[RecordedEvent] = deque()
        self._closed = False
        self._from_position = self._fetched = from_position
        self._last: RecordedEvent | None = None

    @property
    def position(self) -> int:
        """The position of the last event that was handed out (at first, the one to start behind)."""
        return self._from_position if self._last is None else self._last.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordedEvent:
        event = self._handed_out() or self._next(None)
        if event is None:
            raise StopIteration
        return event

    def poll(self, timeout_s: float = 0.0) -> RecordedEvent | None:
        """The next event, or None where none comes within ``timeout_s`` seconds or the subscription has ended."""
        return self._handed_out() or self._next(time.monotonic() + timeout_s)

    def close(self) -> None:
        """End it: whoever waits for an event stops waiting."""
        self._closed = True
        self._commits.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, deadline: float | None) -> RecordedEvent | None:
        if not self._turn.acquire(timeout=-1 if deadline is None else max(0.0, deadline - time.monotonic())):
            return None
        try:
            # In turns, for another thread may have taken everything that came.
            while (event := self._handed_out()) is None and self._wait_for_events(deadline):
                pass
            return event
        finally:
            self._turn.release()

    def _handed_out(self) -> RecordedEvent | None:
        """The next of the events that are here already. Takes no turn: two threads never get the same one."""
        if self._closed or self._commits.over:
            return None
        try:
            event = self._last = self._ready.popleft()
        except IndexError:
            return None
        return event

    def _wait_for_events(self, deadline: float | None) -> bool:
        """Fetch the next events; False where none came in time, or none will come any more."""
        wait_s = _SHORTEST_WAIT_S
        while not (self._closed or self._commits.over):
            seen = self._commits.count
            page = self._read()
            if page:
                self._fetched = page[-1].position
                self._ready.extend(page)
                return True
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                wait_s = min(wait_s, left_s)
            self._commits.wait(seen, wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
        return False

    def _read(self) -> Sequence[RecordedEvent]:
        try:
            rows = self._fetch(self._fetched, _PAGE)
        except JournalError:
            if self._commits.over:  # the file was closed in the middle of reading
                return ()
            raise
        try:
            return self._decode(rows)
        except AntistropheError:
            # What stands before the one that can't be read comes first.
            return self._decode(rows[:1])
