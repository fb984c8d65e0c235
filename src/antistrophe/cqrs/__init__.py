"""Events, commands and projections around the sagas: the public names."""

from __future__ import annotations

from antistrophe.cqrs.auto_upcaster import AutoUpcaster
from antistrophe.cqrs.backend import EventBackend, StoreStats
from antistrophe.cqrs.bus import CommandBus
from antistrophe.cqrs.follower import ProjectionMetadata
from antistrophe.cqrs.projection import Projection, ProjectionConnection, SavedProjection, SqlProjection, Tables
from antistrophe.cqrs.projections import ProjectionRegistry
from antistrophe.cqrs.recorded import RecordedEvent, Snapshot
from antistrophe.cqrs.results import Appends
from antistrophe.cqrs.store import EventStore, StoreTransaction
from antistrophe.cqrs.subscription import Subscription
from antistrophe.cqrs.versions import Migration, VersionRegistry
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
from antistrophe.events import RawEvent, event

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
