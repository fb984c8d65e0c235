"""Valid input of every decoder: what is spoiled, and what has to come back as it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict
from uuid import UUID
from zoneinfo import ZoneInfo

from antistrophe.definition.events import EncodedEvent, event
from antistrophe.definition.spec import Origin, ResourceLimits, RetryPolicy, SagaSpec
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.saga import entries as e
from antistrophe.saga import inputs as i
from antistrophe.saga.view import ViewChange
from tests.core.saga_kit import step


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Point(NamedTuple):
    x: int
    y: float = 0.0


class Options(TypedDict):
    loud: bool


@dataclass(frozen=True)
class Leaf:
    name: str
    weight: Decimal = Decimal("1.5")
    children: tuple[Leaf, ...] = ()


@event("fuzz.happened")
@dataclass(frozen=True)
class Happened:
    """One field of each kind of hint."""

    text: str
    count: int
    ratio: float
    raw: bytes
    on: date
    at: datetime
    clock: time
    took: timedelta
    key: UUID
    colour: Colour
    where: Path
    point: Point
    options: Options
    leaf: Leaf
    choice: Literal["a", 1] | None
    union: int | str | Leaf | list[int] | None
    tags: frozenset[str]
    pairs: Mapping[str, tuple[int, str]]
    anything: Any = None
    more: list[Leaf] = field(default_factory=list)


def happened() -> Happened:
    return Happened(
        text="lyre \ud800",
        count=2**70,
        ratio=0.5,
        raw=b"\x00\xff",
        on=date(2026, 1, 2),
        at=datetime(2026, 1, 2, 3, 4, 5, 6, ZoneInfo("Europe/Athens")),
        clock=time(1, 2),
        took=timedelta(days=-1, seconds=3),
        key=UUID(int=7),
        colour=Colour.BLUE,
        where=Path("/tmp/x"),
        point=Point(1, 2.0),
        options={"loud": True},
        leaf=Leaf("a", children=(Leaf("b"),)),
        choice="a",
        union=Leaf("c"),
        tags=frozenset({"x", "y"}),
        pairs={"k": (1, "v")},
        anything={"set": {1, 2}, "tuple": (1, [None]), "frozen": frozenset({(1, 2)})},
        more=[Leaf("d")],
    )


VALUES: tuple[Any, ...] = (
    None,
    [1, -1, 2**63, 2**200, 0.5, "é", b"x", True],
    {"a": {"b": [{"c": (1, 2, ("d",))}]}, 1: "one", None: 2},
    {(1, 2), frozenset({3}), "x"},
    [datetime(2026, 1, 1, tzinfo=UTC), date(1, 1, 1), time(23, 59), timedelta(5), Decimal("1e-9"), UUID(int=1)],
)

SPEC = SagaSpec(
    id="saga",
    name="transfer",
    deadline_s=5.0,
    park_on_failure=True,
    steps=(step("debit"), step("credit", limits=ResourceLimits(1 << 20, 1.5, 10), retry=RetryPolicy(3))),
    origin=Origin("/srv/shop.py", ("/srv",), "/"),
    max_concurrent=2,
)
_LEASE = e.Lease("lease-1", 4711, 99, "boot")
_FAILURE = e.Failure(e.FailureKind.TIMEOUT, "late", "TimeoutError", 1, 9, 2.5, 3.5)
_EVENTS = (EncodedEvent("fuzz.happened", 1, b"\x80"),)
_RUN: dict[str, Any] = {"at": 1.5, "step": 1, "action": e.Action.EXECUTE, "attempt": 2}

ENTRIES: tuple[e.Entry, ...] = (
    e.SagaAccepted(1.5, "request", SPEC),
    e.SagaWaits(1.5, "why"),
    e.AttemptStarted(**_RUN, limit_s=5.0, deadline=6.5, lease=_LEASE),
    e.AttemptSucceeded(**_RUN, output=b"\xc0", events=_EVENTS, warning="w", adopted=True),
    e.AttemptExpired(**_RUN, note="n"),
    e.AttemptFailed(**_RUN, failure=_FAILURE, counts=False, stack="s", no_stack="n", traceback="t"),
    e.VerdictGiven(1.5, 1, 2, e.Verdict.APPLIED, b"\xc0", _EVENTS, "d", "s", "n", "t"),
    e.RetryScheduled(1.5, 1, e.Action.COMPENSATE, 9.5),
    e.CancelRequested(1.5, None, "me"),
    e.TurnedBack(1.5, e.TurnCause(e.TurnReason.STEP_TIMED_OUT, 1, _FAILURE, "n")),
    e.CompensationGivenUp(1.5, 1, _FAILURE),
    e.SagaParked(1.5),
    e.CompensationRetried(1.5, "me", "n"),
    e.StepResolved(1.5, 1, "note", "me"),
    e.SagaRelocated(1.5, SPEC.origin, "me", "n"),
    e.RestoreAcknowledged(1.5, "restore", "me"),
    e.SagaCompleted(1.5),
    e.SagaCompensated(1.5),
)

ANSWERS: tuple[i.Answer, ...] = (
    i.Returned(b"\xc0", _EVENTS),
    i.Raised(e.FailureKind.RAISED, "text", "ValueError", 1.5, "traceback"),
    i.Unencodable("text", "TypeError"),
    i.Verified(e.Verdict.UNKNOWN, None, (), "detail"),
    i.Refused("reason"),
    i.Exited(1, "text", "traceback"),
)

_STEP = StepRecord(
    name="debit",
    index=0,
    status=StepStatus.SUCCEEDED,
    attempts=1,
    in_doubt=False,
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    finished_at=datetime(2026, 1, 2, tzinfo=UTC),
    error=None,
    pid=4711,
    undo_failures=12,
    host="a1",
)
CHANGE = ViewChange(
    id="saga",
    status=SagaStatus.COMPENSATING,
    steps_executed=2,
    updated_at=1_767_312_000.0,
    error="e",
    waiting="w",
    steps=[[1, "compensating", 3, True, 1_767_225_600.0, None, "e", 4711, 12, "a1"]],
)
METADATA = SagaMetadata(
    id="saga",
    name="transfer",
    status=SagaStatus.EXECUTING,
    steps_executed=1,
    total_steps=2,
    created_at=datetime(2026, 1, 1, tzinfo=UTC),
    updated_at=datetime(2026, 1, 2, tzinfo=UTC),
    error="e",
    waiting=None,
    steps=(_STEP, dataclasses.replace(_STEP, index=1, started_at=None, finished_at=None, pid=None)),
)
