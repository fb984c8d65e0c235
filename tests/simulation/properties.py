"""What is checked of a history: the names of the promises, and what a broken one looks like."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Check(str, Enum):
    """A promise that every history keeps. The first nine are the properties of the machine."""

    ORDER = "compensations start in exactly the reverse order of what is owed"
    DOUBT = "what succeeded or is in doubt is owed, and nothing else is undone"
    ECHO = "an answer settles only the attempt that it echoes, as it really ended"
    EARLY = "nothing times out before its deadline"
    LATE = "an attempt past its limit is told to end in time, whatever the journal does, and counts as timed out"
    ONE_END = "there is exactly one final entry, it comes last, and its outcome is told"
    GOES_ON = "from every prefix of the journal the saga goes on to its end"
    BOUND = "every world comes to rest within its bound"
    DIRECTION = "a saga that has turned back never goes forward again"

    ALONE = "never two live calls of one saga, and each attempt is called at most once"
    INTENT = "no call without its journaled intent"
    PROGRESS = "no progress without the journaled result of what went before"
    AT_MOST_ONCE = "no more calls than the policy has, and one effect of a step that is not idempotent"
    PROOF = "final only with proof in the journal"
    LEDGER = "what is final agrees with what the steps themselves wrote"
    RETRIES = "attempts are repeated as the policy says: not more often, and not less"
    UNDO_RETRIES = "compensations are repeated as their policy says, and what the system ended does not count"
    BACKOFF = "no attempt before its wait is over, and no other wait than the policy's"
    VERIFY = "verify is asked when it is due, and only then"
    DEADLINE = "nothing starts after the deadline, and nothing may run past it"
    CANCEL = "nothing new goes forward after a cancel was accepted, and the saga turns back"
    CAUSE = "the reason of turning back is the true one"
    PARK = "a saga parks where a compensation failed for good, and waits there for an operator"
    FRESH = "a step that asks for a fresh process shares it with no other attempt"
    TURN = "an attempt of a step class with limits runs only when its class has its turn, one attempt for each"
    SHARED = "what may share a process runs in a slot, and nothing else does"
    LEASES = "an actor that leaves in order has given back every process"
    HELD = "an attempt is journaled, and called, only in a process whose lease its saga holds"
    POSITION = "no position is told before it is durable"
    ERROR = "the machine never raises"


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise, and how it was broken."""

    check: Check
    text: str
