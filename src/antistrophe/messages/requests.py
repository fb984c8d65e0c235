"""The messages between the supervisor and the applications and the launcher."""

from __future__ import annotations

from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.errors import SagaExistsError
from antistrophe.messages.message import Environment, message
from antistrophe.records import ProcessRecord, PurgedSaga, SagaStatus
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked
from antistrophe.saga.outcome import Outcome

# --- application -> supervisor ------------------------------------------------------------------------------------


@message
class Introduce:
    """Who this application is, before any other request, and once to each incarnation of the system. ``origin``: where
    it would find code; ``environment``: what its step processes are to see. ``brings_code``: False for a tool, whose
    environment counts only where no application of a saga's origin is attached. Answered by Introduced."""

    correlation: str
    client_id: str
    origin: Origin
    environment: Environment
    brings_code: bool


@message
class StartSaga:
    """Run this saga. Answered by Accepted or Rejected; with ``wait`` by SagaOutcome when the saga ends, and by Accepted
    only when the request is sent again. The saga uses the step processes of the attached process ``client_id``."""

    correlation: str
    request_id: str
    client_id: str
    spec: SagaSpec
    join: bool = False
    wait: bool = False


@message
class AwaitSaga:
    """Tell me the end of this saga. Answered by SagaOutcome as soon as the saga has ended or is parked, by Rejected
    where there is no such saga. From now on the client ``client_id`` holds the saga."""

    correlation: str
    saga_id: str
    client_id: str = ""


@message
class StopWaiting:
    """Whoever sent StartSaga or AwaitSaga with this correlation waits no longer. Nobody answers."""

    correlation: str
    saga_id: str


@message
class HoldSagas:
    """The client ``client_id`` has started or joined these sagas. ``last``: no more of them follow. ``to_come``: they
    are accepted in a transaction of the client's own, which may not have ended yet. Answered by HeldSagas."""

    correlation: str
    client_id: str
    saga_ids: tuple[str, ...]
    last: bool
    to_come: bool = False


@message
class OrderSaga:
    """An order to a saga: a cancel, or an operator's word. Answered by Done or Rejected. From now on a parked saga uses
    the step processes of the attached process ``client_id``."""

    correlation: str
    saga_id: str
    order: CancelAsked | RetryAsked | ResolveStep | RelocateAsked
    client_id: str = ""


@message
class ResolveStep:
    """An operator says that the compensation of the step of this name is settled."""

    step_name: str
    note: str
    by: str


@message
class ListProcesses:
    """Answered by Processes."""

    correlation: str


@message
class ReloadCode:
    """End the step processes that have loaded code; those that work, after their calls. Answered by CodeReloaded."""

    correlation: str


# --- answers to applications --------------------------------------------------------------------------------------


@message
class CodeReloaded:
    """So many step processes end."""

    correlation: str
    processes: int


@message
class Introduced:
    """The system knows the application."""

    correlation: str


@message
class Accepted:
    """The saga is durable, or was before; ``joined``: it is live, and was accepted for another request."""

    correlation: str
    saga_id: str
    position: int
    joined: bool = False


@message
class Rejected:
    """Nothing was done. ``error`` is the name of a class in antistrophe.errors, ``text`` its message. ``purged``: what
    is known of the saga, where it was purged."""

    correlation: str
    error: str
    text: str
    purged: PurgedSaga | None = None


def rejection(correlation: str, error: Exception) -> Rejected:
    """The rejection with that error."""
    purged = None
    if isinstance(error, SagaExistsError) and error.status is not None and error.finished_at is not None:
        purged = PurgedSaga(SagaStatus(error.status), error.finished_at)
    return Rejected(correlation, type(error).__name__, str(error), purged)


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
class HeldSagas:
    """The sagas of a HoldSagas that are live, or to come. ``host``: the name of the lease by which this host holds
    them; empty where it has none."""

    correlation: str
    saga_ids: tuple[str, ...]
    host: str = ""


@message
class Processes:
    """The processes below the supervisor, itself included."""

    correlation: str
    processes: tuple[ProcessRecord, ...]


# --- launcher <-> supervisor --------------------------------------------------------------------------------------


@message
class SupervisorReady:
    """The supervisor has read the journal and takes requests."""

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
    """An attached process is gone. Its idle step processes can be ended."""

    client_id: str


@message
class AttachedClients:
    """Every process that is attached at this moment. Those that are ``returning`` were attached to an earlier
    incarnation of the system: each will say with HoldSagas which sagas it holds. Where there is any, the system is
    wanted: a drain ends, and it goes on."""

    client_ids: tuple[str, ...]
    returning: tuple[str, ...] = ()


@message
class Drain:
    """Start no attempt, let those that run come to an end for ``drain_s`` seconds, fence the rest; then answer Drained
    with the same ``number``."""

    drain_s: float
    number: int


@message
class Drained:
    """No attempt runs any more; ``fenced`` of them had to be ended."""

    fenced: int
    number: int
