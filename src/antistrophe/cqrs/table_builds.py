"""Builds of a projection whose state is in tables of the store's database, committed together with its position.

Every build has a generation, which is part of its tables' names. Processes share the tables of the generation that
answers: each process applies only the events that no other has applied. A rebuild fills tables of a new generation. The
tables that it replaces stay until the next rebuild, because other threads and processes may still read them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from antistrophe.cqrs.projection import SqlProjection, Tables
from antistrophe.cqrs.projection_builds import Build, Factory, ProjectionFault, Superseded
from antistrophe.cqrs.projection_rows import Row
from antistrophe.errors import CqrsError, JournalError
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore

_PAGE = 256


class OpenTables(Protocol):
    """A transaction on the row and the tables of one projection. No other process changes them until it ends."""

    @property
    def connection(self) -> Any:
        """What the projection's code gets."""

    @property
    def is_open(self) -> bool:
        """Whether the transaction still goes on; the projection's code may have ended it."""

    def row(self) -> Row:
        """The row of the projection. It is made if needed."""

    def advance(self, position: int) -> None:
        """The tables of the generation that answers have come to that position."""

    def answer_from(self, generation: int, position: int) -> None:
        """The tables of that generation answer from now on. They are at that position."""

    def next_generation(self) -> int:
        """Begin a generation."""

    def failure_of_the_database(self, error: BaseException) -> JournalError | None:
        """What to raise for an error if the database has failed; None where the projection's code is to blame."""


class TablePlace(Protocol):
    """Where the tables of one projection are."""

    hold_s: float
    """How long one transaction applies events."""

    rest: float
    """For which part of the time that it took no other transaction follows."""

    def transaction(self) -> AbstractContextManager[OpenTables]:
        """Open a transaction. The end commits it, an exception rolls it back."""

    def tables(self, generation: int) -> Tables:
        """The tables of a generation."""

    def drop_others(self, kept: set[int], up_to: int) -> None:
        """Drop the tables of older generations, those of unfinished rebuilds too, in a transaction of its own. Those of
        ``kept`` and of generations after ``up_to`` stay. What can't be dropped now is dropped by the next rebuild."""

    def close(self) -> None:
        """Close the connection of the queries. The next query opens it again."""


class TableBuild:
    """A projection with tables of its own. ``live``: its generation is the one that answers."""

    def __init__(self, builds: TableBuildStore, projection: SqlProjection, generation: int, position: int) -> None:
        self.projection = projection
        self.position = position
        self.generation = generation
        self.live = False
        self._builds = builds
        self._place = builds.place

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        fault: ProjectionFault | None = None
        began = time.monotonic()
        while events:
            before = self.position
            try:
                self._commit(events)
            except _RolledBack as stopped:
                # The whole transaction was rolled back. The events before the failing one are applied again.
                fault = stopped.fault
                events = events[: stopped.index]
                continue
            if fault is None or self.position <= before:
                break
            events = [event for event in events if event.position > self.position]
        if fault is not None:
            raise fault
        held_s = time.monotonic() - began
        if self._place.rest and held_s >= self._place.hold_s:
            time.sleep(held_s * self._place.rest)

    def checkpoint(self) -> bool:
        """See ``Build``."""
        return False

    def publish(self) -> None:
        """See ``Build``. The transaction keeps other builds from advancing: no event is missing that the replaced one
        has. Later events come to this one as they come to any build that answers."""
        with self._place.transaction() as tables:
            before, reached, _ = tables.row()
            if before > self.generation:
                raise Superseded
            position = self.position
            try:
                while position < reached and (events := self._builds.store.read(position, _PAGE)):
                    position = self._apply(tables, events, position, None)
            except _RolledBack as stopped:
                raise stopped.fault from stopped.__cause__
            tables.answer_from(self.generation, position)
        self.position = position
        self.live = True
        self._place.drop_others({before, self.generation}, self.generation)

    def superseded_by_rebuild(self) -> bool:
        """See ``Build``."""
        with self._place.transaction() as tables:
            return tables.row()[0] > self.generation

    def create(self, tables: OpenTables) -> None:
        """Let the projection create its tables, in the open transaction."""
        try:
            self.projection.create_in(tables.connection, self._place.tables(self.generation))
        except Exception as error:
            raise _problem(tables, error, None) from error

    def _commit(self, events: Sequence[RecordedEvent]) -> None:
        with self._place.transaction() as tables:
            begin = self.position
            if self.live:
                generation, begin, _ = tables.row()
                if generation != self.generation:
                    raise Superseded
                if begin < self.position:  # an older state of the database was put in place: apply events again
                    self.position = begin
                    return
            reached = self._apply(tables, events, begin, time.monotonic() + self._place.hold_s)
            if self.live and reached > begin:
                tables.advance(reached)
        self.position = reached

    @staticmethod
    def _checked(tables: OpenTables) -> None:
        if not tables.is_open:
            raise CqrsError("apply_in ended the transaction of the event; it must not commit or roll back")

    def _apply(self, tables: OpenTables, events: Sequence[RecordedEvent], reached: int, until: float | None) -> int:
        """Apply the events behind ``reached`` in the open transaction. Returns the position of the last one."""
        connection = tables.connection
        for index, event in enumerate(events):
            if event.position <= reached:
                continue
            try:
                if not event.erased:
                    self.projection.apply_in(connection, event)
                self._checked(tables)
            except (Exception, SystemExit) as error:
                problem = _problem(tables, error, event)
                if isinstance(problem, ProjectionFault):
                    raise _RolledBack(index, problem) from error
                raise problem from error
            reached = event.position
            if until is not None and time.monotonic() > until:
                break
        return reached


class _RolledBack(Exception):  # noqa: N818 - leaves the transaction, which rolls it back, and tells which event failed
    def __init__(self, index: int, fault: ProjectionFault) -> None:
        super().__init__(str(fault))
        self.index = index
        self.fault = fault


class TableBuildStore:
    """Makes builds that begin at the position of the committed tables."""

    def __init__(self, store: EventStore, place: TablePlace, factory: Factory) -> None:
        self.store = store
        self.place = place
        self._factory = factory

    def current(self) -> Build:
        """See ``BuildStore``."""
        projection = self._factory()
        with self.place.transaction() as tables:
            generation, position, state = tables.row()
            if state is not None:  # this projection was a SavedProjection before, and has no tables
                generation, position = tables.next_generation(), 0
                tables.answer_from(generation, position)
            build = TableBuild(self, projection, generation, position)
            build.create(tables)
        build.live = True
        return build

    def fresh(self) -> Build:
        """See ``BuildStore``."""
        projection = self._factory()
        with self.place.transaction() as tables:
            tables.row()
            build = TableBuild(self, projection, tables.next_generation(), 0)
            build.create(tables)
        return build

    def close(self) -> None:
        """Close the connection of the queries. The next query opens it again."""
        self.place.close()


def _problem(tables: OpenTables, error: BaseException, event: RecordedEvent | None) -> Exception:
    """What to raise for an error from a projection's code: the projection may have failed, or the database."""
    return tables.failure_of_the_database(error) or ProjectionFault(error, event)
