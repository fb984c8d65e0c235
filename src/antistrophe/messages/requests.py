"""What applications and the launcher say to the supervisor, and what they hear."""

from __future__ import annotations

from antistrophe.definition.spec import SagaSpec
from antistrophe.messages.message import message
from antistrophe.records import ProcessRecord
from antistrophe.saga.inputs import CancelAsked, RetryAsked
from antistrophe.saga.outcome import Outcome

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
    """An order to a saga: to be cancelled, or what an operator says. Answered by Done or Rejected. ``client_id`` names
    the attached process, whose step processes a parked saga uses from now on."""

    correlation: str
    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep
    client_id: str = ""


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


# --- launcher <-> supervisor --------------------------------------------------------------------------------------


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
