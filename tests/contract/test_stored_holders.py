"""Who holds a saga, as rows of PostgreSQL: of hosts that want it one gets it, and former owners are not forgotten."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.ownership import Owners
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_holders import StoredHolders, holding
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal.postgres_acceptance import accepting
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from antistrophe.storage.postgres_callers import ask
from tests.contract.hosts_kit import add_sagas
from tests.contract.journal_sagas import accepted
from tests.waiting import until


@pytest.fixture
def holders(database: PostgresDatabase) -> StoredHolders:
    return StoredHolders(database)


def joined(database: PostgresDatabase, name: str) -> str:
    host = new_description(name, [], "1.0", 10.0)
    assert StoredHosts(database).register(host, HostLoad())
    return host.id


def claims(database: PostgresDatabase, host_id: str) -> StoredClaims:
    return StoredClaims(database, host_id, [])


def test_what_a_host_has_accepted_it_holds_until_it_lets_go_or_loses_its_lease(
    database: PostgresDatabase, holders: StoredHolders
) -> None:
    one, two = joined(database, "one"), joined(database, "two")
    add_sagas(database, one, ("s-1", "executing"), ("s-2", "executing"), ("s-3", "executing"))
    assert not holders.take_over("s-1", two)
    assert holders.take_over("s-1", one), "its own clients it knows itself"
    holders.let_go(["s-1", "s-2", "unknown"], one)
    assert [holders.take_over(saga_id, two) for saga_id in ("s-1", "s-2", "s-3", "unknown")] == [
        True,
        True,
        False,
        False,
    ]
    assert not holders.take_over("s-1", one)
    StoredHosts(database).hand_over(two)
    assert holders.take_over("s-1", one)


def test_several_hosts_hold_one_saga(database: PostgresDatabase, holders: StoredHolders) -> None:
    one, two, three = (joined(database, name) for name in ("one", "two", "three"))
    add_sagas(database, one, ("s", "executing"))
    for _ in range(2):
        holders.hold(["s"], two)
    holders.let_go(["s"], one)
    assert not holders.take_over("s", three)
    for _ in range(2):
        holders.let_go(["s"], two)
    assert holders.take_over("s", three)


def test_a_saga_that_changes_hosts_is_still_held_where_it_was(
    database: PostgresDatabase, holders: StoredHolders
) -> None:
    one, two, three = (joined(database, name) for name in ("one", "two", "three"))
    add_sagas(database, one, ("stolen", "accepted"), ("moved", "executing"))
    assert claims(database, two).steal(Owners(full=(one,)), 10, waited_s=0.0)
    assert claims(database, one).move_on("moved", 1, 2)
    assert [saga.saga_id for saga in claims(database, two).claim(Owners(nobody=True), 10)] == ["moved"]
    assert [holders.take_over(saga_id, three) for saga_id in ("stolen", "moved")] == [False, False]
    holders.let_go(["stolen", "moved"], two)
    assert not holders.take_over("stolen", three), "its clients are at the host that has accepted it"
    StoredHosts(database).hand_over(one)
    assert [holders.take_over(saga_id, three) for saga_id in ("stolen", "moved")] == [True, True]


def test_what_a_dead_host_leaves_is_nobodys_until_somebody_takes_part(
    database: PostgresDatabase, holders: StoredHolders
) -> None:
    one, two, three = (joined(database, name) for name in ("one", "two", "three"))
    add_sagas(database, one, ("s", "executing"))
    add_sagas(database, None, ("of nobody", "accepted"))
    StoredHosts(database).hand_over(one)
    assert len(claims(database, two).claim(Owners(free=(one,), nobody=True), 10)) == 2
    assert [holders.take_over(saga_id, three) for saga_id in ("s", "of nobody")] == [True, True]
    assert not holders.take_over("s", two)


def test_of_hosts_that_take_over_at_once_one_does(empty_postgres: str, database: PostgresDatabase) -> None:
    gone = joined(database, "gone")
    add_sagas(database, gone, *((f"s-{number}", "executing") for number in range(20)))
    StoredHosts(database).hand_over(gone)
    hosts = [joined(database, f"h{number}") for number in range(4)]

    def take_all(host_id: str) -> list[str]:
        with contextlib.closing(open_postgres(empty_postgres)) as own:
            return [each for each in map("s-{}".format, range(20)) if StoredHolders(own).take_over(each, host_id)]

    with ThreadPoolExecutor(4) as threads:
        taken = [saga_id for each in threads.map(take_all, hosts) for saga_id in each]
    assert sorted(taken) == sorted(f"s-{number}" for number in range(20))


def test_who_waits_for_another_that_takes_over_finds_that_it_has(
    empty_postgres: str, database: PostgresDatabase
) -> None:
    """What the row says after the wait counts, and not what it said before."""
    gone, one, two = (joined(database, name) for name in ("gone", "one", "two"))
    add_sagas(database, gone, ("held", "executing"), ("claimed", "executing"))
    StoredHosts(database).hand_over(gone)
    with contextlib.closing(open_postgres(empty_postgres)) as other, ThreadPoolExecutor(1) as thread:
        with database.transaction():
            assert StoredHolders(database).take_over("held", one)
            late = thread.submit(StoredHolders(other).take_over, "held", two)
            _until_blocked(empty_postgres)
        assert not late.result(20)
        with database.transaction():
            assert claims(database, one).claim_one("claimed") is not None
            late_claim = thread.submit(claims(other, two).claim_one, "claimed")
            _until_blocked(empty_postgres)
        assert late_claim.result(20) is None


def _until_blocked(url: str) -> None:
    with contextlib.closing(open_postgres(url)) as looks:
        sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        until(lambda: looks.row(sql), "a session that waits for a lock")


def test_only_what_runs_is_unfinished(database: PostgresDatabase, holders: StoredHolders) -> None:
    add_sagas(database, None, ("runs", "executing"), ("parked", "failed"))
    assert holders.unfinished(["runs", "parked", "unknown"]) == {"runs"}
    assert holders.unfinished([]) == set()


def test_what_is_accepted_in_a_transaction_is_held_by_its_commit_whoever_claims_it(
    database: PostgresDatabase, holders: StoredHolders, empty_postgres: str
) -> None:
    one, two, three = (joined(database, name) for name in ("one", "two", "three"))
    with contextlib.closing(psycopg.connect(empty_postgres)) as own:
        for saga_id in ("gone", "kept"):
            ask(own, accepting(accepted(saga_id).spec, "r"))
            ask(own, holding(saga_id, one))
            assert holders.there([saga_id]) == set()
            (own.rollback if saga_id == "gone" else own.commit)()
    assert holders.there(["gone", "kept"]) == {"kept"}
    assert not holders.take_over("kept", three), "before any host has taken the saga"
    assert [each.saga_id for each in claims(database, two).claim(Owners(nobody=True), 9)] == ["kept"]
    assert not holders.take_over("kept", three)
    holders.let_go(["kept"], one)
    assert holders.take_over("kept", three)
