"""The journal of a simulated world on a server: the shipped appends and their group, and a server that is played here.

An answer is lost now and then. The statement was done, or never arrived, or is held up and comes later, be it to the
server that has taken over meanwhile. Nobody is told; what became of it is found out by what ships: the same statement,
sent again, and what stands in its place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from antistrophe.errors import CommitUnknownError, JournalError, SagaNotFoundError
from antistrophe.journal.gathering_group import GatheringGroup
from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.journal.postgres_append import PostgresAppends
from antistrophe.journal.postgres_statement import CALL, Append
from antistrophe.records import SagaStatus
from antistrophe.saga import state
from antistrophe.saga.entries import Entry
from antistrophe.saga.listed import Listed
from antistrophe.saga.state import Saga
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_functions import REFUSED
from tests.simulation.faults import Fault
from tests.simulation.simulated_journal import ActorBugError, HostKilledError, note_unheld, refuse_if_full

if TYPE_CHECKING:
    from tests.simulation.world import World

LOST, LOST_ROUGH = (1, 1, 2, 3, 4), (3, 3, 6)
"""How many answers are lost in a row. From three on the append itself says that nobody knows."""

FATES, FATES_ROUGH = ("done", "never", "late"), ("done", "done", "late")

_ROW = Listed("", SagaStatus.EXECUTING, None, None, changed=False)
"""What lists show of the saga: nobody looks."""

_PACKED = 2 + 17 + 4
"""The place of the entries among the values of a statement for several appends: behind its bounds, what it says of
sagas, and what it says of each entry before."""


class Sent(NamedTuple):
    """One append as it arrives. ``last``: the entry that stands where a digest of the last entry does; None: its number
    does."""

    expected: int
    entries: Sequence[Entry]
    last: Entry | None


_LASTS = 2 + 16
"""The place of the entries that they go on from."""


class RefusedError(Exception):
    """The server undoes a group of appends."""

    sqlstate = REFUSED


class SimulatedServer:
    """The server as one connection meets it: what ``PostgresAppends`` asks of a database."""

    where = "simulated/db"
    lock_ms = 100
    answer_s = 30.0

    def __init__(self, world: World) -> None:
        self._world = world
        self._to_lose = 0
        self.read_on: int | None = None

    def returning(self, sql: str, values: Sequence[Any]) -> list[Any]:
        """Make the appends of a statement, all or none. Its values have the entries as they are, in the place where
        packed ones stand."""
        appends = _single(values) if sql == CALL else _several(values)
        if not self._to_lose and self._world.chances.strikes(Fault.COMMIT_UNKNOWN):
            self._to_lose = self._world.rng.choice(LOST_ROUGH if self._world.scenario.rough_server else LOST)
        if self._to_lose:
            self._to_lose -= 1
            self._lose(appends)
        return [self._answer(appends)]

    def rows(self, _sql: str, values: Sequence[Any]) -> list[Any]:
        """The entries behind a seq, up to another."""
        self.read_on = self._world.lives[1]
        _, after, up_to = values
        found = list(enumerate(self._world.journal, start=1))[after:up_to]
        return [(seq, entry.at, type(entry).__name__, entry) for seq, entry in found]

    def confirm(self) -> None:
        """See ``PostgresDatabase``."""
        if self._world.chances.strikes(Fault.COMMIT_UNKNOWN) or self.read_on not in {None, self._world.lives[1]}:
            raise CommitUnknownError("no standby has it yet, or it was read on another server")
        self._world.replicate()

    def _lose(self, appends: Sequence[Sent]) -> None:
        world, life = self._world, self._world.lives[0]
        fate = world.rng.choice(FATES_ROUGH if world.scenario.rough_server else FATES)
        if fate == "done":
            if self._make(appends) and world.rng.random() < 0.5:
                world.replicate()
            world.look_soon()
        elif fate == "late":
            delay_s = world.rng.choice((0.01, 1.0, 20.0)) * world.rng.random()
            world.after(delay_s, lambda: self._make_late(appends, life), outside=True)
        raise CommitUnknownError("the answer was lost")

    def _make_late(self, appends: Sequence[Sent], life: int) -> None:
        # The next life of the system owns the saga by another token, from when it is up.
        owns = life == self._world.lives[0] or not self._world.up
        if owns and self._make(appends):
            self._world.chances.note(Fault.APPEND_LATE)
            self._world.look_soon()

    def _answer(self, appends: Sequence[Sent]) -> tuple[Any, ...]:
        world = self._world
        if world.chances.strikes(Fault.CRASH_BEFORE_APPEND):
            raise HostKilledError
        if not self._make(appends):
            if len(appends) > 1:
                raise JournalError("one of the appends is refused") from RefusedError()
            return ("conflict", 0, None, len(world.journal), None, None)
        world.replicate()
        position = len(world.journal)
        if world.chances.strikes(Fault.CRASH_AFTER_APPEND):
            raise HostKilledError
        return ("written", 0, position, None, None, None)

    def _make(self, appends: Sequence[Sent]) -> bool:
        there = self._world.journal
        written: list[Entry] = []
        for expected, entries, last in appends:
            if expected != len(there) + len(written) or (last is not None and last != there[-1]):
                return False
            written += entries
        there.extend(written)
        return True


def _single(values: Sequence[Any]) -> list[Sent]:
    return [Sent(values[1], values[7], values[-1])]


def _several(values: Sequence[Any]) -> list[Sent]:
    expected, counts, lasts, entries = values[3], values[5], values[_LASTS], values[_PACKED]
    appends, begin = [], 0
    for seq, count, last in zip(expected, counts, lasts, strict=True):
        appends.append(Sent(seq, entries[begin : begin + count], last))
        begin += count
    return appends


class ServerJournal:
    """One connection to the journal of the world's saga; with ``group`` the shipped ``SharedJournalPort``."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._server = SimulatedServer(world)
        self._appends = PostgresAppends(cast("PostgresDatabase", self._server), None)
        self.position = len(world.journal)

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis) -> Basis:
        """See ``JournalPort``."""
        expected = 0 if before is None else before.seq
        assert after == functools.reduce(state.evolve, entries, before), "the state is the fold of the entries"
        rows = [
            (after.id, seq, entry.at, type(entry).__name__, entry, b"")
            for seq, entry in enumerate(entries, start=expected + 1)
        ]
        append = Append(after.id, expected, rows, entries[0], None, _ROW, last=basis.last)
        if self._appends.gathered is not None:
            self._appends.gathered.append(append)
        else:
            refuse_if_full(self._world)
            note_unheld(self._world, entries)
            self.position = self._appends.write((append,))
        if self._world.chances.strikes(Fault.ACTOR_FAILED):
            raise ActorBugError
        return _after(entries)

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        """See ``JournalPort``."""
        self.position = len(self._world.journal)
        self._server.read_on = self._world.lives[1]
        if not self._world.journal:
            raise SagaNotFoundError("the server has never heard of it")
        return state.replay(self._world.journal), _after(self._world.journal)

    def confirm(self) -> None:
        """See ``JournalPort``."""
        self._server.confirm()

    def group(self) -> ServerGroup:
        """See ``SharedJournalPort``."""
        return ServerGroup(self, self._world, self._appends)


def _after(entries: Sequence[Entry]) -> Basis:
    """Here an entry is its own digest."""
    return Basis(NEW_SAGA.token, cast("bytes", entries[-1]))


class ServerGroup:
    """The shipped group; the shipped ``GroupPort``."""

    broken = False

    def __init__(self, journal: ServerJournal, world: World, appends: PostgresAppends) -> None:
        self._journal = journal
        self._world = world
        self._appends = appends
        self._group = GatheringGroup(appends)

    def open(self) -> None:
        """See ``GroupPort``."""
        self._group.open()

    def commit(self) -> None:
        """See ``GroupPort``."""
        gathered = self._appends.gathered or ()
        if gathered:
            refuse_if_full(self._world)
        note_unheld(self._world, [row[4] for append in gathered for row in append.rows])
        self._group.commit()
        if self._group.position is not None:
            self._journal.position = self._group.position

    def roll_back(self) -> None:
        """See ``GroupPort``."""
        self._group.roll_back()
