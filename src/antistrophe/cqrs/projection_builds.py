"""Builds of a projection: an object that the application's factory made, and the events that it has been given.

One build of a projection answers its readers. A rebuild makes another build beside it, from every event, and then lets
the new build answer instead. A build store makes the builds, and knows where an earlier one has saved its state.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from antistrophe.cqrs.projection import Projection, SavedProjection
from antistrophe.cqrs.projection_rows import ProjectionRows
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.exception_text import name_and_text
from antistrophe.serialization.payload import pack_payload, unpack_payload

_AT_ONCE = 64
"""How many events are applied before readers may go ahead."""

_log = logging.getLogger("antistrophe.cqrs")

Factory = Callable[[], Any]


class ProjectionFault(Exception):  # noqa: N818 - never reaches an application: it becomes a text, or a CqrsError
    """The code of the projection failed, not the store."""

    def __init__(self, error: BaseException, event: RecordedEvent | None = None) -> None:
        where = "" if event is None else f" at position {event.position} ({event.type} of stream {event.stream!r})"
        super().__init__(f"{name_and_text(error)}{where}")
        self.error = error


class Superseded(Exception):  # noqa: N818 - a signal: another process has rebuilt the projection
    """Another build answers now."""


class Build(Protocol):
    """One build. ``position`` is that of the last event it has been given. Any thread may read it at any time; the
    methods are called by one thread at a time."""

    projection: Any
    position: int

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """Apply the first of the events, and as many of the others as go well together. The first is the one that
        follows ``position``.

        Raises ProjectionFault when the projection fails; the events before the failing one are applied then. Raises
        Superseded when another build answers.
        """

    def checkpoint(self) -> bool:
        """Save state and position, unless ``apply`` has saved them. False if there was nothing to save."""

    def publish(self) -> None:
        """Let this build answer from now on, in other processes too. Raises what ``apply`` raises."""

    def superseded_by_rebuild(self) -> bool:
        """Whether another process has begun a rebuild after this one and has finished it."""


class BuildStore(Protocol):
    """Makes the builds of one projection."""

    def current(self) -> Build:
        """Make the build that answers, with the state and position that were saved, or at position 0."""

    def fresh(self) -> Build:
        """Make a build at position 0, for a rebuild."""

    def close(self) -> None:
        """Close open connections. They are opened again when they are needed."""


# --- in memory ----------------------------------------------------------------------------------------------------


class MemoryBuild:
    """A projection whose state is in memory only."""

    def __init__(self, projection: Projection) -> None:
        self.projection = projection
        self.position = 0

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        apply = self.projection.apply
        for event in events[:_AT_ONCE]:
            try:
                if not event.erased:
                    apply(event)
            except (Exception, SystemExit) as error:
                raise ProjectionFault(error, event) from error
            self.position = event.position

    def checkpoint(self) -> bool:
        """See ``Build``."""
        return False

    def publish(self) -> None:
        """See ``Build``."""

    def superseded_by_rebuild(self) -> bool:
        """See ``Build``."""
        return False


class MemoryBuildStore:
    """Makes builds that begin at the first event."""

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


# --- in memory, saved from time to time ---------------------------------------------------------------------------


class SavedBuild(MemoryBuild):
    """A projection in memory whose state is saved in the store's database, in one row with its position."""

    def __init__(self, builds: SavedBuildStore, projection: SavedProjection, generation: int) -> None:
        super().__init__(projection)
        self._builds = builds
        self._projection = projection
        self._saved_position = 0
        self._broken = False
        self.generation = generation

    def load(self, state: bytes, position: int) -> None:
        """Take over a saved state."""
        self._projection.load(unpack_payload(state, what="the state of the projection"))
        self.position = self._saved_position = position

    def apply(self, events: Sequence[RecordedEvent]) -> None:
        """See ``Build``."""
        try:
            super().apply(events)
        except BaseException:
            self._broken = True  # the failing event may have changed half of the state
            raise

    def checkpoint(self) -> bool:
        """See ``Build``."""
        if self._broken or self.position == self._saved_position:
            return False
        self._builds.write(self, self._packed())
        self._saved_position = self.position
        return True

    def publish(self) -> None:
        """See ``Build``."""
        self._builds.write_rebuilt(self, self._packed())
        self._saved_position = self.position

    def _packed(self) -> bytes:
        try:
            return pack_payload(self._projection.save(), what="the state of the projection")
        except Exception as error:
            raise ProjectionFault(error) from error


class SavedBuildStore:
    """Makes builds that begin at the last checkpoint."""

    def __init__(self, rows: ProjectionRows, name: str, factory: Factory) -> None:
        self._rows = rows
        self._name = name
        self._factory = factory

    def current(self) -> Build:
        """See ``BuildStore``."""
        generation, position, state = self._rows.read(self._name)
        build = SavedBuild(self, self._factory(), generation)
        if state is None:
            return build
        try:
            build.load(state, position)
        except Exception as error:
            # Other code than this saved the state. The events are the truth, and are applied again.
            _log.warning(
                "projection %r begins at the first event, because its saved state can't be loaded: %r",
                self._name,
                error,
            )
            return SavedBuild(self, self._factory(), generation)
        return build

    def fresh(self) -> Build:
        """See ``BuildStore``."""
        return SavedBuild(self, self._factory(), 0)

    def close(self) -> None:
        """See ``BuildStore``."""

    def write(self, build: SavedBuild, state: bytes) -> None:
        """Save a build, unless another process has saved a rebuilt one or a later state."""
        self._rows.save(self._name, build.generation, build.position, state)

    def write_rebuilt(self, build: SavedBuild, state: bytes) -> None:
        """Save a rebuilt build over any saved state."""
        build.generation = self._rows.save_rebuilt(self._name, build.position, state)
