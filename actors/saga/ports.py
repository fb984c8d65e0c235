"""What a saga actor needs of the world: a mailbox with a clock, the journal, and what step processes left behind.

In a system, ``HostedSagas`` is the mailbox, ``JournalAccess`` the journal, and ``AttemptEvidence`` reads the files of
the step processes. Simulations and ``run_inline`` put others in their place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord
from antistrophe.journal.last_entry import Basis
from antistrophe.messages import Address, ProcessDead
from antistrophe.saga.entries import Entry, Lease
from antistrophe.saga.state import Saga
from antistrophe.settings import Settings


class SagaHostPort(Protocol):
    """The mailbox, the clock and the alarm of a saga actor. ``draining``: no further attempt may start."""

    supervisor: Address
    settings: Settings
    draining: bool

    def now(self) -> float:
        """Seconds since the epoch, by the system's steady clock."""

    def wall(self) -> float:
        """Seconds since the epoch, by the clock that people look at: for them, and never for a decision."""

    def send(self, to: Address, message: Any) -> None:
        """Send a message, once everything that was journaled before is durable."""

    def send_made(self, to: Address, answer: Callable[[int], Any]) -> None:
        """As ``send``, for an answer that names the journal's position: ``answer`` makes it of the position, which is
        known only then."""

    def once_durable(self, do: Callable[[], object]) -> None:
        """Call ``do``, once everything that was journaled before is durable."""

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        """Wake the saga's actor at that moment; an earlier alarm stays as it is. Each saga has one alarm."""

    def leave(self, saga_id: str) -> None:
        """Forget the saga's actor and its alarm."""


class JournalPort(Protocol):
    """The journal of sagas. ``position``: the place in the journal of the last entry that was written or read here;
    what is not durable yet need not count."""

    position: int

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis) -> Basis:
        """Append the entries between two states of a saga. Returns by what the next ones are written. Raises
        SeqConflictError where somebody else has appended to this saga, SagaTakenError where this host does not own it
        by that token, JournalError where the journal refuses."""

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        """The saga as its entries tell it, for the actor that goes on with it, and by what this actor writes to it.
        Raises SagaTakenError where another host owns it, and JournalError."""

    def confirm(self) -> None:
        """Have what was read here be as safe as what is committed here, before somebody is told of it or acts on it.
        Raises JournalError."""


class GroupPort(Protocol):
    """Commits that become durable together."""

    @property
    def broken(self) -> bool:
        """One of them failed, so the group can only be rolled back."""

    def open(self) -> None:
        """Let the following commits take part."""

    def commit(self) -> None:
        """Make all of them durable. Raises JournalError; then none of them counts, or after a CommitUnknownError
        perhaps all: each tells that, where it is made again. A group may write all that it has only now, so a conflict
        is told here, too, as a JournalError."""

    def roll_back(self) -> None:
        """Undo all of them."""


class SharedJournalPort(JournalPort, Protocol):
    """A journal whose commits can be grouped."""

    def group(self) -> GroupPort:
        """A new group."""


class EvidencePort(Protocol):
    """What the step processes left behind of their attempts."""

    def boot_id(self) -> str:
        """Names the time since the machine was started: evidence from before proves nothing."""

    def read(self, lease: Lease, attempt_id: AttemptId) -> AttemptRecord:
        """The start marker and the outcome that the process of that lease wrote of that attempt, or the proof that the
        attempt never began. Whatever keeps from reading leaves both open."""

    def stack(self, lease_name: str) -> str | None:
        """The stacks that the process wrote before it died, or None."""

    def why_no_stack(self, dead: ProcessDead) -> str | None:
        """Why that process wrote no stack."""

    def remove(self, lease_name: str) -> None:
        """Remove what that process left: the journal has settled its attempt."""


class HostProcessPort(Protocol):
    """The process that hosts saga actors."""

    def now(self) -> float:
        """Seconds since the epoch, by the system's steady clock."""

    def wall(self) -> float:
        """See ``SagaHostPort``."""

    def send(self, to: Address, message: Any) -> None:
        """Send a message now."""

    def wake_in(self, seconds: float) -> None:
        """Call ``HostedSagas.wake_due`` in so many seconds. An alarm can't be cancelled."""
