"""Every message between the actors of a system and the applications that are attached to it.

Requests carry a ``correlation`` that their answer echoes: whoever asks ignores answers to other questions. All are
frozen records of builtins and addresses; user data travel in them as packed bytes only. Any message may be lost or
come twice, so each is safe to send again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from antistrophe.records import ProcessRecord, SagaStatus
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Answer, CancelAsked, ResolveAsked, RetryAsked
from antistrophe.saga.outcome import Outcome
from antistrophe.settings import Settings
from antistrophe.spec import Origin, ResourceLimits, SagaSpec

Address = Any
"""A Thespian ActorAddress; this floor does not know Thespian."""


def _quiet(self: object) -> str:
    # Thespian formats every message several times per hop for its debug log; a large one would cost milliseconds.
    return type(self).__name__


class Message:
    """The base of all messages: prints as its name alone."""

    __slots__ = ()
    __repr__ = _quiet
    __str__ = _quiet


# --- application -> supervisor ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class StartSaga(Message):
    """Run this saga. Answered by Accepted or Rejected; where ``wait``, by SagaOutcome in the end, and by Accepted only
    when it is sent again. ``client_id`` names the attached process, whose step processes will be used."""

    correlation: str
    request_id: str
    client_id: str
    spec: SagaSpec
    join: bool = False
    wait: bool = False


@dataclass(frozen=True, repr=False)
class AwaitSaga(Message):
    """Answer with SagaOutcome when the saga has ended or is parked (at once where it has); Rejected if unknown."""

    correlation: str
    saga_id: str


@dataclass(frozen=True, repr=False)
class OrderSaga(Message):
    """An order to a saga: to be cancelled, or what an operator says. Answered by Done or Rejected."""

    correlation: str
    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep


@dataclass(frozen=True, repr=False)
class ResolveStep(Message):
    """An operator's word that a step's compensation is settled; by the step's name."""

    step_name: str
    note: str
    by: str


@dataclass(frozen=True, repr=False)
class ListProcesses(Message):
    """Answered by Processes."""

    correlation: str


@dataclass(frozen=True, repr=False)
class Query(Message):
    """A question to the registry, which must have seen the journal up to ``at_least`` before it answers with
    QueryAnswer. ``what`` is the name of a question that the registry knows, ``arguments`` its keyword arguments."""

    correlation: str
    what: str
    arguments: dict[str, Any] = field(default_factory=dict)
    at_least: int = 0


# --- answers to applications --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Accepted(Message):
    """The saga is durable (or was; ``joined``: it is live for somebody else's request)."""

    correlation: str
    saga_id: str
    position: int
    joined: bool = False


@dataclass(frozen=True, repr=False)
class Rejected(Message):
    """Nothing was done. ``error`` is the name of a class in antistrophe.errors, ``text`` its message."""

    correlation: str
    error: str
    text: str


@dataclass(frozen=True, repr=False)
class SagaOutcome(Message):
    """How the saga ended, or that it is parked."""

    correlation: str
    outcome: Outcome
    position: int


@dataclass(frozen=True, repr=False)
class Done(Message):
    """The order was carried out (``effect``: it changed something)."""

    correlation: str
    position: int
    effect: bool


@dataclass(frozen=True, repr=False)
class Processes(Message):
    """The processes below the supervisor, itself included."""

    correlation: str
    processes: tuple[ProcessRecord, ...]


@dataclass(frozen=True, repr=False)
class QueryAnswer(Message):
    """What the registry knows at that journal position."""

    correlation: str
    value: Any
    position: int


# --- launcher <-> supervisor --------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Configuration(Message):
    """What every actor of ours is told first. ``clock_offset_s`` is the system's: seconds since the epoch are
    CLOCK_MONOTONIC plus it; ``launcher_pid`` is whose death ends the system."""

    home: str
    settings: Settings
    clock_offset_s: float
    launcher_pid: int


@dataclass(frozen=True, repr=False)
class SupervisorReady(Message):
    """The supervisor has read the journal and takes requests; its and the registry's pid."""

    supervisor_pid: int
    registry_pid: int
    open_sagas: int


@dataclass(frozen=True, repr=False)
class SupervisorFailed(Message):
    """The supervisor can't start: the name of a class in antistrophe.errors, and its message."""

    error: str
    text: str


@dataclass(frozen=True, repr=False)
class ClientLeft(Message):
    """An attached process is gone; its idle step processes can go too."""

    client_id: str


@dataclass(frozen=True, repr=False)
class Drain(Message):
    """Dispatch nothing new, let running attempts come to an end, fence the rest; then answer Drained."""

    drain_s: float


@dataclass(frozen=True, repr=False)
class Drained(Message):
    """No attempt runs any more. ``fenced``: how many had to be ended."""

    fenced: int


# --- supervisor <-> saga actor ------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class SagaActorReady(Message):
    """A saga actor's first message: it can be given a saga."""

    pid: int
    start_ticks: int


@dataclass(frozen=True, repr=False)
class SagaConfiguration(Message):
    """What a saga actor is told first."""

    base: Configuration
    registry: Address


@dataclass(frozen=True, repr=False)
class Waiter(Message):
    """Somebody who is to hear of a saga's end: where to, and the correlation to echo."""

    address: Address
    correlation: str


@dataclass(frozen=True, repr=False)
class BeginSaga(Message):
    """Accept and run this saga; ``grant`` where a step process is free at once. ``acknowledge`` hears of the
    acceptance, ``waiters`` of the end."""

    request_id: str
    spec: SagaSpec
    grant: ProcessGrant | None = None
    acknowledge: Waiter | None = None
    waiters: tuple[Waiter, ...] = ()


@dataclass(frozen=True, repr=False)
class ResumeSaga(Message):
    """Go on with this saga from its journal."""

    saga_id: str
    waiters: tuple[Waiter, ...] = ()


@dataclass(frozen=True, repr=False)
class ProcessGrant(Message):
    """A step process is lent to the saga."""

    saga_id: str
    lease: Lease
    address: Address


@dataclass(frozen=True, repr=False)
class ProcessRefusal(Message):
    """No step process can be had for this saga: its code can't be loaded."""

    saga_id: str
    reason: str


@dataclass(frozen=True, repr=False)
class ProcessDead(Message):
    """The process of that lease is proven dead, with its whole group. ``by_system``: a stop, not its own doing."""

    saga_id: str
    lease: Lease
    exit_code: int | None
    signal: int | None
    by_system: bool
    detail: str | None = None


@dataclass(frozen=True, repr=False)
class SagaOrder(Message):
    """An order for this saga; the saga answers ``reply_to`` with Done or Rejected."""

    saga_id: str
    order: CancelAsked | RetryAsked | ResolveAsked | ResolveStep
    reply_to: Waiter


@dataclass(frozen=True, repr=False)
class DrainSaga(Message):
    """Start no further attempt."""


@dataclass(frozen=True, repr=False)
class AskProcess(Message):
    """The saga needs a step process that has this code; ``urgent``: for a compensation."""

    saga_id: str
    origin: Origin
    class_refs: tuple[str, ...]
    fresh: bool
    urgent: bool


@dataclass(frozen=True, repr=False)
class AdoptProcess(Message):
    """What became of this lease? Answered by ProcessGrant where the process lives, else by ProcessDead."""

    saga_id: str
    lease: Lease


@dataclass(frozen=True, repr=False)
class EndProcess(Message):
    """Fence this lease; answered by ProcessDead."""

    saga_id: str
    lease: Lease
    grace_s: float


@dataclass(frozen=True, repr=False)
class ReturnProcess(Message):
    """The saga has settled what ran there; ``reusable``: others may have the process."""

    saga_id: str
    lease_name: str
    reusable: bool


@dataclass(frozen=True, repr=False)
class SagaSleeps(Message):
    """The saga has nothing to do before ``until`` (seconds since the epoch; None: the supervisor decides, because its
    code could not be loaded); its actor is gone after this message."""

    saga_id: str
    until: float | None


@dataclass(frozen=True, repr=False)
class SagaEnded(Message):
    """The saga is final, or parked; its actor is gone after this message."""

    saga_id: str
    status: SagaStatus


# --- saga actor -> registry ---------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class LifecycleReport(Message):
    """The journal has news of this saga, up to that position."""

    saga_id: str
    position: int


# --- step actor <-> supervisor and saga ---------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class StepConfiguration(Message):
    """What a step actor is told first; ``name`` is the name of its leases and of its outcome file."""

    base: Configuration
    name: str


@dataclass(frozen=True, repr=False)
class StepReady(Message):
    """A step actor's first message, as soon as it is configured."""

    lease: Lease


@dataclass(frozen=True, repr=False)
class LoadCode(Message):
    """Import these step classes."""

    origin: Origin
    class_refs: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class CodeLoaded(Message):
    """They are there."""

    lease_name: str
    class_refs: tuple[str, ...]


@dataclass(frozen=True, repr=False)
class CodeNotLoaded(Message):
    """They can't be imported, for this reason."""

    lease_name: str
    reason: str


@dataclass(frozen=True, repr=False)
class RunStep(Message):
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


@dataclass(frozen=True, repr=False)
class StepAnswer(Message):
    """How the call ended; echoes the attempt and the lease."""

    saga_id: str
    step: int
    action: Action
    attempt: int
    lease_name: str
    answer: Answer
