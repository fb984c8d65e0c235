"""The projections of one event store, by name: followed, looked at, waited for, rebuilt."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from antistrophe.cqrs.follower import Follower, ProjectionMetadata
from antistrophe.cqrs.projection import Projection, SavedProjection, SqlProjection
from antistrophe.cqrs.projection_builds import BuildStore, MemoryBuildStore, SavedBuildStore
from antistrophe.cqrs.table_builds import TableBuildStore
from antistrophe.errors import CqrsError, ProjectionNotFoundError
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.serialization.type_hints import short

_STOP_TIMEOUT_S = 30.0


class ProjectionRegistry:
    """Keeps projections up to date with an event store. Any thread may use it.

    Every projection gets each event once and in order, from the first one on, in a thread of its own: a slow one makes
    nobody wait, and one that fails is marked and stops alone. ``checkpoint_s``: how often, in seconds, the state of a
    projection with ``save`` is written to the store's file; events since then are taken in again after a crash.
    """

    def __init__(self, store: EventStore, *, checkpoint_s: float = 1.0) -> None:
        if not checkpoint_s > 0:
            raise ValueError(f"checkpoint_s must be a number over 0, not {checkpoint_s!r}")
        self._store = store
        self._checkpoint_s = checkpoint_s
        self._lock = threading.RLock()  # a factory may ask this registry for another projection
        self._followers: dict[str, Follower] = {}
        self._subscribed = False

    def register(self, name: str, factory: Callable[[], Projection | SavedProjection | SqlProjection]) -> None:
        """Add a projection: ``factory`` (its class will do) makes an empty one, now and for every rebuild.

        It begins where its saved state or its tables end, else before the first event, and follows from now on if the
        subscription is started. Raises CqrsError on a name that is taken, and for what is no projection.
        """
        if not isinstance(name, str) or not name:
            raise CqrsError(f"a projection is named by a text that is not empty, not by {name!r}")
        if not callable(factory):
            raise CqrsError(
                f"projection {name!r}: {short(factory)} can't be called: register what makes a projection, such as its"
                " class, and not a projection; every rebuild needs a new one"
            )
        with self._lock:
            if name in self._followers:
                raise CqrsError(f"there is a projection {name!r} already: choose another name")
            follower = Follower(name, self._store, self._build_store(name, factory), self._checkpoint_s)
            self._followers[name] = follower
            if self._subscribed:
                follower.start()

    @property
    def count(self) -> int:
        """How many projections are registered."""
        return len(self._followers)

    # --- looking -----------------------------------------------------------------------------------------------

    def get(self, name: str) -> Any:
        """The projection as it is; after a rebuild it is another object. It goes on taking in events while you look:
        where that matters use ``reading``. Raises ProjectionNotFoundError."""
        return self._follower(name).projection

    def reading(self, name: str) -> AbstractContextManager[Any]:
        """``with registry.reading(name) as projection:`` it takes in no event meanwhile, so be quick."""
        return self._follower(name).reading()

    def get_metadata(self, name: str) -> ProjectionMetadata:
        """Where it stands. Raises ProjectionNotFoundError."""
        return self._follower(name).metadata()

    def get_all_metadata(self) -> list[ProjectionMetadata]:
        """Where all of them stand, in the order in which they were registered."""
        return [follower.metadata() for follower in self._all()]

    def wait_for(self, name: str, position: int, timeout_s: float | None = None) -> None:
        """Wait until a projection holds the event at that position, to read what you have written.

        Raises TimeoutError after ``timeout_s`` seconds (None: no limit), CqrsError at once where the projection has
        failed before it came there, and ProjectionNotFoundError.
        """
        self._follower(name).wait_for(position, timeout_s)

    # --- following ---------------------------------------------------------------------------------------------

    def start_subscription(self) -> None:
        """Let all projections, and those that are registered later, catch up and then follow. Comes back at once; a
        second time does nothing."""
        with self._lock:
            self._subscribed = True
            for follower in self._followers.values():
                follower.start()

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Stop following, with every state saved; ``start_subscription`` goes on from there. Raises TimeoutError where
        a projection still takes in an event after ``timeout_s`` seconds."""
        with self._lock:
            self._subscribed = False
            followers = list(self._followers.values())
        for follower in followers:
            follower.tell_to_stop()
        deadline = time.monotonic() + timeout_s
        late = [follower.name for follower in followers if not follower.stop(deadline)]
        if late:
            raise TimeoutError(f"still busy with an event after {timeout_s} s: projection {', '.join(map(repr, late))}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    # --- rebuilding --------------------------------------------------------------------------------------------

    def rebuild(self, name: str) -> None:
        """Make a projection anew from every event of the store, while the old one answers, then put it in its place.

        A failed projection is in order again afterwards. Raises ProjectionNotFoundError, and CqrsError where the new
        one fails: then the old one stays.
        """
        follower = self._follower(name)
        follower.rebuild()
        with self._lock:
            if self._subscribed:
                follower.start()  # it had stopped if it had failed

    def rebuild_all(self) -> None:
        """Rebuild every projection, one after another; those that fail do not keep the others from it, and are named
        in one CqrsError at the end."""
        failures: list[CqrsError] = []
        for follower in self._all():
            try:
                self.rebuild(follower.name)
            except CqrsError as error:
                failures.append(error)
        if failures:
            raise CqrsError("; ".join(map(str, failures))) from failures[0]

    def _all(self) -> list[Follower]:
        with self._lock:
            return list(self._followers.values())

    def _follower(self, name: str) -> Follower:
        follower = self._followers.get(name)
        if follower is None:
            known = ", ".join(map(repr, self._followers)) or "none"
            raise ProjectionNotFoundError(f"there is no projection {name!r}; registered: {known}")
        return follower

    def _build_store(self, name: str, factory: Callable[[], Any]) -> BuildStore:
        sample = factory()
        unused = [sample]

        def make() -> Any:
            return unused.pop() if unused else factory()

        backend = self._store.backend
        file = backend.path if isinstance(backend, SqliteEvents) else None
        if isinstance(sample, SqlProjection):
            if file is None:
                raise CqrsError(f"projection {name!r} keeps tables, and needs an event store in a SQLite file for them")
            return TableBuildStore(self._store, file, name, make)
        if not isinstance(sample, Projection):
            raise CqrsError(f"projection {name!r}: {short(sample)} has no method apply(recorded_event)")
        if isinstance(sample, SavedProjection) and file is not None:
            return SavedBuildStore(self._store, name, make)
        return MemoryBuildStore(make)
