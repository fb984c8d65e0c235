"""The inputs of a saga: answers of its attempts, deaths of their processes, time, and orders from outside."""

from __future__ import annotations

from typing import TypeAlias

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import Origin
from antistrophe.saga.entries import Action, FailureKind, Lease, Verdict
from antistrophe.serialization.struct_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Returned:
    """The call returned; ``output`` is packed."""

    output: bytes | None = None
    events: tuple[EncodedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class Raised:
    """The call raised; ``kind`` is RAISED, RETRYABLE, FATAL or IN_DOUBT."""

    kind: FailureKind
    error: str
    error_type: str
    after_s: float | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class Unencodable:
    """The call returned something that can't travel, or is too large."""

    error: str
    error_type: str


@dataclass(frozen=True, slots=True)
class Verified:
    """``verify`` answered."""

    verdict: Verdict
    output: bytes | None = None
    events: tuple[EncodedEvent, ...] = ()
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The step process did not make the call, for this reason (code or input that no longer loads, a full disk)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Exited:
    """The call ended its process with ``sys.exit(text)``. The process leaves this in its attempt file and dies."""

    exit_code: int
    text: str
    traceback: str | None = None


Answer: TypeAlias = Returned | Raised | Unencodable | Verified | Refused | Exited

ANSWER_TYPES: tuple[type, ...] = (Returned, Raised, Unencodable, Verified, Refused, Exited)


@dataclass(frozen=True, slots=True)
class ProcessGranted:
    """A step process is leased to the saga. ``used``: attempts may have run in it. ``step_class``: the throttled class
    that it was granted for, or None."""

    lease: Lease
    used: bool = False
    step_class: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessRefused:
    """The saga gets no step process, and asking again at once won't help, unless its code is ``found`` elsewhere."""

    reason: str
    found: Origin | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """An attempt answered. The other fields say which attempt."""

    step: int
    action: Action
    attempt: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Fenced:
    """The process of an attempt is proven dead. ``began``: it left a start marker (None: nobody can know);
    ``answer``: the outcome that it left; ``by_system``: ended by a stop or a restart, not by itself; ``overdue``: ended
    because it was past its limit, which the journal may not know yet; ``stack``: where it stood when it was ended,
    ``no_stack``: why nobody knows; ``lost``: the whole actor system died while it ran."""

    step: int
    action: Action
    attempt: int
    began: bool | None
    answer: Answer | None = None
    exit_code: int | None = None
    signal: int | None = None
    by_system: bool = False
    detail: str | None = None
    stack: str | None = None
    no_stack: str | None = None
    overdue: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Overdue:
    """The attempt was past its limit, and its process was told to end, while the journal refused. The fields say which
    attempt."""

    step: int
    action: Action
    attempt: int


@dataclass(frozen=True, slots=True)
class TimePassed:
    """Time has passed. ``began_at``: when the current attempt's call began, or None if nobody can know; then the
    attempt gets ``allowance_s`` more to begin."""

    began_at: float | None = None
    allowance_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Resumed:
    """The saga was read from the journal: decide what follows from its last entry."""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody cancels the saga."""

    reason: str | None
    by: str


@dataclass(frozen=True, slots=True)
class RetryAsked:
    """An operator asks for another try of the compensations that were given up. ``note``: why."""

    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class ResolveAsked:
    """An operator says that a step's compensation, which failed for good or comes next, is settled by other means."""

    step: int
    note: str
    by: str


@dataclass(frozen=True, slots=True)
class RelocateAsked:
    """An operator says where the saga's code is from now on. ``note``: why."""

    origin: Origin
    by: str
    note: str | None = None


Input: TypeAlias = (
    ProcessGranted
    | ProcessRefused
    | Answered
    | Fenced
    | Overdue
    | TimePassed
    | Resumed
    | CancelAsked
    | RetryAsked
    | ResolveAsked
    | RelocateAsked
)
