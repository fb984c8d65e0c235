"""Every message between the actors of a system and the applications that are attached to it.

Requests carry a ``correlation`` that their answer echoes: whoever asks ignores answers to other questions. All are
frozen records of builtins and addresses; user data travel in them as packed bytes only. Any message may be lost or
come twice, so each is safe to send again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar, dataclass_transform

from antistrophe.records import ProcessRecord, SagaStatus
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Answer, CancelAsked, ResolveAsked, RetryAsked
from antistrophe.saga.outcome import Outcome
from antistrophe.settings import Settings
from antistrophe.spec import Origin, ResourceLimits, SagaSpec

T = TypeVar("T")

Address = Any
"""A Thespian ActorAddress; this floor does not know Thespian."""


def _name_alone(self: object) -> str:
    return type(self).__name__


@dataclass_transform(frozen_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a class a message: a frozen record that prints as its name alone.

    Thespian formats every message several times per hop for its debug log; a large one would cost milliseconds.
    """
    made = dataclass(frozen=True, repr=False)(cls)
    made.__repr__ = _name_alone  # type: ignore[method-assign, assignment]
    return made


# --- application -> supervisor ------------------------------------------------------------------------------------


@message
class StartSaga:
    """Run this saga. Answered by Accepted or Rejected; where ``wait``, by SagaOutcome in the end, and by Accepted only
    when it is sent again. ``client_id`` names the attached process, whose step processes will be used."""

    correlation: str
    request_id: str
    client_id: str
    spec: SagaSpec
    join: bool = False
    wait: bool = False


@message
class AwaitSaga:
    """Answer with SagaOutcome when the saga has ended or is parked (at once where it has); Rejected if unknown."""

    correlation: str
    saga_id: str


@message
class OrderSaga:
    """An order to a saga: to be cancelled, or what an operator says. Answered by Done or Rejected."""

    correlation: str
    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep


@message
class ResolveStep:
    """An operator's word that a step's compensation is settled; by the step's name."""

    step_name: str
    note: str
    by: str


@message
class ListProcesses:
    """Answered by Processes."""

    correlation: str


@message
class Query:
    """A question to the registry, which must have seen the journal up to ``at_least`` before it answers with
    QueryAnswer. ``what`` is the name of a question that the registry knows, ``arguments`` its keyword arguments."""

    correlation: str
    what: str
    arguments: dict[str, Any] = field(default_factory=dict)
    at_least: int = 0


@message
class RegistryQuery:
    """A question as the supervisor hands it on, with whom to answer."""

    query: Query
    reply_to: Address


# --- answers to applications --------------------------------------------------------------------------------------


@message
class Accepted:
    """The saga is durable (or was; ``joined``: it is live for somebody else's request)."""

    correlation: str
    saga_id: str
    position: int
    joined: bool = False


@message
class Rejected:
    """Nothing was done. ``error`` is the name of a class in antistrophe.errors, ``text`` its message."""

    correlation: str
    error: str
    text: str


@message
class SagaOutcome:
    """How the saga ended, or that it is parked."""

    correlation: str
    outcome: Outcome
    position: int


@message
class Done:
    """The order was carried out (``effect``: it changed something)."""

    correlation: str
    position: int
    effect: bool


@message
class Processes:
    """The processes below the supervisor, itself included."""

    correlation: str
    processes: tuple[ProcessRecord, ...]


@message
class QueryAnswer:
    """What the registry knows at that journal position."""

    correlation: str
    value: Any
    position: int


# --- launcher <-> supervisor --------------------------------------------------------------------------------------


@message
class Configuration:
    """What every actor of ours is told first. ``clock_offset_s`` is the system's: seconds since the epoch are
    CLOCK_MONOTONIC plus it; ``launcher_pid`` is whose death ends the system."""

    home: str
    settings: Settings
    clock_offset_s: float
    launcher_pid: int


@message
class SupervisorReady:
    """The supervisor has read the journal and takes requests; its and the registry's pid."""

    supervisor_pid: int
    registry_pid: int
    open_sagas: int


@message
class SupervisorFailed:
    """The supervisor can't start: the name of a class in antistrophe.errors, and its message."""

    error: str
    text: str


@message
class ClientLeft:
    """An attached process is gone; its idle step processes can go too."""

    client_id: str


@message
class Drain:
    """Dispatch nothing new, let running attempts come to an end, fence the rest; then answer Drained."""

    drain_s: float


@message
class Drained:
    """No attempt runs any more. ``fenced``: how many had to be ended."""

    fenced: int


# --- supervisor <-> saga actor ------------------------------------------------------------------------------------


@message
class SagaActorReady:
    """A saga actor's first message: it can be given a saga."""

    pid: int
    start_ticks: int


@message
class SagaConfiguration:
    """What a saga actor is told first."""

    base: Configuration
    registry: Address


@message
class Waiter:
    """Somebody who is to hear of a saga's end: where to, and the correlation to echo."""

    address: Address
    correlation: str


@message
class BeginSaga:
    """Accept and run this saga; ``grant`` where a step process is free at once. ``acknowledge`` hears of the
    acceptance, ``waiters`` of the end."""

    request_id: str
    spec: SagaSpec
    grant: ProcessGrant | None = None
    acknowledge: Waiter | None = None
    waiters: tuple[Waiter, ...] = ()


@message
class ResumeSaga:
    """Go on with this saga from its journal, after these orders."""

    saga_id: str
    waiters: tuple[Waiter, ...] = ()
    orders: tuple[SagaOrder, ...] = ()


@message
class ProcessGrant:
    """A step process is lent to the saga."""

    saga_id: str
    lease: Lease
    address: Address


@message
class ProcessRefusal:
    """No step process can be had for this saga: its code can't be loaded."""

    saga_id: str
    reason: str


@message
class ProcessDead:
    """The process of that lease is proven dead, with its whole group. ``by_system``: a stop, not its own doing."""

    saga_id: str
    lease: Lease
    exit_code: int | None
    signal: int | None
    by_system: bool
    detail: str | None = None


@message
class SagaOrder:
    """An order for this saga; the saga answers ``reply_to`` with Done or Rejected."""

    saga_id: str
    order: CancelAsked | RetryAsked | ResolveAsked | ResolveStep
    reply_to: Waiter


@message
class DrainSaga:
    """Start no further attempt."""


@message
class AskProcess:
    """The saga needs a step process that has this code; ``urgent``: for a compensation."""

    saga_id: str
    origin: Origin
    class_refs: tuple[str, ...]
    fresh: bool
    urgent: bool


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
class SagaSleeps:
    """The saga has nothing to do before ``until`` (seconds since the epoch; None: the supervisor decides, because its
    code could not be loaded); its actor is gone after this message. ``waiters`` still wait."""

    saga_id: str
    until: float | None
    waiters: tuple[Waiter, ...] = ()


@message
class SagaEnded:
    """The saga is final, or parked, or (``status`` None) could not be accepted; its actor is gone after this
    message."""

    saga_id: str
    status: SagaStatus | None


# --- saga actor -> registry ---------------------------------------------------------------------------------------


@message
class LifecycleReport:
    """The journal has news of this saga, up to that position."""

    saga_id: str
    position: int


# --- step actor <-> supervisor and saga ---------------------------------------------------------------------------


@message
class StepConfiguration:
    """What a step actor is told first; ``name`` is the name of its leases and of its outcome file."""

    base: Configuration
    name: str


@message
class StepReady:
    """A step actor's first message, as soon as it is configured."""

    lease: Lease


@message
class LoadCode:
    """Import these step classes."""

    origin: Origin
    class_refs: tuple[str, ...]


@message
class CodeLoaded:
    """They are there."""

    lease_name: str
    class_refs: tuple[str, ...]


@message
class CodeNotLoaded:
    """They can't be imported, for this reason."""

    lease_name: str
    reason: str


@message
class RunStep:
    """Make this call, once: the same attempt told again is answered with what it gave. ``attempt`` numbers the
    intent, ``run`` is what the user sees. ``outputs``: packed outputs of other steps by name; ``output``: its own."""

    saga_id: str
    step: int
    step_name: str
    class_ref: str
    origin: Origin
    input: bytes
    action: Action
    attempt: int
    run: int
    lease_name: str
    limit_s: float
    idempotency_key: str
    forward_key: str
    outputs: tuple[tuple[str, bytes], ...]
    output: bytes | None
    in_doubt: bool
    limits: ResourceLimits | None
    kill_grace_s: float


@message
class StepAnswer:
    """How the call ended; echoes the attempt and the lease."""

    saga_id: str
    step: int
    action: Action
    attempt: int
    lease_name: str
    answer: Answer
