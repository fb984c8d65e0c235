"""The queries of applications about sagas, and the answers. The supervisor hands each query on to the registry."""

from __future__ import annotations

from typing import TypeAlias

from antistrophe.messages.message import Address, message
from antistrophe.records import PurgedSaga, SagaChange, SagaMetadata, SagaStatus

# --- application -> supervisor ------------------------------------------------------------------------------------


@message
class GetSaga:
    """What is true of one saga? Answered by SagaFound."""

    correlation: str
    saga_id: str


@message
class GetEntries:
    """The journal entries of a saga behind ``after_seq``, those of these ``kinds`` (none named: all); ``offset``: the
    asker has so many bytes of the first of them. Answered by SagaEntries."""

    correlation: str
    saga_id: str
    after_seq: int
    kinds: tuple[str, ...]
    offset: int


@message
class CountSagas:
    """How many sagas are there? Answered by SagaCounts."""

    correlation: str


@message
class ListRunning:
    """The sagas that run, in no order, behind a cursor. Answered by SagaList."""

    correlation: str
    cursor: str | None = None


@message
class ListHistory:
    """The last ``limit`` sagas that have finished or are parked, the last one to finish first, behind a cursor.
    Answered by SagaList."""

    correlation: str
    limit: int
    cursor: str | None = None


@message
class ListSagas:
    """A page of sagas, the last accepted first: those of that status and name that contain ``text``. Answered by
    SagaList."""

    correlation: str
    status: SagaStatus | None
    name: str | None
    text: str | None
    limit: int
    cursor: str | None


@message
class AwaitChanges:
    """What has changed behind a position of the journal (None: nothing, only where the journal is now). Answered by
    Changes, as soon as there are some, else after ``wait_s`` seconds."""

    correlation: str
    after_position: int | None
    limit: int
    wait_s: float


Query: TypeAlias = GetSaga | GetEntries | CountSagas | ListRunning | ListHistory | ListSagas | AwaitChanges

QUERIES: tuple[type, ...] = (
    GetSaga,
    GetEntries,
    CountSagas,
    ListRunning,
    ListHistory,
    ListSagas,
    AwaitChanges,
)


# --- supervisor -> registry ---------------------------------------------------------------------------------------


@message
class RegistryQuery:
    """A query as the supervisor hands it on, and where to send the answer."""

    query: Query
    reply_to: Address


# --- registry -> application --------------------------------------------------------------------------------------


@message
class SagaFound:
    """One saga; None where no saga has that id, and then ``purged`` says what is known of one that was purged."""

    correlation: str
    saga: SagaMetadata | None
    purged: PurgedSaga | None = None


@message
class SagaEntries:
    """Entries of a saga: of each the position, the seq, the entry as the journal packs it, and the machine's time in
    microseconds at its writing; None where no saga has that id. ``more``: others follow, behind the last seq.
    ``rest``: so many bytes of the only entry are still to come."""

    correlation: str
    entries: tuple[tuple[int, int, bytes, int], ...] | None
    more: bool
    rest: int = 0


@message
class SagaCounts:
    """How many sagas run, and how many have finished or are parked. ``commits``: how many transactions the saga hosts
    have committed, as far as they have reported since the registry began, and ``commits_s`` how many seconds that
    took."""

    correlation: str
    running: int
    finished: int
    commits: int = 0
    commits_s: float = 0.0


@message
class SagaList:
    """Sagas, as many as were asked for or fit into a message; ``cursor`` asks for those behind them, None where there
    are none."""

    correlation: str
    sagas: tuple[SagaMetadata, ...]
    cursor: str | None = None


@message
class Changes:
    """What has changed, in order of position; ``position`` is the one to ask behind next time."""

    correlation: str
    changes: tuple[SagaChange, ...]
    position: int


ANSWERS: tuple[type, ...] = (SagaFound, SagaEntries, SagaCounts, SagaList, Changes)
