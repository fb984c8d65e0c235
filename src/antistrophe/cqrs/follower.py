"""Keep one projection up to date in a thread of its own: catch up, follow, and rebuild while the old build answers."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from antistrophe.cqrs.fair_lock import FairLock
from antistrophe.cqrs.projection_builds import Build, BuildStore, ProjectionFault, Superseded
from antistrophe.errors import AntistropheError, CqrsError, JournalError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.subscription import Subscription
from antistrophe.exception_text import name_and_text
from antistrophe.fast_dataclass import dataclass

_PAGE = 512
_LONGEST_WAIT_S = 30.0
_RETRY_S = 0.5
"""How long to wait before the next attempt after the file has failed."""

_log = logging.getLogger("antistrophe.cqrs")


@dataclass(frozen=True, slots=True)
class ProjectionMetadata:
    """How far a projection has come.

    ``position`` is that of the last event it holds (0: none), and ``updated_at`` is when it got that event (aware, UTC;
    None: not in this process). ``rebuilding`` says whether a rebuild runs, ``failed`` why the projection has failed (a
    text, or None), and ``lag`` how many positions it is behind the store.
    """

    name: str
    position: int
    updated_at: datetime | None
    rebuilding: bool
    failed: str | None
    lag: int


class Follower:
    """One registered projection. Any thread may call any method at any time."""

    def __init__(self, name: str, store: EventStore, builds: BuildStore, checkpoint_s: float) -> None:
        self.name = name
        self._store = store
        self._builds = builds
        self._checkpoint_s = checkpoint_s
        self._build = builds.current()
        self._fair_lock = FairLock()
        self._changed = threading.Condition()
        self._waiters = 0
        self._updated_at: float | None = None
        self._fault: str | None = None  # why the build that answers has failed for good
        self._rebuild_fault: str | None = None  # why the last rebuild has failed
        self._trouble: str | None = None  # why the file fails now; the follower tries again
        self._rebuilds = 0
        self._rebuild_lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._thread_lock = threading.Lock()
        self._stopping = threading.Event()
        self._followed = False  # whether the thread was started, and neither it nor the store was stopped since
        self._waiting: Subscription | None = None

    # --- asking ------------------------------------------------------------------------------------------------

    @property
    def projection(self) -> Any:
        """The projection of the build that answers."""
        return self._build.projection

    @contextmanager
    def reading(self) -> Iterator[Any]:
        """Give the projection that answers. It gets no event inside the ``with``."""
        with self._fair_lock.first():
            yield self._build.projection

    def metadata(self) -> ProjectionMetadata:
        """How far the projection has come. Does not wait for the follower."""
        position, updated_at = self._build.position, self._updated_at
        return ProjectionMetadata(
            name=self.name,
            position=position,
            updated_at=None if updated_at is None else datetime.fromtimestamp(updated_at, UTC),
            rebuilding=self._rebuilds > 0,
            failed=self._fault or self._rebuild_fault or self._trouble,
            lag=max(0, self._store.head() - position),
        )

    def wait_for(self, position: int, timeout_s: float | None) -> None:
        """Wait until the projection has the event at that position, or can't come there any more."""
        with self._changed:
            self._waiters += 1
            try:
                self._changed.wait_for(
                    lambda: self._build.position >= position or self._fault is not None or not self._followed, timeout_s
                )
            finally:
                self._waiters -= 1
            if self._build.position >= position:
                return
            if self._fault is not None:
                raise CqrsError(
                    f"projection {self.name!r} has failed and will not come to position {position}: {self._fault}"
                )
            if not self._followed:
                why = "the store is closed" if self._store.closed else "call start_subscription() first"
                raise CqrsError(
                    f"projection {self.name!r} is at position {self._build.position} and does not follow its store, so"
                    f" it will not come to position {position}: {why}"
                )
        raise TimeoutError(
            f"projection {self.name!r} is at position {self._build.position} after {timeout_s} s, and not at {position}"
        )

    # --- following ---------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to follow, unless the thread runs already."""
        while True:
            with self._thread_lock:
                thread = self._thread
                if thread is None or not thread.is_alive():
                    self._stopping.clear()
                    self._followed = True
                    self._thread = threading.Thread(target=self._run, name=f"projection-{self.name}", daemon=True)
                    self._thread.start()
                    return
                if thread is threading.current_thread():
                    self._stopping.clear()
                if not self._stopping.is_set():
                    return
            thread.join()

    def tell_to_stop(self) -> None:
        """Apply no further event. Does not wait for the one that is being applied."""
        self._stopping.set()
        waiting = self._waiting
        if waiting is not None:
            waiting.close()

    def stop(self, deadline: float) -> bool:
        """Wait until the thread has saved its state and ended. False if it has not by the deadline."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                return False
        self._builds.close()
        return True

    def _run(self) -> None:
        while True:
            self._follow()
            self._checkpoint_at_the_end()
            with self._thread_lock:
                # A rebuild may have replaced the failed build meanwhile, and did not start a thread beside this one.
                if not self._goes_on():
                    self._thread = None
                    if self._fault is None:
                        self._end_waits()
                    return

    def _end_waits(self) -> None:
        with self._changed:
            self._followed = False
            self._changed.notify_all()

    def _goes_on(self) -> bool:
        return not self._stopping.is_set() and self._fault is None and not self._store.closed

    def _follow(self) -> None:
        saved_at, saved = time.monotonic(), self._build.position
        superseded = False
        while self._goes_on():
            try:
                if superseded:
                    self._use_current()
                    superseded = False
                self._advance(math.inf if self._build.position == saved else saved_at + self._checkpoint_s)
                if time.monotonic() >= saved_at + self._checkpoint_s:
                    self._checkpoint()
                    saved_at, saved = time.monotonic(), self._build.position
                self._trouble = None
            except Superseded:
                superseded = True
            except JournalError as error:
                self._trouble = str(error)
                self._stopping.wait(_RETRY_S)
            except ProjectionFault as fault:
                self._fail(str(fault))
            except BaseException as error:
                if not self._store.closed:
                    self._fail(name_and_text(error))

    def _advance(self, until: float) -> None:
        """Apply the next events. If there are none, wait for one until then."""
        build = self._build
        events = _next_events(self._store, build.position)
        if not events:
            events = self._wait_for_one(build, until)
        self._apply(build, events)

    def _wait_for_one(self, build: Build, until: float) -> list[RecordedEvent]:
        with self._store.subscribe(build.position) as waiting:
            self._waiting = waiting
            if self._stopping.is_set() or self._build is not build:
                return []
            event = waiting.poll(min(max(0.0, until - time.monotonic()), _LONGEST_WAIT_S))
            return [] if event is None else [event]

    def _apply(self, build: Build, events: Sequence[RecordedEvent]) -> None:
        while events and not self._stopping.is_set():
            with self._fair_lock.last():
                if self._build is not build:  # a rebuild has replaced it, and has a position of its own
                    return
                before = build.position
                try:
                    build.apply(events)
                finally:
                    if build.position > before:
                        self._notify()
            if build.position <= before:
                return
            events = [event for event in events if event.position > build.position]

    def _notify(self) -> None:
        self._updated_at = time.time()
        if self._waiters:
            with self._changed:
                self._changed.notify_all()

    def _fail(self, text: str) -> None:
        _log.error("projection %r has failed and is not kept up to date any more: %s", self.name, text)
        with self._changed:
            self._fault = text
            self._changed.notify_all()

    def _checkpoint(self) -> None:
        with self._fair_lock.last():
            self._build.checkpoint()

    def _checkpoint_at_the_end(self) -> None:
        if self._store.closed:
            return
        try:
            self._checkpoint()
        except (AntistropheError, ProjectionFault) as error:
            # Nothing is lost: the next process applies the events since the last checkpoint again.
            _log.warning("the state of projection %r could not be saved: %s", self.name, error)

    def _use_current(self) -> None:
        """Go on with the build that answers now: another process has rebuilt the projection."""
        current = self._builds.current()
        with self._fair_lock.last():
            self._replace(current)

    # --- rebuilding --------------------------------------------------------------------------------------------

    def rebuild(self) -> None:
        """Make a new build from every event, and then let it answer instead of the old one.

        Raises CqrsError if the projection fails, or if an event can't be read. Then the old build stays.
        """
        with self._changed:
            self._rebuilds += 1
        try:
            with self._rebuild_lock:
                self._rebuild()
                self._rebuild_fault = None
        except ProjectionFault as fault:
            self._rebuild_fault = f"the rebuild failed: {fault}"
            raise CqrsError(f"projection {self.name!r} could not be rebuilt: {fault}") from fault.error
        except CqrsError as error:
            self._rebuild_fault = f"the rebuild failed: {error}"
            raise
        finally:
            with self._changed:
                self._rebuilds -= 1

    def _rebuild(self) -> None:
        fresh = self._builds.fresh()
        if fresh.projection is self._build.projection:
            raise CqrsError(
                f"projection {self.name!r} can't be rebuilt: its factory returned the same object again; it must make"
                " a new one each time"
            )
        try:
            _catch_up(fresh, self._store)
            with self._fair_lock.first():
                _catch_up(fresh, self._store)
                fresh.publish()
                self._replace(fresh)
        except (ProjectionFault, Superseded):
            if not fresh.superseded_by_rebuild():
                raise
            self._use_current()

    def _replace(self, build: Build) -> None:
        with self._changed:
            self._build = build
            self._fault = None
            self._updated_at = time.time()
            self._changed.notify_all()


def _next_events(store: EventStore, position: int) -> list[RecordedEvent]:
    try:
        return store.read(position, _PAGE)
    except CqrsError:
        # Some event of the page can't be read. The events before it come first.
        return store.read(position, 1)


def _catch_up(build: Build, store: EventStore) -> None:
    """Apply every event that is stored so far, and can be read in order."""
    head = store.head()
    while build.position < head:
        events = _next_events(store, build.position)
        if not events:  # the next one waits for a transaction before it
            return
        while events:
            build.apply(events)
            events = [event for event in events if event.position > build.position]
