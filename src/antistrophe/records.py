"""What monitoring shows of a saga, its steps and the system's processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class SagaStatus(str, Enum):
    """Where a saga stands. COMPLETED and COMPENSATED are final; FAILED waits for an operator."""

    NOT_STARTED = "not_started"
    EXECUTING = "executing"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"

    @property
    def running(self) -> bool:
        """True while the system works on the saga (or will, as soon as it may)."""
        return self in (SagaStatus.EXECUTING, SagaStatus.COMPENSATING)

    @property
    def final(self) -> bool:
        """True where nothing can change any more."""
        return self in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


class StepStatus(str, Enum):
    """Where one step of a saga stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"
    COMPENSATING = "compensating"
    COMPENSATED = "compensated"
    COMPENSATION_FAILED = "compensation_failed"
    SKIPPED = "skipped"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One step as monitoring shows it. ``attempts`` counts attempts of ``execute``; ``pid`` is that of the last
    attempt's process; ``in_doubt`` says that nobody knows whether the step took effect; ``undo_failures`` how often its
    compensation has failed until now, an operator's retries included."""

    name: str
    index: int
    status: StepStatus
    attempts: int
    in_doubt: bool
    started_at: datetime | None
    finished_at: datetime | None
    error: str | None
    pid: int | None
    undo_failures: int = 0


@dataclass(frozen=True, slots=True)
class SagaMetadata:
    """One saga as monitoring shows it; times are aware and UTC. ``waiting`` says why it does not move, or None."""

    id: str
    name: str
    status: SagaStatus
    steps_executed: int
    total_steps: int
    created_at: datetime
    updated_at: datetime
    error: str | None = None
    waiting: str | None = None
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class SagaPage:
    """A part of a list of sagas, newest first; ``cursor`` asks for the next part (None: this was the last). Iterates,
    has a length and takes an index, as a list does."""

    sagas: tuple[SagaMetadata, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[SagaMetadata]:
        return iter(self.sagas)

    def __len__(self) -> int:
        return len(self.sagas)

    def __getitem__(self, index: int) -> SagaMetadata:
        return self.sagas[index]


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process of the actor system. ``role``: launcher, admin, logger, supervisor, registry, saga, step or idle
    (a process in reserve); ``saga_id`` where it works for one."""

    pid: int
    role: str
    saga_id: str | None = None


@dataclass(frozen=True, slots=True)
class SagaChange:
    """One lifecycle change of a saga: the journal ``position`` it was committed at and what is true since."""

    position: int
    saga: SagaMetadata


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One journal entry of a saga: its global ``position``, ``seq`` within the saga (from 1), time, kind and data."""

    position: int
    seq: int
    at: datetime
    kind: str
    data: dict[str, object]
