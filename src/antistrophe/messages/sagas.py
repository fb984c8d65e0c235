"""The messages between the supervisor, the saga actors and the registry."""

from __future__ import annotations

from antistrophe.definition.spec import LeaseRequest, Origin, SagaSpec
from antistrophe.messages.message import Address, Configuration, message
from antistrophe.messages.requests import ResolveStep
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Lease
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked


@message
class HostConfiguration:
    """The first message to a host of saga actors. Told again, it says to whom it reports from now on; and where it is
    not ``draining``, its sagas go on. ``host_id``: this host among those that share the journal, empty where none
    does."""

    base: Configuration
    registry: Address
    draining: bool = False
    host_id: str = ""


@message
class Waiter:
    """Who waits for the end of a saga, or for an answer: the address to send to, the correlation to echo, the client
    where it is known."""

    address: Address
    correlation: str
    client_id: str = ""


@message
class BeginSaga:
    """Accept and run this saga. ``grant``: a step process that is free at once; ``asked``: one was requested and
    will be granted. ``acknowledge`` is told the acceptance, ``waiters`` the end."""

    request_id: str
    spec: SagaSpec
    grant: ProcessGrant | None = None
    acknowledge: Waiter | None = None
    waiters: tuple[Waiter, ...] = ()
    asked: bool = False


@message
class ResumeSaga:
    """Carry out these orders, then go on with this saga from its journal."""

    saga_id: str
    waiters: tuple[Waiter, ...] = ()
    orders: tuple[SagaOrder, ...] = ()


@message
class ProcessGrant:
    """The saga has the lease of a step process; ``step_class``: only for an attempt of this class, which had to wait
    for its throttle. ``adopted``: this answers AdoptProcess. Such an answer may come late or twice, and grants nothing
    that the saga did not hold. ``fresh``: nothing has run in the process; otherwise something may have. ``host_id``: by
    whose lease it is granted, where several hosts share the journal: what the attempt journals is that host's."""

    saga_id: str
    lease: Lease
    address: Address
    step_class: str | None = None
    adopted: bool = False
    fresh: bool = False
    host_id: str = ""


@message
class ProcessRefusal:
    """The saga gets no step process, because its code can't be loaded. ``found``: another place that has it."""

    saga_id: str
    reason: str
    found: Origin | None = None


@message
class ProcessDead:
    """The process of this lease is proven dead, with its whole group. ``by_system``: the system ended it. ``asked``:
    what came of the request for its stack, None where nobody asked. ``overdue``: as in EndProcess. ``lost``: it died
    with its whole actor system."""

    saga_id: str
    lease: Lease
    exit_code: int | None
    signal: int | None
    by_system: bool
    detail: str | None = None
    asked: str | None = None
    overdue: bool = False
    lost: bool = False


@message
class SagaOrder:
    """An order for this saga; the saga answers ``reply_to`` with Done or Rejected."""

    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep | RelocateAsked
    reply_to: Waiter


@message
class DrainSagas:
    """Start no further attempt of any saga."""


@message
class RequestLease:
    """The saga needs a step process; answered by ProcessGrant or ProcessRefusal."""

    saga_id: str
    request: LeaseRequest


@message
class AdoptProcess:
    """Does the process of this lease live? Answered by ProcessGrant or ProcessDead."""

    saga_id: str
    lease: Lease


@message
class EndProcess:
    """Fence this lease; answered by ProcessDead. ``overdue``: its attempt is past its limit, which could not be
    journaled; the saga's next actor has to learn it from the answer."""

    saga_id: str
    lease: Lease
    grace_s: float
    overdue: bool = False


@message
class ReturnProcess:
    """The saga needs the process of this lease no longer; ``reusable``: another saga may have it."""

    saga_id: str
    lease_name: str
    reusable: bool


@message
class SagaActorFailed:
    """The actor of this saga is gone, because of an error that it did not expect."""

    saga_id: str


@message
class SagaSleeps:
    """The saga has nothing to do before ``until`` (seconds since the epoch; None: the supervisor decides, because its
    code could not be loaded, or an entry could not be read). Its actor is gone after this message. ``urgent``: it
    compensates, or will then."""

    saga_id: str
    until: float | None
    urgent: bool = False


@message
class SagaEnded:
    """The saga is final, or parked, or (``status`` None) the journal refused it with this error and text; its actor is
    gone after this message. ``returned``: the step process that it gives back with it."""

    saga_id: str
    status: SagaStatus | None
    refusal: str = ""
    error: str = "JournalError"
    returned: ReturnProcess | None = None


# --- saga actor -> registry ---------------------------------------------------------------------------------------


@message
class LifecycleReport:
    """The journal has new entries, up to this position. ``commits``: how many transactions the sender has committed
    since its start, and ``commits_s`` how many seconds that took."""

    position: int
    commits: int = 0
    commits_s: float = 0.0
