"""Follow an event store from any position: get each event once, in order, soon after its commit."""

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
"""How long a reader waits before it looks for commits of other processes: short after an event, then longer. A backend
may set another limit."""

Fetch = Callable[[int, int], Sequence[StoredEvent]]
Decode = Callable[[Sequence[StoredEvent]], Sequence[RecordedEvent]]


class Commits:
    """Tells the readers in this process that there was a commit, or that the store is closed. Of the readers that wait
    behind the same position one looks for commits of other processes, for all of them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._looked_behind: set[int] = set()
        self.count = 0
        self.over = False

    def tell(self) -> None:
        """Tell of a commit. This never waits for a reader."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Tell that the store is closed."""
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Let every waiting reader look again."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, seen: int, timeout_s: float) -> None:
        """Wait until ``tell`` was called more than ``seen`` times, at most ``timeout_s`` seconds. May return early."""
        with self._changed:
            if self.count == seen and not self.over:
                self._changed.wait(timeout_s)

    def look_out(self, position: int, seen: int, deadline: float | None, closed: Callable[[], bool]) -> bool:
        """Wait to be the reader that looks for all who wait behind that position; tell them what it finds, and call
        ``leave``. False where ``tell`` was called more than ``seen`` times meanwhile, or there is no more to wait."""
        with self._changed:
            while self.count == seen and not self.over and not closed():
                if position not in self._looked_behind:
                    self._looked_behind.add(position)
                    return True
                left_s = None if deadline is None else deadline - time.monotonic()
                if left_s is not None and left_s <= 0:
                    return False
                self._changed.wait(left_s)
            return False

    def leave(self, position: int) -> None:
        """Let another reader look for those who wait behind that position."""
        with self._changed:
            self._looked_behind.discard(position)
            self._changed.notify_all()


class Subscription:
    """An iterator over the events behind a position, which waits for new ones. It ends when it or its store is closed.

    ::

        with store.subscribe(from_position=last_seen) as subscription:
            for recorded in subscription:
                print(recorded.position, recorded.event)

    An event comes only after its commit. Several threads may share one subscription, and each event goes to one of
    them, in order of position; for every event in every thread make one subscription per thread. A slow reader delays
    nobody. An event that can't be read (one of a newer version, for instance) raises, and raises again at the next
    attempt: no event is skipped.
    """

    def __init__(
        self,
        fetch: Fetch,
        decode: Decode,
        commits: Commits,
        from_position: int,
        longest_wait_s: float = _LONGEST_WAIT_S,
    ) -> None:
        self._fetch = fetch
        self._decode = decode
        self._commits = commits
        self._longest_wait_s = longest_wait_s
        self._reader = threading.Lock()
        self._ready: deque[RecordedEvent] = deque()
        self._closed = False
        self._from_position = self._fetched = from_position
        self._last: RecordedEvent | None = None

    @property
    def position(self) -> int:
        """The position of the last event that a reader got; at first the position to start behind."""
        return self._from_position if self._last is None else self._last.position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> RecordedEvent:
        event = self._fetched_event() or self._next(None)
        if event is None:
            raise StopIteration
        return event

    def poll(self, timeout_s: float = 0.0) -> RecordedEvent | None:
        """Return the next event. None if none comes within ``timeout_s`` seconds, or if the subscription has ended."""
        return self._fetched_event() or self._next(time.monotonic() + timeout_s)

    def close(self) -> None:
        """End the subscription. Readers that wait for an event stop waiting."""
        self._closed = True
        self._commits.wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _next(self, deadline: float | None) -> RecordedEvent | None:
        if not self._reader.acquire(timeout=-1 if deadline is None else max(0.0, deadline - time.monotonic())):
            return None
        try:
            # Look again after each wait, because another thread may have taken all events that came.
            while (event := self._fetched_event()) is None and self._wait_for_events(deadline):
                pass
            return event
        finally:
            self._reader.release()

    def _fetched_event(self) -> RecordedEvent | None:
        """Take the next event that is fetched already. No lock is needed: two threads never get the same one."""
        if self._closed or self._commits.over:
            return None
        try:
            event = self._last = self._ready.popleft()
        except IndexError:
            return None
        return event

    def _wait_for_events(self, deadline: float | None) -> bool:
        """Fetch the next events. False if none came in time, or if the subscription has ended."""
        position, looks_out = self._fetched, False
        wait_s = _SHORTEST_WAIT_S
        before = -1
        try:
            while not (self._closed or self._commits.over):
                seen = self._commits.count
                if self._fetch_page():
                    if looks_out and seen == before:  # another process has committed, and nobody has told of it
                        self._commits.tell()
                    return True
                before = seen
                if deadline is not None and deadline <= time.monotonic():
                    return False
                looks_out = looks_out or self._commits.look_out(position, seen, deadline, lambda: self._closed)
                if looks_out:
                    left_s = wait_s if deadline is None else deadline - time.monotonic()
                    self._commits.wait(seen, max(0.0, min(wait_s, left_s)))
                    wait_s = min(wait_s * 2, self._longest_wait_s)
            return False
        finally:
            if looks_out:
                self._commits.leave(position)

    def _fetch_page(self) -> bool:
        page = self._read()
        if page:
            self._fetched = page[-1].position
            self._ready.extend(page)
        return bool(page)

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
            # Some event of the page can't be read. The events before it come first.
            return self._decode(rows[:1])
