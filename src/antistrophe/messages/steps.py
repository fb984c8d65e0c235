"""What a step actor hears and says."""

from __future__ import annotations

from antistrophe.definition.spec import Origin, ResourceLimits
from antistrophe.messages.message import Configuration, message
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Answer


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
class EndCall:
    """End the call of this lease, which is a slot, and make no other there. Answered by CallEnded, once nothing of it
    is left; safe to say again."""

    lease_name: str


@message
class CallEnded:
    """Nothing runs in that slot, and nothing ever will."""

    lease_name: str


@message
class LoopBlocked:
    """The call of this lease, which is a slot, has kept the loop from turning for ``blocked_s`` seconds, while others
    there wait; said again until its process is killed."""

    lease_name: str
    blocked_s: float


@message
class StepAnswer:
    """How the call ended; echoes the attempt and the lease."""

    saga_id: str
    step: int
    action: Action
    attempt: int
    lease_name: str
    answer: Answer
