"""The state of one step of a saga, and what follows from it: whether an attempt leaves doubt, and what is owed."""

from __future__ import annotations

from msgspec import Struct

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import StepSpec
from antistrophe.saga.entries import Action, AttemptFailed, Failure, FailureKind

_DOUBTFUL = frozenset(
    {FailureKind.IN_DOUBT, FailureKind.TIMEOUT, FailureKind.CRASH, FailureKind.INTERRUPTED, FailureKind.UNENCODABLE}
)
"""The failures after which an ``execute`` may have taken effect, or surely has."""

_NOT_ENDED_BY_ITSELF = frozenset({FailureKind.INTERRUPTED, FailureKind.NEVER_RAN, FailureKind.REFUSED})

_EXCEPTIONS = frozenset({FailureKind.RAISED, FailureKind.RETRYABLE, FailureKind.FATAL})


LOST_LIMIT = 3
"""So often in a row the actor system may die while an attempt of an action of a step runs. Then it is not tried again
before an operator says so: it may be what ends the system."""

ALONE_FROM = LOST_LIMIT - 1
"""From so many times on it is tried again while no other such attempt runs. So the next death says which one it was."""

KEPT_BYTES = 256 * 1024
"""The state of a saga keeps outputs and events of so many bytes in all. What is over that is in the journal alone, so
that neither a state nor a message grows with what the steps return."""


class StepState(Struct, frozen=True):
    """The state of one step. ``started`` counts the intents, and numbers the attempts. ``never_ran`` counts the
    attempts that died before the call, ``refused`` those whose process could not make the call, ``counted`` those that
    count against the policy. ``undo_*`` are the same numbers for compensate, ``verify_*`` for verify. ``undo_failures``
    is never reset, not even by an operator's retry, which resets ``undo_counted``. ``traceback`` and
    ``undo_traceback``: of what the last attempt raised, or None. ``lost`` counts how often in a row the actor system
    died while an attempt ran.

    ``output_seq`` is the seq of the entry with the step's output, None where it has none. ``output`` and ``events`` are
    those of that entry, unless the saga keeps too much by then (``KEPT_BYTES``)."""

    started: int = 0
    never_ran: int = 0
    refused: int = 0
    counted: int = 0
    undo_started: int = 0
    undo_never_ran: int = 0
    undo_refused: int = 0
    undo_counted: int = 0
    undo_failures: int = 0
    verify_started: int = 0
    verify_never_ran: int = 0
    verify_refused: int = 0
    lost: int = 0
    undo_lost: int = 0
    verify_lost: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    pid: int | None = None
    host: str | None = None
    succeeded: bool = False
    in_doubt: bool = False
    output: bytes | None = None
    output_seq: int | None = None
    events: tuple[EncodedEvent, ...] = ()
    failure: Failure | None = None
    undone: bool = False
    given_up: Failure | None = None
    resolved: bool = False
    traceback: str | None = None
    undo_traceback: str | None = None

    def times_lost(self, action: Action) -> int:
        """How often in a row the actor system died while an attempt of that action ran."""
        return {Action.EXECUTE: self.lost, Action.COMPENSATE: self.undo_lost, Action.VERIFY: self.verify_lost}[action]

    @property
    def settled_back(self) -> bool:
        """True if nothing is left to compensate, or an operator has said so."""
        return self.undone or self.resolved


def leaves_doubt(spec: StepSpec, failure: Failure) -> bool:
    """True if an ``execute`` that ended like this may have taken effect. In a step that is not atomic, any exception
    may."""
    return kind_leaves_doubt(failure.kind, atomic=spec.atomic)


def kind_leaves_doubt(kind: FailureKind, *, atomic: bool) -> bool:
    """``leaves_doubt`` for the kind of a failure, in a step that is atomic or not."""
    return kind in _DOUBTFUL or (not atomic and kind in _EXCEPTIONS)


def is_owed(spec: StepSpec, state: StepState) -> bool:
    """True if the step took effect, or may have, and still has to be undone."""
    return spec.requires_compensation and (state.succeeded or state.in_doubt) and not state.settled_back


def times_lost(before: int, entry: AttemptFailed) -> int:
    """How often in a row the actor system died while the attempt ran, with this one. An attempt that ends by itself is
    no suspect any more."""
    return before + entry.lost if entry.lost or entry.failure.kind in _NOT_ENDED_BY_ITSELF else 0
