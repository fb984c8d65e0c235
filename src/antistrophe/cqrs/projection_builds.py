"""One build of a projection: the object, the position that it has come to, and how it takes in events.

A projection has one build that answers; a rebuild makes another one beside it, and puts it in its place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from antistrophe.cqrs.projection import Projection, SavedProjection
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.storage.database import Database

_AT_ONCE = 64
"""So many events are taken in before others get a turn."""

_log = logging.getLogger("antistrophe.cqrs")

Factory = Callable[[], Any]


class ProjectionFault(Exception):  # noqa: N818 - never reaches an application: it becomes a text, or a CqrsError
    """The projection's own code failed; no fault of the store's."""

    def __init__(self, error: BaseException, event: RecordedEvent | None = None) -> None:
        where = "" if event is None else f" at position {event.position} ({event.type} of stream {event.stream!r})"
        super().__init__(f"{type(error).__name__}: {error}{where}")
        self.error = error


class Superseded(Exception):  # noqa: N818 - a signal: another process has put a rebuilt build in the place of this one
    """The build that answers is another one now."""


class Build(Protocol):
    """One build. ``position`` is that of the last event it holds; it may be read at any time, all else is called by
    one thread at a time."""

    projection: Any
    position: int

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Take in at least the first of the events (the first is the next one), as many as is sensible at a time.

        Raises ProjectionFault, with everything before the culprit taken in, and Superseded.
        """

    def keep(self) -> bool:
        """Write down state and position where that is not done by ``apply``; False where nothing had to be."""

    def publish(self) -> None:
        """From now on this is the build that answers, for who comes later and for other processes, too. Raises what
        ``apply`` does."""

    def overtaken(self) -> bool:
        """Whether a rebuild that another process began later is finished already."""


class BuildStore(Protocol):
    """Where the builds of one projection come from."""

    def current(self) -> Build:
        """The one that answers, as it was left; a new one at position 0 where there is none."""

    def fresh(self) -> Build:
        """A new one at position 0, for a rebuild."""

    def close(self) -> None:
        """Give back what is open; it is opened again when it is needed."""


# --- in memory ----------------------------------------------------------------------------------------------------


class MemoryBuild:
    """A projection that lives in memory only."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.position = 0

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        apply = self.projection.apply
        for event in events[:_AT_ONCE]:
            try:
                apply(event)
            except (Exception, SystemExit) as error:
                raise ProjectionFault(error, event) from error
            self.position = event.position

    def keep(self) -> bool:
        """See ``Build``."""
        return False

    def publish(self) -> None:
        """See ``Build``."""

    def overtaken(self) -> bool:
        """See ``Build``."""
        return False


class MemoryBuildStore:
    """Builds that begin at the first event, each time."""

    def __init__(self, factory: Factory) -> None:
        self._factory = factory

    def current(self) -> Build:
        """See ``BuildStore``."""
        return self.fresh()

    def fresh(self) -> Build:
        """See ``BuildStore``."""
        return MemoryBuild(self._factory())

    def close(self) -> None:
        """See ``BuildStore``."""


# --- in memory, written down from time to time ---------------------------------------------------------------------


class SavedBuild(MemoryBuild):
    """A projection in memory whose state is written, in one row with its position, to the store's file."""

    def __init__(self, builds: SavedBuildStore, projection: SavedProjection, generation: int) -> None:
        super().__init__(projection)
        self._builds = builds
        self._saved = projection
        self._kept = 0
        self._broken = False
        self.generation = generation

    def load(self, state: bytes, position: int) -> None:
        """Take over what was written down."""
        self._saved.load(unpack_payload(state, what="the state of the projection"))
        self.position = self._kept = position

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        try:
            super().apply(events)
        except BaseException:
            self._broken = True  # the culprit may have changed half of what it would have
            raise

    def keep(self) -> bool:
        """See ``Build``."""
        if self._broken or self.position == self._kept:
            return False
        self._builds.write(self, self._packed())
        self._kept = self.position
        return True

    def publish(self) -> None:
        """See ``Build``."""
        self._builds.write_rebuilt(self, self._packed())
        self._kept = self.position

    def _packed(self) -> bytes:
        try:
            return pack_payload(self._saved.save(), what="the state of the projection")
        except Exception as error:
            raise ProjectionFault(error) from error


class SavedBuildStore:
    """Builds that begin where the last one was written down."""

    def __init__(self, store: EventStore, name: str, factory: Factory) -> None:
        self._store = store
        self._name = name
        self._factory = factory

    def current(self) -> Build:
        """See ``BuildStore``."""
        with self._store.transaction() as transaction:
            row = row_of(_of(transaction.database), self._name)
        generation, position, state = row
        build = SavedBuild(self, self._factory(), generation)
        if state is None:
            return build
        try:
            build.load(state, position)
        except Exception as error:
            # The events are the truth: what was saved by other code than this is made again from them.
            _log.warning(
                "projection %r begins at the first event: its saved state can't be loaded: %r", self._name, error
            )
            return SavedBuild(self, self._factory(), generation)
        return build

    def fresh(self) -> Build:
        """See ``BuildStore``."""
        return SavedBuild(self, self._factory(), 0)

    def close(self) -> None:
        """See ``BuildStore``."""

    def write(self, build: SavedBuild, state: bytes) -> None:
        """Write down a build, unless a rebuilt one or a later state is there already (another process's)."""
        with self._store.transaction() as transaction:
            _of(transaction.database).execute(
                "UPDATE projections SET position = ?, state = ?, updated_at = ?"
                " WHERE name = ? AND generation = ? AND (position < ? OR state IS NULL)",
                (build.position, state, now_us(), self._name, build.generation, build.position),
            )

    def write_rebuilt(self, build: SavedBuild, state: bytes) -> None:
        """Write down a rebuilt build, whatever was there."""
        with self._store.transaction() as transaction:
            database = _of(transaction.database)
            row_of(database, self._name)
            database.execute(
                "UPDATE projections SET generation = last_generation + 1, last_generation = last_generation + 1,"
                " position = ?, state = ?, updated_at = ? WHERE name = ?",
                (build.position, state, now_us(), self._name),
            )
            build.generation = row_of(database, self._name)[0]


# --- the row of a projection --------------------------------------------------------------------------------------


def row_of(database: Database, name: str) -> tuple[int, int, bytes | None]:
    """Generation, position and state of a projection; its row is made where there is none. Call it in a transaction."""
    row = database.row("SELECT generation, position, state FROM projections WHERE name = ?", (name,))
    if row is None:
        database.execute(
            "INSERT INTO projections(name, generation, last_generation, position, updated_at) VALUES (?, 1, 1, 0, ?)",
            (name, now_us()),
        )
        row = (1, 0, None)
    generation, position, state = row
    return generation, position, state


def now_us() -> int:
    """The time as it is stored."""
    return time.time_ns() // 1000


def _of(database: Database | None) -> Database:
    assert database is not None  # build stores of this kind are made for stores in a SQLite file only
    return database
