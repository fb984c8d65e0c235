"""The messages that a step actor receives and sends."""

from __future__ import annotations

from antistrophe.definition.code_files import FileStamp
from antistrophe.definition.spec import Origin, ResourceLimits
from antistrophe.messages.message import Configuration, Environment, message
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Answer


@message
class StepConfiguration:
    """The first message to a step actor; ``name`` is the name of its leases and of its attempt file. ``group``: the
    control group that it enters; "" for none. ``environment``: what user code is to see; None where it sees that of the
    system."""

    base: Configuration
    name: str
    group: str
    environment: Environment | None = None


@message
class StepReady:
    """A step actor's first message, as soon as it is configured."""

    lease: Lease


@message
class LoadCode:
    """Import these step classes. ``programs``: where attached programs would look for them, the newest first."""

    origin: Origin
    class_refs: tuple[str, ...]
    programs: tuple[Origin, ...] = ()


@message
class CodeLoaded:
    """The step classes are imported. ``to_close``: the process has something to close before it ends. ``files``: the
    files of their modules, in the versions that this process has loaded."""

    lease_name: str
    class_refs: tuple[str, ...]
    to_close: bool = False
    files: tuple[FileStamp, ...] = ()


@message
class CodeNotLoaded:
    """The step classes can't be imported, for this reason. ``to_close``: as for CodeLoaded. ``unguarded``: the code
    does when it is loaded what only the application is to do. ``found``: their place is gone, and this one has them."""

    lease_name: str
    reason: str
    to_close: bool = False
    unguarded: bool = False
    found: Origin | None = None


@message
class RunStep:
    """Make this call once; the same attempt sent again is answered with the first answer. ``attempt`` is the number of
    the journaled intent, ``run`` the number that the user sees. ``outputs``: the packed outputs of earlier steps by
    name, in step order; ``output``: that of this step. In place of an output that the saga has not kept stands the seq
    of the journal's entry that holds it. ``more_outputs``: the journal may hold others of earlier steps. ``fresh``: its
    process makes no other call. ``computed``: what the step has computed beside its input. ``request_id`` and
    ``traceparent``: of the saga's acceptance; the span of the attempt follows from them. ``fencing_token``: the number
    of the host's claim on the saga."""

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
    outputs: tuple[tuple[str, bytes | int], ...]
    more_outputs: bool
    output: bytes | int | None
    in_doubt: bool
    limits: ResourceLimits | None
    kill_grace_s: float
    fresh: bool
    computed: bytes = b""
    request_id: str = ""
    traceparent: str = ""
    fencing_token: int = 1


@message
class CallOver:
    """The call has ended, its outcome is in the attempt file, and its process is to be ended before the saga goes on.
    ``left``: what the call of ``step_class`` has left running there. ``spoilt``: what it has changed there for good.
    Both are None where the step wants a process of its own.
    """

    lease_name: str
    step_class: str
    left: str | None
    spoilt: str | None


@message
class ProcessSpoilt:
    """A call of ``step_class`` has changed this shared process for good (``spoilt`` says what): it makes no more calls,
    and is to be ended after those that run."""

    name: str
    step_class: str
    spoilt: str


@message
class EndCall:
    """End the call in the slot of this lease, and make no other call there. Answered by CallEnded, once nothing of the
    call is left."""

    lease_name: str


@message
class CallEnded:
    """Nothing runs in the slot of this lease, and nothing ever will."""

    lease_name: str


@message
class LoopBlocked:
    """The call in the slot of this lease has blocked the event loop for ``blocked_s`` seconds, while other calls wait
    for it. Sent again until the process is killed."""

    lease_name: str
    blocked_s: float


@message
class StepAnswer:
    """How the call ended. Echoes the attempt and the lease."""

    saga_id: str
    step: int
    action: Action
    attempt: int
    lease_name: str
    answer: Answer
