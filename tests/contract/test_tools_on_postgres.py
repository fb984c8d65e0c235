"""What tools read of a journal in PostgreSQL: the same as of a file; and what a fork has of a connection: nothing."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe import dashboard
from antistrophe.cli.storage_words import open_in_words
from antistrophe.client.stored_home import stored_place
from antistrophe.dashboard.limits import limits_now
from antistrophe.dashboard.overview import attention, storage
from antistrophe.dashboard.saga_filter import SagaFilter, find
from antistrophe.dashboard.stored import StoredHome
from antistrophe.errors import JournalError
from antistrophe.eventstore.reading import stored_stream
from antistrophe.hosts.earlier_life import FILE_NAME, lease_of_run, leases_of_earlier_life, note_lease
from antistrophe.journal import JournalPlace, SagaEvent, open_journal, open_store
from antistrophe.journal.blocking import blocking
from antistrophe.journal.growth import growth_in, growth_of
from antistrophe.journal.present_numbers import PresentNumbersReader
from antistrophe.journal.statistics_follower import StatisticsFollower
from antistrophe.linux.home_identity import renew_identity
from antistrophe.records import SagaStatus
from antistrophe.storage.postgres_session import _sessions
from tests.contract.journal_sagas import FORWARD, accepted, append, run
from tests.waiting import until

pytestmark = pytest.mark.usefixtures("slow_server")


class FirstOwner:
    """A host that works on the sagas that it has accepted itself."""

    def __init__(self, host: str) -> None:
        self.host = host

    def token_of(self, saga_id: str) -> int:
        """See ``SagaOwner``."""
        return 1

    def last_of(self, saga_id: str) -> bytes | None:
        """See ``SagaOwner``."""
        return None

    def appends(self, saga_id: str, last: bytes) -> None:
        """See ``SagaOwner``."""


EVENT = SagaEvent("two", "paid", 1, b"\x80", {"saga_id": "two"}, "00000000-0000-0000-0000-000000000001")


def test_statistics_numbers_and_growth_are_those_of_a_file_with_the_same_sagas(
    tmp_path: Path, empty_postgres: str
) -> None:
    found = []
    for place in (empty_postgres, tmp_path / "journal.db"):
        follower, reader = StatisticsFollower(place), PresentNumbersReader()
        with closing(open_journal(place)) as journal:
            run(journal, "one", *FORWARD)
            assert follower.catch_up(60.0)
            run(journal, "two", *FORWARD)
            append(journal, "three", accepted("three"), events=(EVENT,))
        assert follower.catch_up(60.0)
        assert follower.behind == follower.unreadable == 0
        with closing(open_store(place, read_only=True)) as database:
            now = reader.read(database)
            events = [row[1:7] for row in stored_stream(database, "two")]
            assert stored_stream(database, "three\0") == []
        growth = growth_of(place)
        assert growth.file_bytes > 0
        assert growth.sagas_a_day
        assert growth.oldest_finished is not None
        statistics = follower.statistics
        found.append((statistics.sagas, statistics.attempts, now.sagas, now.waiting, now.steps_in_doubt, events))
    assert found[0] == found[1]
    assert sum(found[0][0].values()) == 5, "three were accepted, and two of them completed"


def test_a_follower_waits_for_an_open_transaction_and_then_misses_nothing(empty_postgres: str) -> None:
    follower = StatisticsFollower(empty_postgres)
    with closing(open_journal(empty_postgres)) as slow, closing(open_journal(empty_postgres)) as quick:
        group = slow.group()
        group.open()
        run(slow, "slow")
        run(quick, "quick", *FORWARD)
        follower.catch_up(60.0)
        assert not follower.statistics.sagas, "a smaller position may still come"
        assert quick.metadata("quick") is not None, "a question sees what is committed"
        place = JournalPlace.at(empty_postgres)
        assert [each.application for each in blocking(place, 0.0)] == ["antistrophe"]
        assert blocking(place, 3_600.0) == []
        assert "(antistrophe, user tests) has a transaction open, since 20" in open_in_words(blocking(place, 0.0)[0])
        group.commit()
        assert blocking(place, 0.0) == []
        until(lambda: follower.catch_up(60.0) and sum(follower.statistics.sagas.values()) == 3, "all of them")


def test_a_fork_has_no_copy_of_a_connection(empty_postgres: str) -> None:
    with closing(open_store(empty_postgres)) as database:
        assert database.rows("SELECT 1") == [(1,)]
        open_now = [each._connection for each in _sessions if each.is_own]
        sockets = [each.pgconn.socket for each in open_now if each is not None and not each.closed]
        assert sockets
        child = os.fork()
        if not child:
            left = [number for number in sockets if str(Path(f"/proc/self/fd/{number}").readlink()) != os.devnull]
            os._exit(len(left))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert database.rows("SELECT 2") == [(2,)], "its parent goes on"


def test_a_host_owns_what_it_accepts_and_goes_on_with_that_alone(empty_postgres: str) -> None:
    first, second = (open_journal(empty_postgres, owner=FirstOwner(host)) for host in ("a1-0f", "b1-0f"))
    with closing(first), closing(second):
        run(first, "one")
        run(second, "two", *FORWARD[:1])
        assert (first.live(), second.live()) == ([("one", False)], [("two", False)])
        assert [saga.host for saga in first.list().sagas] == ["b1", "a1"]
        owned = first.ownership("two")
        assert owned is not None
        assert (owned.host, owned.token) == ("b1-0f", 1)
        assert first.metadata("two") == second.metadata("two")
    with closing(open_journal(stored_place(Path("/nowhere"), empty_postgres), read_only=True)) as journal:
        assert {saga_id for saga_id, _ in journal.live()} == {"one", "two"}, "a tool sees all"


def test_a_home_knows_the_leases_of_its_earlier_life_and_a_copy_of_it_does_not(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    renew_identity(home)
    assert leases_of_earlier_life(home) == []
    note_lease(home, "a-1", "run 1")
    note_lease(home, "a-2", "run 2")
    assert leases_of_earlier_life(home) == ["a-1", "a-2"]
    assert [lease_of_run(home, run) for run in ("run 1", "run 2", "run 3", "")] == ["", "a-2", "", ""]
    assert (home / FILE_NAME).stat().st_mode & 0o077 == 0
    shutil.copytree(home, copy)
    assert leases_of_earlier_life(copy) == []
    assert lease_of_run(copy, "run 2") == ""
    renew_identity(copy)
    assert leases_of_earlier_life(copy) == []
    home.rename(tmp_path / "moved")
    assert leases_of_earlier_life(tmp_path / "moved") == ["a-1", "a-2"]
    for garbage in (b"", b"{", b"[]", b'{"leases": 1}', b"\xff"):
        (tmp_path / "moved" / FILE_NAME).write_bytes(garbage)
        assert leases_of_earlier_life(tmp_path / "moved") == []


def test_the_dashboard_shows_it_and_sees_each_change(tmp_path: Path, empty_postgres: str) -> None:
    stored = StoredHome(tmp_path / "home", empty_postgres)
    with closing(open_journal(empty_postgres)) as journal:
        run(journal, "one", *FORWARD)
        before = stored.signature()
        with stored.look() as look:
            assert stored.counts(look)[SagaStatus.COMPLETED] == 1
            assert [saga.id for saga in find(look.journal, SagaFilter(), None).sagas] == ["one"]
            growth = growth_in(look.database, look.place, sagas=1)
            assert growth.bytes_a_saga == growth_in(look.database, look.place).bytes_a_saga, "it counts one, too"
            assert attention(look, stored.counts(look), stored.standing(), [], limits_now(stored, look), growth) == []
            assert dict(storage(growth))["journal"]
        run(journal, "two", *FORWARD)
        assert stored.signature() != before
        with stored.look() as look:
            assert stored.counts(look)[SagaStatus.COMPLETED] == 2
            assert stored.statistics(look) is not None
            assert stored.counts(look)[SagaStatus.COMPLETED] == 2, "the look goes on"
    app = dashboard.app(tmp_path / "home", journal=empty_postgres)
    assert app.state.site.stored.url == empty_postgres


def test_a_place_in_a_database_is_told_where_a_file_is_wanted(empty_postgres: str) -> None:
    with pytest.raises(JournalError, match="is in the database postgresql:"):
        JournalPlace.at(empty_postgres).existing_file()


def test_a_host_is_told_which_of_its_sagas_have_begun(tmp_path: Path, empty_postgres: str) -> None:
    for place, has_begun in ((empty_postgres, False), (tmp_path / "journal.db", True)):
        with closing(open_journal(place, owner=FirstOwner("a1-0f"))) as journal:
            run(journal, "begun", *FORWARD[:1])
            append(journal, "accepted", accepted("accepted"))
            run(journal, "ended", *FORWARD)
            assert journal.begun() == {"begun": True, "accepted": has_begun}, "in a file nobody else could take one"
    with closing(open_journal(empty_postgres, owner=FirstOwner("b1-0f"))) as journal:
        assert journal.begun() == {}
    with closing(open_journal(empty_postgres, read_only=True)) as journal:
        assert journal.begun() == {"begun": True, "accepted": False}
