"""The journal's entries: everything that can become true of a saga, each a frozen record of builtins.

Times (``at``, ``deadline``, ``not_before``) are seconds since the epoch by the system's steady clock, which decides: it
goes on from the journal's last entry, and no jump of the machine's clock moves it. People see the machine's time, which
the journal has beside each entry. ``step`` is the index of a step, ``attempt`` counts from 1, separately for
each action.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.serialization.struct_dataclass import dataclass


class Action(str, Enum):
    """What an attempt calls: the step's ``execute``, ``compensate`` or ``verify``."""

    EXECUTE = "execute"
    COMPENSATE = "compensate"
    VERIFY = "verify"


class FailureKind(str, Enum):
    """How an attempt failed."""

    RAISED = "raised"  # an exception of the step's own
    RETRYABLE = "retryable"  # RetryableError
    FATAL = "fatal"  # FatalError
    IN_DOUBT = "in_doubt"  # InDoubtError
    TIMEOUT = "timeout"  # ended because it ran past its limit
    CRASH = "crash"  # its process died of itself
    INTERRUPTED = "interrupted"  # ended by the system: a cancel, a stop, a restart
    UNENCODABLE = "unencodable"  # it returned what can't travel, or is too large
    NEVER_RAN = "never_ran"  # its process died before the call
    REFUSED = "refused"  # its process could not make the call: code or input that no longer loads, a full disk


class Verdict(str, Enum):
    """What ``verify`` found out about an attempt in doubt."""

    APPLIED = "applied"
    NOT_APPLIED = "not_applied"
    UNKNOWN = "unknown"


class TurnReason(str, Enum):
    """Why a saga turned back."""

    STEP_FAILED = "step_failed"
    STEP_TIMED_OUT = "step_timed_out"
    STEP_CRASHED = "step_crashed"
    DEADLINE = "deadline"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Lease:
    """The process that an attempt runs in. ``pid``, ``start_ticks`` (clock ticks since the boot) and ``boot_id``
    identify the process. ``name`` is unique for ever, and names the attempt file of the process. ``shared``: a slot in
    an async worker, which makes the calls of other sagas at the same time. ``attempt_file``: the identity of the
    attempt file, which was laid down before the lease was lent; empty where there is none. ``host``: the name of the
    host, where several may work on one journal; else empty."""

    name: str
    pid: int
    start_ticks: int
    boot_id: str
    shared: bool = False
    attempt_file: str = ""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """How an attempt failed. Only the fields that apply are set."""

    kind: FailureKind
    error: str
    error_type: str = ""
    exit_code: int | None = None
    signal: int | None = None
    duration_s: float | None = None
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class TurnCause:
    """Why a saga turned back, at which step, and after which failure (None for a cancel)."""

    reason: TurnReason
    step: int
    failure: Failure | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class SagaAccepted:
    """The saga exists. ``spec`` is its whole definition as it was accepted. A request that is sent again is recognised
    by its ``request_id``. ``created_at``: the time of day then, which people see; None in entries of older versions."""

    at: float
    request_id: str
    spec: SagaSpec
    created_at: float | None = None


@dataclass(frozen=True, slots=True)
class SagaWaits:
    """The saga waits, for this reason. The wait ends with the start of the next attempt."""

    at: float
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """The intent: this attempt is about to run in the leased process. ``limit_s`` is its time limit in seconds,
    ``deadline`` the earliest moment at which the limit can have passed."""

    at: float
    step: int
    action: Action
    attempt: int
    limit_s: float
    deadline: float
    lease: Lease


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    """The attempt returned. ``output`` is packed msgpack or None. ``adopted``: the answer was read from what the dead
    process left."""

    at: float
    step: int
    action: Action
    attempt: int
    output: bytes | None = None
    events: tuple[EncodedEvent, ...] = ()
    warning: str | None = None
    adopted: bool = False


@dataclass(frozen=True, slots=True)
class AttemptExpired:
    """The attempt ran past its limit. Its process is being ended, and nothing else happens until that is done."""

    at: float
    step: int
    action: Action
    attempt: int
    note: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """The attempt ended without success, and its process is out of the way. ``counts``: against the policy;
    ``stack``: where its threads and tasks stood when it was ended or crashed, ``no_stack``: why nobody knows;
    ``traceback``: that of the exception which the step raised; ``lost``: the whole actor system died while it ran."""

    at: float
    step: int
    action: Action
    attempt: int
    failure: Failure
    counts: bool = True
    stack: str | None = None
    no_stack: str | None = None
    traceback: str | None = None
    lost: bool = False


@dataclass(frozen=True, slots=True)
class VerdictGiven:
    """``verify`` answered, or failed. If the verdict is applied, output and events are those of the step. ``stack``,
    ``no_stack`` and ``traceback``: as in AttemptFailed."""

    at: float
    step: int
    attempt: int
    verdict: Verdict
    output: bytes | None = None
    events: tuple[EncodedEvent, ...] = ()
    detail: str | None = None
    stack: str | None = None
    no_stack: str | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The same action is attempted again, but not before ``not_before``."""

    at: float
    step: int
    action: Action
    not_before: float


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody asked for the saga to be cancelled while it went forward."""

    at: float
    reason: str | None
    by: str


@dataclass(frozen=True, slots=True)
class TurnedBack:
    """The saga goes backward from here on, for good."""

    at: float
    cause: TurnCause


@dataclass(frozen=True, slots=True)
class CompensationGivenUp:
    """The compensation of this step failed for good."""

    at: float
    step: int
    failure: Failure


@dataclass(frozen=True, slots=True)
class SagaParked:
    """The saga waits for an operator, who retries or resolves the compensations that were given up."""

    at: float


@dataclass(frozen=True, slots=True)
class CompensationRetried:
    """An operator retries the compensations that were given up, with their full policy."""

    at: float
    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class StepResolved:
    """An operator says that this step's compensation is settled by other means."""

    at: float
    step: int
    note: str
    by: str


@dataclass(frozen=True, slots=True)
class SagaRelocated:
    """From now on the saga's code is found at this origin. ``by``: who ordered it, or that the system found it in an
    attached program, because its place was gone."""

    at: float
    origin: Origin
    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class RestoreAcknowledged:
    """The journal was put back to an earlier state: what the saga did since is not in it. ``restore``: the name of the
    acknowledgement, which is the same for all sagas; ``by``: who gave it."""

    at: float
    restore: str
    by: str


@dataclass(frozen=True, slots=True)
class SagaCompleted:
    """Final: every step succeeded."""

    at: float


@dataclass(frozen=True, slots=True)
class SagaCompensated:
    """Final: every effect was compensated, or settled by an operator."""

    at: float


Entry: TypeAlias = (
    SagaAccepted
    | SagaWaits
    | AttemptStarted
    | AttemptSucceeded
    | AttemptExpired
    | AttemptFailed
    | VerdictGiven
    | RetryScheduled
    | CancelRequested
    | TurnedBack
    | CompensationGivenUp
    | SagaParked
    | CompensationRetried
    | StepResolved
    | SagaRelocated
    | RestoreAcknowledged
    | SagaCompleted
    | SagaCompensated
)

ENTRY_TYPES: tuple[type, ...] = (
    SagaAccepted,
    SagaWaits,
    AttemptStarted,
    AttemptSucceeded,
    AttemptExpired,
    AttemptFailed,
    VerdictGiven,
    RetryScheduled,
    CancelRequested,
    TurnedBack,
    CompensationGivenUp,
    SagaParked,
    CompensationRetried,
    StepResolved,
    SagaRelocated,
    RestoreAcknowledged,
    SagaCompleted,
    SagaCompensated,
)
