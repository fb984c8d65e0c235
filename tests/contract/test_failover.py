"""Hosts of two servers, of which one follows the other: what they do when the first one dies, and when it comes back
and takes writes as if nothing had happened."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import partial

import psycopg
import pytest

from antistrophe.cqrs import CommandBus, EventStore
from antistrophe.errors import AntistropheError, CommitUnknownError
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.keeper_messages import AllDead, Confirmed, Fenced, Registered, Trouble
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal import SeqConflictError
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.postgres_acceptance import accepting
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from antistrophe.storage.postgres_callers import ask
from tests.contract.hosts_kit import Clock, Host, add_sagas, closing_all, go_on, terms
from tests.contract.journal_sagas import accepted
from tests.cqrs.shop import CreateUser, UserCreated
from tests.noticing import noticed
from tests.postgres_cluster import END_SESSIONS, PostgresCluster
from tests.postgres_fixtures import require_postgres
from tests.server_pair import CANCEL_WAITS, DATABASE, END_WAITING, ServerPair, server_pair
from tests.waiting import until

ANSWER_S, LEASE_S = 0.3, 2.5


class Hasty(Host):
    """A host that waits for answers as long as any, and once it ``is_hasty``, because some are not to come, only so
    long."""

    is_hasty = False

    def _open(self) -> PostgresDatabase:
        self.database = open_postgres(self._url, patience_s=ANSWER_S if self.is_hasty else None)
        return self.database

    def lose_connection(self) -> None:
        assert self.database is not None
        self.database.close()
        self.keeper._database = None


@pytest.fixture(scope="module")
def pair(lasting_processes: set[int]) -> Iterator[ServerPair]:
    """The pair of all tests, for it takes seconds to make. The last one uses it up."""
    require_postgres()
    with server_pair(lasting_processes) as pair:
        yield pair


@pytest.fixture
def no_saga_stays(pair: ServerPair) -> Iterator[None]:
    """However the test ends: the hosts of the last test would take what it has left."""
    yield
    pair.primary.sql("DELETE FROM antistrophe.sagas", DATABASE)


def rows_on(server: PostgresCluster) -> list[str]:
    return server.sql("SELECT id, counter, ended FROM antistrophe.hosts ORDER BY id", DATABASE)


def test_what_no_standby_has_is_not_confirmed(pair: ServerPair) -> None:
    """Whoever cancels the wait for it has the server tell of a success, with a warning."""
    told: list[str] = []
    with contextlib.closing(open_postgres(pair.url)) as database:
        hosts, host = StoredHosts(database), new_description("a", [], "1", LEASE_S)
        hosts.register(host, HostLoad())

        def write() -> None:
            for what in ("a statement", "a transaction"):
                try:
                    if what == "a statement":
                        hosts.renew(host.id, HostLoad())
                    else:
                        with database.transaction():
                            database.execute("UPDATE antistrophe.hosts SET attempts = 1")
                except CommitUnknownError as error:
                    told.append(f"{what}: {error}")

        with pair.without_standby():
            writer = threading.Thread(target=write)
            writer.start()
            until(lambda: not pair.primary.sql(CANCEL_WAITS) and not writer.is_alive(), "both waits are cancelled")
        assert [each.partition(": ")[0] for each in told] == ["a statement", "a transaction"]
        assert all("cancelled the wait for the standby" in each for each in told)
        assert hosts.renew(host.id, HostLoad()) is not None, "the connection is as good as before"


class Writer(threading.Thread):
    """Writes something, and knows what it was ``told`` of it: None where it was told that it is written. ``waits``: how
    often it was told to end a wait for the standby: more than once where that takes its time."""

    def __init__(self, write: Callable[[], object]) -> None:
        super().__init__()
        self._write = write
        self.told: AntistropheError | None = None
        self.waits = 0
        self.start()

    def run(self) -> None:
        try:
            self._write()
        except AntistropheError as error:
            self.told = error


def ended_waits(pair: ServerPair, write: Callable[[], object], first: str = CANCEL_WAITS) -> Writer:
    """Write something while no standby is there, and end what waits for one."""
    writer = Writer(write)

    def is_over() -> bool:
        writer.waits += len(pair.primary.sql(CANCEL_WAITS if writer.waits else first))
        return not writer.is_alive()

    until(is_over, "the waits for the standby are ended")
    return writer


def write_alone(journal: PostgresJournal, saga_id: str) -> None:
    """Accept a saga, as the same append each time."""
    entries = (accepted(saga_id),)
    journal.append(saga_id, expected_seq=0, entries=entries, row=metadata_of(replay(entries)))


def write_together(journal: PostgresJournal, saga_id: str) -> None:
    """Accept two sagas in one transaction."""
    group = journal.group()
    group.open()
    for each in (saga_id, f"{saga_id}, too"):
        write_alone(journal, each)
    group.commit()


def check_what_is_told(pair: ServerPair, write: Callable[[PostgresJournal, str], object], saga_id: str) -> None:
    """What is told as written is on the standby, however often it was tried, and however its answer was lost."""
    with contextlib.closing(PostgresJournal(pair.url, patience_s=5.0)) as journal:  # its tables wait for the standby
        with pair.without_standby():
            for end in (END_WAITING, CANCEL_WAITS):  # the first try, and the same made again
                writer = ended_waits(pair, partial(write, journal, saga_id), end)
                assert isinstance(writer.told, CommitUnknownError)
                assert journal.request_id(saga_id) is not None, "it is there, for whoever reads"
        write(journal, saga_id)
    there = f"SELECT count(*) FROM antistrophe.journal WHERE saga_id = '{saga_id}'"
    until(lambda: pair.standby.sql(there, DATABASE) == ["1"], "what the standby has on disk is shown there, too")


@pytest.mark.usefixtures("no_saga_stays")
@pytest.mark.parametrize("write", [write_alone, write_together])
def test_what_was_made_again_is_told_as_written_only_once_a_standby_has_it(
    pair: ServerPair, write: Callable[[PostgresJournal, str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_what_is_told(pair, write, write.__name__)
    with monkeypatch.context() as without, noticed():
        without.setattr(PostgresDatabase, "confirm", lambda _: None)
        check_what_is_told(pair, write, f"{write.__name__}, by a read alone")


@pytest.mark.usefixtures("no_saga_stays")
def test_what_is_only_read_is_confirmed_by_a_commit_that_waits_for_the_standby(pair: ServerPair) -> None:
    with contextlib.closing(PostgresJournal(pair.url, patience_s=5.0)) as journal:
        write_alone(journal, "read")
        with pair.without_standby():
            assert isinstance(ended_waits(pair, journal.confirm).told, CommitUnknownError)
            with psycopg.connect(pair.url) as own:
                with pytest.raises(SeqConflictError):
                    ask(own, accepting(accepted("read").spec, "again"))
                own.execute("SELECT 1")  # the transaction goes on
                assert ended_waits(pair, own.commit).waits > 0
        journal.confirm()
        assert journal.request_id("read") == "request of read"
        pair.primary.sql(END_SESSIONS, DATABASE)
        with pytest.raises(CommitUnknownError, match="read it again"):
            journal.confirm()
        assert journal.request_id("read") == "request of read"
        journal.confirm()


def test_an_answer_of_a_key_and_what_is_flushed_are_told_once_a_standby_has_them(pair: ServerPair) -> None:
    with EventStore(pair.url) as store:
        bus, calls = CommandBus(store), list[str]()

        @bus.handles(CreateUser)
        def create(command: CreateUser) -> list[UserCreated]:
            calls.append(command.name)
            return [UserCreated(command.name)]

        again = partial(bus.dispatch, CreateUser("Ada"), idempotency_key="key")
        again()
        with pair.without_standby():
            for ask in (again, store.flush):
                assert isinstance(ended_waits(pair, ask).told, CommitUnknownError)
        assert again() == [UserCreated("Ada")]
        assert calls == ["Ada"]


def test_hosts_go_by_the_server_that_has_taken_over_and_not_by_the_one_that_comes_back(pair: ServerPair) -> None:
    clock, late = Clock(), Clock()
    gone, goes_on, third = (
        Hasty(pair.url, at, terms(name, lease_s=LEASE_S)) for at, name in ((late, "a"), (clock, "b"), (late, "c"))
    )
    with closing_all([gone, goes_on, third]):
        for host in (gone, goes_on):
            host.turn()
            host.has_room()
        assert gone.database is not None
        add_sagas(gone.database, gone.id, ("s", "executing"))
        go_on(clock, [goes_on], 0.8 * LEASE_S)
        lost = pair.fail_over()
        failed_at = clock.now
        go_on(clock, [goes_on], 3 * LEASE_S, until=lambda: bool(goes_on.sagas))
        assert goes_on.sagas == ["s"]
        assert clock.now - failed_at >= LEASE_S, "what was watched on the server that is gone does not count"
        assert not goes_on.told(Fenced) + goes_on.told(Trouble)

        pair.start(lost)
        for host in (gone, goes_on, third):
            host.is_hasty = True
        gone.lose_connection()
        on_the_lost, confirmed = rows_on(lost), len(gone.told(Confirmed))
        assert lost.sql("SELECT pg_is_in_recovery()") == ["f"], "it takes writes"
        go_on(late, [gone, third], LEASE_S)  # by their clocks no time has passed since the first one died
        assert len(gone.told(Confirmed)) == confirmed
        assert gone.told(Fenced)
        assert not third.told(Registered)
        goes_on.lose_connection()
        go_on(clock, [goes_on], LEASE_S)
        assert goes_on.told(Fenced), "it has come to the wrong one, where nothing is confirmed"
        assert rows_on(lost) == on_the_lost
        lost.kill()
        goes_on.is_hasty = False
        goes_on.lose_connection()
        goes_on.say(AllDead())
        go_on(clock, [goes_on], 3.0)
        assert goes_on.sagas == ["s", "s"]
