"""Events, commands and projections around the sagas: the public names."""

from __future__ import annotations

from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.follower import ProjectionMetadata
from antistrophe.cqrs.projection import Projection, ProjectionConnection, SavedProjection, SqlProjection, Tables
from antistrophe.cqrs.projections import ProjectionRegistry
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
from antistrophe.eventstore.store import EventStore, StoreTransaction
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
