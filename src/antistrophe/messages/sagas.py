"""What the supervisor, the saga actors and the registry say to each other."""

from __future__ import annotations

from antistrophe.definition.spec import LeaseRequest, SagaSpec
from antistrophe.messages.message import Address, Configuration, message
from antistrophe.messages.requests import ResolveStep
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Lease
from antistrophe.saga.inputs import CancelAsked, RetryAsked


@message
class HostConfiguration:
    """What a host of saga actors is told first."""

    base: Configuration
    registry: Address


@message
class Waiter:
    """Somebody who is to hear of a saga's end: where to, and the correlation to echo."""

    address: Address
    correlation: str


@message
class BeginSaga:
    """Accept and run this saga; ``grant`` where a step process is free at once, ``asked`` where one has been asked for
    already and will be granted. ``acknowledge`` hears of the acceptance, ``waiters`` of the end."""

    request_id: str
    spec: SagaSpec
    grant: ProcessGrant | None = None
    acknowledge: Waiter | None = None
    waiters: tuple[Waiter, ...] = ()
    asked: bool = False


@message
class ResumeSaga:
    """Go on with this saga from its journal, after these orders."""

    saga_id: str
    waiters: tuple[Waiter, ...] = ()
    orders: tuple[SagaOrder, ...] = ()


@message
class ProcessGrant:
    """A step process is lent to the saga; ``step_class``: for an attempt of that class, whose turn it is."""

    saga_id: str
    lease: Lease
    address: Address
    step_class: str | None = None


@message
class ProcessRefusal:
    """No step process can be had for this saga: its code can't be loaded."""

    saga_id: str
    reason: str


@message
class ProcessDead:
    """The process of that lease is proven dead, with its whole group. ``by_system``: a stop, not its own doing;
    ``asked``: how it was found when it was asked for its stack, None where it was not."""

    saga_id: str
    lease: Lease
    exit_code: int | None
    signal: int | None
    by_system: bool
    detail: str | None = None
    asked: str | None = None


@message
class SagaOrder:
    """An order for this saga; the saga answers ``reply_to`` with Done or Rejected."""

    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep
    reply_to: Waiter


@message
class WaitForSaga:
    """Somebody else waits for this saga."""

    saga_id: str
    waiter: Waiter


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
    """What became of this lease? Answered by ProcessGrant where the process lives, else by ProcessDead."""

    saga_id: str
    lease: Lease


@message
class EndProcess:
    """Fence this lease; answered by ProcessDead."""

    saga_id: str
    lease: Lease
    grace_s: float


@message
class ReturnProcess:
    """The saga has settled what ran there; ``reusable``: others may have the process."""

    saga_id: str
    lease_name: str
    reusable: bool


@message
class SagaActorFailed:
    """The actor of this saga met an error that it did not expect, and is gone."""

    saga_id: str


@message
class SagaSleeps:
    """The saga has nothing to do before ``until`` (seconds since the epoch; None: the supervisor decides, because its
    code could not be loaded); its actor is gone after this message. ``waiters`` still wait; ``urgent``: it
    compensates."""

    saga_id: str
    until: float | None
    waiters: tuple[Waiter, ...] = ()
    urgent: bool = False


@message
class SagaEnded:
    """The saga is final, or parked, or (``status`` None) the journal refused it with this text; its actor is gone after
    this message. ``returned``: the step process that it gives back with it."""

    saga_id: str
    status: SagaStatus | None
    refusal: str = ""
    returned: ReturnProcess | None = None


# --- saga actor -> registry ---------------------------------------------------------------------------------------


@message
class LifecycleReport:
    """The journal has news, up to that position."""

    position: int
