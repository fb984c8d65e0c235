"""The journal of a simulated world, in memory. It refuses like a full disk, and hosts are killed before or after a
commit.

What is durable is the world's list of entries. Each host has a connection of its own, as in a system: only this host
sees what its open group has written, and the entries of the group end with the host.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from antistrophe.errors import JournalError
from antistrophe.journal import SeqConflictError
from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.saga import state
from antistrophe.saga.entries import AttemptStarted, Entry
from antistrophe.saga.state import Saga
from tests.simulation.faults import Fault

if TYPE_CHECKING:
    from tests.simulation.world import World

FULL_S = (0.0, 0.0, 0.3, 2.0, 10.0, 30.0)
"""For how long a full disk, or a lock that another process holds, refuses. 0: once, so that what a batch lost can be
journaled at once, alone. The longest is longer than any limit of a step."""


class HostKilledError(BaseException):
    """The host's process is killed at this point. No actor can catch that."""


class ActorBugError(Exception):
    """The saga's actor meets an error that it did not expect."""


def refuse_if_full(world: World) -> None:
    """Raise JournalError while the disk is full."""
    if world.chances.strikes(Fault.JOURNAL_REFUSED):
        world.disk_full_until = world.now + world.rng.choice(FULL_S)
        raise JournalError("the disk is full")
    if world.now < world.disk_full_until:
        raise JournalError("the disk is still full")


def note_unheld(world: World, entries: Sequence[Entry]) -> None:
    """Note the attempts that are to be journaled on a lease which the saga does not hold."""
    for entry in entries:
        if isinstance(entry, AttemptStarted) and not world.supervisor.may_run(entry.lease.name):
            world.history.unheld.append(str(entry))


class SimulatedJournal:
    """One connection to the journal of the world's saga; with ``group`` the shipped ``SharedJournalPort``."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._group: SimulatedGroup | None = None
        self.position = len(world.journal)

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis) -> Basis:
        """See ``JournalPort``."""
        try:
            written = self._seen()
            expected = 0 if before is None else before.seq
            if expected != len(written):
                raise SeqConflictError(after.id, expected=expected, actual=len(written))
            assert after == functools.reduce(state.evolve, entries, before), "the state is the fold of the entries"
            refuse_if_full(self.world)
        except BaseException:
            if self._group is not None:
                self._group.broken = True
            raise
        if self._group is None:
            self.make_durable(entries)
        else:
            self._group.entries += entries
        self.position = len(written) + len(entries)
        if self.world.chances.strikes(Fault.ACTOR_FAILED):
            raise ActorBugError
        return basis

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        """See ``JournalPort``."""
        return self.load(saga_id), NEW_SAGA

    def confirm(self) -> None:
        """See ``JournalPort``. What is written here is safe."""

    def load(self, saga_id: str) -> Saga:
        """See ``JournalPort``."""
        entries = self._seen()
        self.position = len(entries)
        return state.replay(entries)

    def group(self) -> SimulatedGroup:
        """See ``SharedJournalPort``."""
        return SimulatedGroup(self)

    def share(self, group: SimulatedGroup | None) -> None:
        """Let commits take part in this group from now on; None: each is durable by itself."""
        self._group = group

    def make_durable(self, entries: Sequence[Entry]) -> None:
        """Write and sync; the host may be killed before, or after."""
        world = self.world
        if entries and world.chances.strikes(Fault.CRASH_BEFORE_APPEND):
            raise HostKilledError
        note_unheld(world, entries)
        world.journal.extend(entries)
        if entries and world.chances.strikes(Fault.CRASH_AFTER_APPEND):
            raise HostKilledError

    def _seen(self) -> list[Entry]:
        return [*self.world.journal, *(self._group.entries if self._group is not None else ())]


class SimulatedGroup:
    """Commits that become durable together; the shipped ``GroupPort``."""

    def __init__(self, journal: SimulatedJournal) -> None:
        self._journal = journal
        self.entries: list[Entry] = []
        self.broken = False

    def open(self) -> None:
        """See ``GroupPort``."""
        self._journal.share(self)

    def commit(self) -> None:
        """See ``GroupPort``. A disk may be full at the commit only, when each append has been taken."""
        self._journal.share(None)
        if self.entries:
            refuse_if_full(self._journal.world)
        self._journal.make_durable(self.entries)

    def roll_back(self) -> None:
        """See ``GroupPort``."""
        self._journal.share(None)
        self.entries = []
