"""Commands, events and projections: the public names of ``antistrophe.cqrs``.

A command goes in at the ``CommandBus``, and its handler returns events. The ``EventStore`` appends them to streams and
gives every event a position, one order over all streams. A ``ProjectionRegistry`` follows the store and keeps views up
to date. The steps of sagas write their events into the same store, and a handler may start a saga::

    command ──> CommandBus ──> handler ──> events ──> EventStore ──> projections
                                  └──────> saga ──> events ─┘

The rules:

- All events of a command are stored together with the answer of its idempotency key, or nothing is stored.
- The events are the truth. A projection can be made again from them at any time, and its state says how far it came.
- Events are never changed. ``VersionRegistry`` brings old ones up to date when they are read.
- Several processes may share one SQLite file, and several hosts one PostgreSQL database. A store in memory serves one
  process, without tables of projections.
- Sagas don't need this package: nothing below imports it.

Start reading in ``bus`` (a dispatch from end to end), then ``idempotency`` (keys and claims) with
``idempotency_sqlite`` or ``idempotency_postgres``, and ``same_command`` (a repetition after a release).
``callers_dispatch`` is a dispatch in a transaction of the application's own. On the other side ``projection`` says what
a projection is. ``projection_registry`` has all, ``follower`` keeps one of them up to date, and ``projection_builds``
and ``table_builds`` say how its state is kept: in what ``projection_rows`` and ``tables_sqlite`` write, or their
PostgreSQL variants. The event store is a wing of its own: ``antistrophe.eventstore``.
"""

from __future__ import annotations

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.follower import ProjectionMetadata
from antistrophe.cqrs.projection import Projection, ProjectionConnection, SavedProjection, SqlProjection, Tables
from antistrophe.cqrs.projection_registry import ProjectionRegistry
from antistrophe.cqrs.results import Appends
from antistrophe.definition.events import RawEvent, event
from antistrophe.errors import (
    CommandRejectedError,
    ConcurrencyError,
    CqrsError,
    DuplicateHandlerError,
    FieldError,
    HandlerNotFoundError,
    IdempotencyConflictError,
    InvalidUpcasterError,
    ProjectionNotFoundError,
    UnknownVersionError,
    ValidationError,
)
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.backend import EventBackend, StoreStats
from antistrophe.eventstore.recorded import RecordedEvent, Snapshot
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.store_transaction import StoreTransaction
from antistrophe.eventstore.subscription import Subscription
from antistrophe.eventstore.versions import Migration, VersionRegistry

__all__ = [
    "Appends",
    "AutoUpcaster",
    "CommandBus",
    "CommandRejectedError",
    "ConcurrencyError",
    "CqrsError",
    "DuplicateHandlerError",
    "EventBackend",
    "EventStore",
    "FieldError",
    "HandlerNotFoundError",
    "IdempotencyConflictError",
    "InvalidUpcasterError",
    "Migration",
    "Projection",
    "ProjectionConnection",
    "ProjectionMetadata",
    "ProjectionNotFoundError",
    "ProjectionRegistry",
    "RawEvent",
    "RecordedEvent",
    "SavedProjection",
    "Snapshot",
    "SqlProjection",
    "StoreStats",
    "StoreTransaction",
    "Subscription",
    "Tables",
    "UnknownVersionError",
    "ValidationError",
    "VersionRegistry",
    "event",
]
