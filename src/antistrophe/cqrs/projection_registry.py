"""The projections of one event store, by name: follow them, read them, wait for them, rebuild them."""

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
from antistrophe.cqrs.projection_rows import ProjectionRows, SqliteProjectionRows
from antistrophe.cqrs.table_builds import TableBuildStore, TablePlace
from antistrophe.cqrs.tables_sqlite import SqliteTablePlace
from antistrophe.definition.validation import is_text
from antistrophe.errors import CqrsError, ProjectionNotFoundError
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore, is_postgres
from antistrophe.serialization.type_hints import short

_STOP_TIMEOUT_S = 30.0


class ProjectionRegistry:
    """Keeps projections up to date with an event store. Any thread may use it.

    Every projection has a thread of its own, and gets each event once and in order, from the first one on. A slow one
    delays no other, and one that fails is marked and stops alone. ``checkpoint_s``: how often, in seconds, the state of
    a projection with ``save`` is saved in the store's database; after a crash the events since then are applied again.

    ::

        with EventStore("events.db") as store, ProjectionRegistry(store) as registry:
            registry.register("balances", Balances)
            registry.start_subscription()
            store.append("A", [Credited("A", 5)])
            registry.wait_for("balances", store.head(), timeout_s=5)
            print(registry.get("balances").of["A"])
    """

    def __init__(self, store: EventStore, *, checkpoint_s: float = 1.0) -> None:
        if not checkpoint_s > 0:
            raise ValueError(f"checkpoint_s must be a number over 0, not {checkpoint_s!r}")
        self._store = store
        self._checkpoint_s = checkpoint_s
        self._lock = threading.RLock()  # a factory may use this registry to get another projection
        self._followers: dict[str, Follower] = {}
        self._subscribed = False

    def register(self, name: str, factory: Callable[[], Projection | SavedProjection | SqlProjection]) -> None:
        """Add a projection. ``factory`` makes an empty one, now and for every rebuild; its class will do.

        The projection begins where its saved state or its tables end, else before the first event. It follows from now
        on if the subscription is started. Raises CqrsError if the name is taken or empty, and if ``factory`` does not
        make a projection.
        """
        if not isinstance(name, str) or not name:
            raise CqrsError(f"the name of a projection must be a text of at least one character, not {name!r}")
        if not is_text(name):
            raise CqrsError(f"the name of a projection with a lone surrogate can't be stored: {name!a}")
        if not callable(factory):
            raise CqrsError(
                f"projection {name!r}: {short(factory)} can't be called: register a factory, such as the class of the"
                " projection; every rebuild makes a new projection with it"
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
        """Return the projection. After a rebuild it is another object. It gets events while you read it; use
        ``reading`` if that matters. Raises ProjectionNotFoundError."""
        return self._follower(name).projection

    def reading(self, name: str) -> AbstractContextManager[Any]:
        """``with registry.reading(name) as projection:`` holds all events back meanwhile, so be quick."""
        return self._follower(name).reading()

    def get_metadata(self, name: str) -> ProjectionMetadata:
        """How far the projection has come. Raises ProjectionNotFoundError."""
        return self._follower(name).metadata()

    def get_all_metadata(self) -> list[ProjectionMetadata]:
        """How far each projection has come, in the order of registration."""
        return [follower.metadata() for follower in self._all()]

    def wait_for(self, name: str, position: int, timeout_s: float | None = None) -> None:
        """Wait until a projection has the event at that position, to read what you have written.

        Raises TimeoutError after ``timeout_s`` seconds (None: no limit), CqrsError at once if the projection has failed
        before that position, or does not follow (``start_subscription`` was not called, or ``stop`` was), and
        ProjectionNotFoundError.
        """
        self._follower(name).wait_for(position, timeout_s)

    # --- following ---------------------------------------------------------------------------------------------

    def start_subscription(self) -> None:
        """Let all projections, and those that are registered later, catch up and then follow. Returns at once. A second
        call does nothing."""
        with self._lock:
            self._subscribed = True
            for follower in self._followers.values():
                follower.start()

    def stop(self, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        """Save every state and stop following; ``start_subscription`` goes on from there. Raises TimeoutError if a
        projection is still busy with an event after ``timeout_s`` seconds."""
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
        """Make a projection again from every event of the store. The old one answers until the new one is ready.

        A failed projection works again afterwards. Raises ProjectionNotFoundError, and CqrsError if the new one fails:
        then the old one stays.
        """
        follower = self._follower(name)
        follower.rebuild()
        with self._lock:
            if self._subscribed:
                follower.start()  # a projection that has failed does not follow any more

    def rebuild_all(self) -> None:
        """Rebuild every projection, one after another. If some fail, the others are rebuilt all the same, and one
        CqrsError at the end names those that failed."""
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

        kept = self._kept(name)
        if isinstance(sample, SqlProjection):
            if kept is None:
                raise CqrsError(
                    f"projection {name!r} keeps tables, and needs an event store in a SQLite file or in PostgreSQL for"
                    " them"
                )
            return TableBuildStore(self._store, kept[1], make)
        if not isinstance(sample, Projection):
            raise CqrsError(f"projection {name!r}: {short(sample)} has no method apply(recorded_event)")
        if isinstance(sample, SavedProjection) and kept is not None:
            return SavedBuildStore(kept[0], name, make)
        return MemoryBuildStore(make)

    def _kept(self, name: str) -> tuple[ProjectionRows, TablePlace] | None:
        """Where the rows and tables of a projection are; None where nothing outlives this process."""
        backend = self._store.backend
        if isinstance(backend, SqliteEvents):
            if backend.path is None:
                return None
            return SqliteProjectionRows(self._store), SqliteTablePlace(self._store, backend.path, name)
        if is_postgres(backend):
            from antistrophe.cqrs.projection_rows_postgres import PostgresProjectionRows  # needs psycopg, an extra
            from antistrophe.cqrs.tables_postgres import PostgresTablePlace

            return PostgresProjectionRows(backend), PostgresTablePlace(backend, name)
        return None
