"""The records that monitoring shows: of a saga, of its steps, and of the processes of the system."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from enum import Enum

from antistrophe.fast_dataclass import dataclass


class SagaStatus(str, Enum):
    """Where a saga stands. COMPLETED and COMPENSATED are final; a FAILED saga waits for an operator.

    A member is a text, too: ``SagaStatus.COMPLETED == "completed"``.
    """

    NOT_STARTED = "not_started"
    EXECUTING = "executing"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    FAILED = "failed"

    @property
    def running(self) -> bool:
        """True while the system works on the saga, or will as soon as a limit lets it."""
        return self in (SagaStatus.EXECUTING, SagaStatus.COMPENSATING)

    @property
    def final(self) -> bool:
        """True where nothing about the saga can change any more."""
        return self in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED)


class StepStatus(str, Enum):
    """Where one step of a saga stands. SKIPPED: the saga turned back before this step began. RESOLVED: an operator has
    closed it by hand."""

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
    """One step of a saga as monitoring shows it.

    ``index`` counts from 0. ``attempts``: how many attempts of ``execute`` there were. ``in_doubt``: True where nobody
    knows whether the step took effect. ``started_at`` and ``finished_at``: aware datetimes in UTC. ``error``: a text.
    ``pid``: the process of the last attempt. ``undo_failures``: how often the compensation has failed until now, with
    an operator's retries. ``host``: the name of the host of the last attempt; None where the journal is a file of the
    home, which has one host.
    """

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
    host: str | None = None


@dataclass(frozen=True, slots=True)
class SagaMetadata:
    """One saga as monitoring shows it.

    ``steps_executed`` of ``total_steps`` have succeeded. ``created_at`` and ``updated_at`` are aware datetimes in UTC.
    ``error`` is the text of what went wrong, and ``waiting`` says why the saga does not move; both may be None.
    ``host``: the name of the host that owns the saga; None where none does, and where the journal is a file.
    """

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
    host: str | None = None


@dataclass(frozen=True, slots=True)
class SagaPage:
    """A part of a list of sagas, newest first. It iterates, has a length and takes an index, as a list does.

    ``cursor`` asks for the next part; None says that this part is the last::

        page = orchestrator.list_sagas(limit=100)
        while page.cursor is not None:
            page = orchestrator.list_sagas(limit=100, cursor=page.cursor)
    """

    sagas: tuple[SagaMetadata, ...]
    cursor: str | None = None

    def __iter__(self) -> Iterator[SagaMetadata]:
        return iter(self.sagas)

    def __len__(self) -> int:
        return len(self.sagas)

    def __getitem__(self, index: int) -> SagaMetadata:
        return self.sagas[index]


@dataclass(frozen=True, slots=True)
class PurgeReport:
    """What a purge has deleted, or would delete: so many ``sagas``, which take about so many ``bytes`` of the file."""

    sagas: int
    bytes: int


@dataclass(frozen=True, slots=True)
class PurgedSaga:
    """What is known of a purged saga: how it ended, and when (an aware datetime in UTC)."""

    status: SagaStatus
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class ProcessRecord:
    """One process of the actor system.

    ``role``: launcher, admin, logger, supervisor, registry, saga, step or idle (a step process without work).
    ``saga_id``: the saga for which it works, or None.
    """

    pid: int
    role: str
    saga_id: str | None = None


@dataclass(frozen=True, slots=True)
class SagaChange:
    """One change in the life of a saga: the journal ``position`` of its commit, and the saga as it is since."""

    position: int
    saga: SagaMetadata


@dataclass(frozen=True, slots=True)
class LogRecord:
    """Something that an attempt has logged or printed.

    ``at`` is an aware datetime in UTC. ``action``: ``execute``, ``compensate`` or ``verify``; ``attempt`` counts as
    ``ctx.attempt`` does. ``source``: ``log`` (``ctx.log``), ``logging`` (any other logger), ``stdout`` or ``stderr``.
    ``level`` and ``logger`` are those of a record of logging, and None for what was printed. ``text``: the message with
    its traceback, or one printed line; control characters are escaped. ``pid``: the process that said it.
    """

    at: datetime
    step_name: str
    action: str
    attempt: int
    level: str | None
    source: str
    text: str
    pid: int
    logger: str | None = None


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """One journal entry of a saga.

    ``position`` counts over all sagas, ``seq`` from 1 within this one. ``at`` is an aware datetime in UTC. ``kind`` is
    the name of the entry's class, and ``data`` holds its fields by name.
    """

    position: int
    seq: int
    at: datetime
    kind: str
    data: dict[str, object]
