"""Leases and owners as rows of PostgreSQL: what is refused, what is claimed once, and what a taker has to find."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from antistrophe.errors import InvalidSettingsError, JournalError
from antistrophe.hosts.description import HostDescription, HostLoad, new_description
from antistrophe.hosts.lease import LapsedLease
from antistrophe.hosts.ownership import Owners
from antistrophe.hosts.retained import ALL, Retained
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.records import SagaStatus
from antistrophe.settings import Settings
from antistrophe.storage.postgres import PostgresDatabase, open_postgres, psycopg
from antistrophe.storage.postgres_schema import _RETAINED, POSTGRES_MIGRATIONS
from tests.contract.hosts_kit import add_sagas

IDLE = HostLoad()
Opens = Callable[[], PostgresDatabase]


def description(name: str = "a", *labels: str, lease_s: float = 10.0) -> HostDescription:
    return new_description(name, labels, "1.0", lease_s)


def registered(database: PostgresDatabase, name: str = "a", *labels: str, load: HostLoad = IDLE) -> StoredClaims:
    """The claims of a new host."""
    host = description(name, *labels)
    assert StoredHosts(database).register(host, load)
    return StoredClaims(database, host.id, host.labels)


def lapsed(hosts: StoredHosts, host_id: str) -> LapsedLease:
    """That a watch has seen the lease lapse; here nobody has watched it."""
    look = hosts.look()
    (lease,) = [each for each in look.leases if each.host == host_id]
    return LapsedLease(host_id, lease.counter, look.server)


def owners(claims: StoredClaims) -> Owners:
    return StoredHosts(claims._database).look().owners


def id_of(claims: StoredClaims) -> str:
    return claims._host


# --- leases -------------------------------------------------------------------------------------------------------


def test_a_host_registers_and_renews_and_is_seen(hosts: StoredHosts) -> None:
    host = description("a1", "gpu", "eu")
    first = hosts.register(host, HostLoad(2, is_full=True))
    second = hosts.renew(host.id, HostLoad(3))
    assert first is not None
    assert second is not None
    assert second.counter > first.counter
    (record,) = hosts.records()
    assert (record.id, record.name, record.labels, record.release) == (host.id, "a1", frozenset({"gpu", "eu"}), "1.0")
    assert (record.attempts, record.sagas, record.draining, record.ended) == (3, 0, False, None)
    assert (record.lease_until - record.seen_at).total_seconds() == 10.0
    assert record.seen_at.utcoffset() is not None


def test_moments_are_told_in_utc_whatever_the_zone_of_the_server_is(
    hosts: StoredHosts, database: PostgresDatabase
) -> None:
    database.execute("SET timezone TO 'Asia/Kolkata'")
    assert hosts.register(description(), IDLE)
    (record,) = hosts.records()
    moments = (record.seen_at, record.lease_until, hosts.moment())
    assert {each.tzinfo for each in moments} == {UTC}
    assert all(abs(each - datetime.now(UTC)) < timedelta(minutes=1) for each in moments)
    with pytest.raises(JournalError):
        database.row("SELECT 'infinity'::timestamptz")
    assert database.row("SELECT NULL::timestamptz, '1999-12-31 23:59:59.5+00'::timestamptz") == (
        None,
        datetime(1999, 12, 31, 23, 59, 59, 500_000, tzinfo=UTC),
    )


def test_each_live_host_says_how_much_it_keeps(hosts: StoredHosts) -> None:
    gone = new_description("gone", [], "1.0", 10.0, Retained(1.0, 1))
    for host in (gone, description(), new_description("b", [], "1.0", 10.0, Retained(2.5, 7))):
        hosts.register(host, IDLE)
    hosts.hand_over(gone.id)
    assert set(hosts.retained()) == {ALL, Retained(2.5, 7)}
    assert {record.name: record.retained for record in hosts.records() if record.ended is None} == {
        "a": ALL,
        "b": Retained(2.5, 7),
    }


def test_a_host_that_was_there_before_hosts_said_so_keeps_everything(postgres_url: str) -> None:
    before = POSTGRES_MIGRATIONS[: POSTGRES_MIGRATIONS.index(_RETAINED)]
    with contextlib.closing(open_postgres(postgres_url, migrations=before)) as old:
        old.execute(
            "INSERT INTO antistrophe.hosts(id, name, labels, release, lease_s) VALUES ('a-1', 'a', '{}', '1', 5)"
        )
    with contextlib.closing(open_postgres(postgres_url)) as database:
        assert StoredHosts(database).retained() == [ALL]
        assert StoredHosts(database).records()[0].retained == ALL


def test_to_register_again_is_a_renewal_while_the_lease_lasts_and_is_refused_afterwards(hosts: StoredHosts) -> None:
    host = description()
    first, again = hosts.register(host, IDLE), hosts.register(host, IDLE)
    assert first is not None
    assert again is not None
    assert again.counter == first.counter + 1
    assert hosts.hand_over(host.id)
    assert hosts.register(host, IDLE) is None
    assert hosts.renew(host.id, IDLE) is None
    assert not hosts.hand_over(host.id)


def test_a_lease_that_lapsed_is_ended_once_and_its_renewals_are_refused(hosts: StoredHosts) -> None:
    host = description()
    hosts.register(host, IDLE)
    proof = lapsed(hosts, host.id)
    assert [hosts.end_lapsed(proof, "b"), hosts.end_lapsed(proof, "c")] == [True, False]
    assert hosts.renew(host.id, IDLE) is None
    assert [each.ended for each in hosts.records()] == ["lapsed"]


def test_a_lease_that_was_renewed_since_is_not_ended(hosts: StoredHosts) -> None:
    host = description()
    hosts.register(host, IDLE)
    proof = lapsed(hosts, host.id)
    assert hosts.renew(host.id, IDLE)
    assert not hosts.end_lapsed(proof, "b")
    assert hosts.renew(host.id, IDLE)


def test_a_watch_on_another_server_ends_nothing(hosts: StoredHosts) -> None:
    host = description()
    hosts.register(host, IDLE)
    assert not hosts.end_lapsed(replace(lapsed(hosts, host.id), server="1.5"), "b")
    assert hosts.renew(host.id, IDLE)


def test_a_renewal_waits_for_a_take_over_that_has_begun_and_is_refused_by_it(opens: Opens) -> None:
    here, there = opens(), opens()
    host = description()
    StoredHosts(here).register(host, IDLE)
    proof = lapsed(StoredHosts(here), host.id)
    with ThreadPoolExecutor(1) as other:
        with here.transaction():
            assert StoredHosts(here).end_lapsed(proof, "b")
            renewal = other.submit(StoredHosts(there).renew, host.id, IDLE)
            until_blocked(opens())
        assert renewal.result(20) is None


def until_blocked(database: PostgresDatabase) -> None:
    """Wait until some session waits for a lock."""
    deadline = time.monotonic() + 20
    while not database.row("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'"):
        assert time.monotonic() < deadline


def test_a_renewal_is_on_disk_also_where_the_database_is_set_to_lose_moments(opens: Opens) -> None:
    for level in ("off", "local", "remote_apply"):
        database = opens()
        with database.transaction():
            database.row(f"SELECT set_config('synchronous_commit', '{level}', true)")
            assert StoredHosts(database).register(description(), IDLE)
            (now,) = database.row("SELECT current_setting('synchronous_commit')")
            assert now == ("on" if level != "remote_apply" else level)


def test_the_row_of_a_lease_can_not_be_garbage(hosts: StoredHosts) -> None:
    for lease_s in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(psycopg.IntegrityError):
            hosts.register(replace(description(), lease_s=lease_s), IDLE)


@pytest.mark.parametrize("name", ["", " a", "a\n", "x" * 101, "a\0b", 7])
def test_a_name_or_label_that_can_not_be_one_is_refused_in_words(name: str) -> None:
    with pytest.raises(InvalidSettingsError, match="host_name has to be a name of up to 63 letters and digits"):
        new_description(name, [], "1", 10.0)
    with pytest.raises(InvalidSettingsError, match="a label has to be a name of up to 63"):
        new_description("a", [name], "1", 10.0)


def test_too_many_labels_or_one_text_for_them_are_refused() -> None:
    with pytest.raises(InvalidSettingsError, match="64 labels at most, not 65"):
        new_description("a", map(str, range(65)), "1", 10.0)
    with pytest.raises(InvalidSettingsError, match=r"write \['gpu'\]"):
        new_description("a", "gpu", "1", 10.0)


def test_what_the_settings_take_for_labels_and_a_name_a_host_can_have() -> None:
    settings = Settings(host_name="h" * 63, labels=tuple(f"{number:063}" for number in range(64)))
    described = new_description(settings.host, settings.labels, "1", settings.lease_s)
    assert described.labels == set(settings.labels)


def test_a_host_is_drained_by_its_name_or_id_and_told_with_its_next_renewal(hosts: StoredHosts) -> None:
    one, two = description("a"), description("a")
    for host in (one, two, description("b")):
        hosts.register(host, IDLE)
    assert hosts.drain("a") == sorted([one.id, two.id])
    assert hosts.drain("nobody") == []
    renewed = hosts.renew(one.id, IDLE)
    assert renewed is not None
    assert renewed.draining
    assert hosts.drain(one.id, draining=False) == [one.id]
    assert [each.draining for each in hosts.records()] == [False, True, False]


def test_only_ended_hosts_without_unfinished_sagas_are_forgotten(database: PostgresDatabase) -> None:
    hosts = StoredHosts(database)
    alive, empty, owns = (registered(database, name) for name in "abc")
    add_sagas(database, id_of(owns), ("s", "executing"))
    for ended in (empty, owns):
        hosts.hand_over(id_of(ended))
    assert hosts.forget(3_600.0) == 0
    assert hosts.forget(-1.0) == 1
    assert {each.id for each in hosts.records()} == {id_of(alive), id_of(owns)}


def test_a_standby_is_not_believed(hosts: StoredHosts) -> None:
    class Standby:
        where = "standby/db"

        def rows(self, sql: str) -> list[tuple[object, ...]]:
            return [("a", 1, 10.0, False, False, "1.0", True)]

    with pytest.raises(JournalError, match=r"standby/db is a standby, which may show old rows: .*read-write"):
        StoredHosts(Standby()).look()  # type: ignore[arg-type]
    assert hosts.look().server == ""


# --- owners -------------------------------------------------------------------------------------------------------


def test_sagas_of_a_host_that_holds_its_lease_are_nobody_elses(database: PostgresDatabase) -> None:
    owner, other = registered(database, "a"), registered(database, "b")
    add_sagas(database, id_of(owner), ("s", "executing"))
    assert owners(other).free == ()
    assert other.claim(owners(other), 10) == []
    assert other.claim(Owners(free=(id_of(owner),)), 10) == [], "whatever it believes"
    assert other.claim_one("s") is None
    assert [each.saga_id for each in owner.owned()] == ["s"]


@pytest.mark.parametrize("how", ["lapsed", "handed over", "unknown", "nobody"])
def test_free_sagas_are_claimed_compensations_first_with_a_new_token(database: PostgresDatabase, how: str) -> None:
    hosts, owner, taker = StoredHosts(database), registered(database, "a"), registered(database, "b")
    sagas = [("s-1", "accepted"), ("s-2", "executing"), ("s-3", "compensating"), ("s-4", "failed")]
    add_sagas(database, None if how == "nobody" else "gone" if how == "unknown" else id_of(owner), *sagas)
    if how == "lapsed":
        assert hosts.end_lapsed(lapsed(hosts, id_of(owner)), id_of(taker))
    elif how == "handed over":
        assert hosts.hand_over(id_of(owner))
    first, rest = taker.claim(owners(taker), 2), taker.claim(owners(taker), 2)
    assert [(each.saga_id, each.token, each.status) for each in first] == [
        ("s-3", 2, SagaStatus.COMPENSATING),
        ("s-1", 2, SagaStatus.EXECUTING),
    ]
    assert [each.saga_id for each in rest] == ["s-2"]
    assert taker.claim(owners(taker), 2) == []
    assert [each.saga_id for each in taker.owned()] == ["s-3", "s-1", "s-2"]


def test_what_a_dead_owner_writes_late_is_refused_by_the_token_and_what_it_accepts_late_is_free(
    database: PostgresDatabase,
) -> None:
    hosts, owner, taker = StoredHosts(database), registered(database, "a"), registered(database, "b")
    add_sagas(database, id_of(owner), ("s", "executing"))
    hosts.end_lapsed(lapsed(hosts, id_of(owner)), id_of(taker))
    assert len(taker.claim(owners(taker), 10)) == 1
    late = database.execute("UPDATE sagas SET seq = 2 WHERE id = 's' AND host = ? AND token = 1", (id_of(owner),))
    assert late.rowcount == 0
    add_sagas(database, id_of(owner), ("late", "accepted"))
    assert [each.saga_id for each in taker.claim(owners(taker), 10)] == ["late"]


def test_a_host_whose_own_lease_has_ended_or_that_drains_claims_nothing(database: PostgresDatabase) -> None:
    hosts, ended, drains = StoredHosts(database), registered(database, "a"), registered(database, "b")
    add_sagas(database, None, ("s", "executing"))
    hosts.hand_over(id_of(ended))
    hosts.drain(id_of(drains))
    for claims in (ended, drains):
        assert claims.claim(owners(claims), 10) == []
        assert claims.claim_one("s") is None
    hosts.drain(id_of(drains), draining=False)
    assert len(drains.claim(owners(drains), 10)) == 1


def test_a_host_without_the_labels_leaves_a_saga_to_one_that_has_them(database: PostgresDatabase) -> None:
    plain, gpu = registered(database, "a"), registered(database, "b", "gpu", "eu")
    add_sagas(database, None, ("s", "executing"), needs=("gpu",))
    assert plain.claim(owners(plain), 10) == []
    assert [each.saga_id for each in gpu.claim(owners(gpu), 10)] == ["s"]


def test_a_saga_that_fits_no_host_is_claimed_all_the_same(database: PostgresDatabase) -> None:
    """It may turn back without its label, and people see where it waits."""
    host, drains = registered(database, "a"), registered(database, "b", "gpu")
    add_sagas(database, "gone", ("s-1", "executing"), ("s-2", "compensating"), needs=("gpu", "eu"))
    add_sagas(database, "gone", ("s-3", "executing"), needs=("gpu",))
    assert [each.saga_id for each in host.claim(owners(host), 10)] == ["s-2", "s-1"]
    StoredHosts(database).drain(id_of(drains))
    assert [each.saga_id for each in host.claim(owners(host), 10)] == ["s-3"]


def test_a_saga_whose_code_no_live_host_could_load_is_claimed_all_the_same(database: PostgresDatabase) -> None:
    one, two = registered(database, "a"), registered(database, "b")
    add_sagas(database, None, ("s", "executing"))
    (claimed,) = one.claim(owners(one), 1)
    assert one.move_on("s", claimed.token, 2)
    assert one.claim(owners(one), 1) == []
    StoredHosts(database).hand_over(id_of(two))
    assert [each.saga_id for each in one.claim(owners(one), 1)] == ["s"]


def test_what_waits_at_a_full_host_is_stolen_and_what_has_begun_or_just_come_is_not(database: PostgresDatabase) -> None:
    full, thief = registered(database, "a", load=HostLoad(4, is_full=True)), registered(database, "b")
    add_sagas(database, id_of(full), ("s-1", "executing"), ("s-2", "accepted"), ("s-3", "accepted"))
    assert owners(thief).full == (id_of(full),)
    assert thief.steal(owners(thief), 10, 3_600.0) == []
    assert full.steal(owners(full), 10, 0.0) == [], "nobody takes anything from himself"
    assert [(each.saga_id, each.token) for each in thief.steal(owners(thief), 1, 0.0)] == [("s-2", 2)]
    StoredHosts(database).renew(id_of(full), IDLE)
    assert thief.steal(owners(thief), 10, 0.0) == []


def test_code_that_can_not_be_loaded_moves_on_until_no_host_is_left(database: PostgresDatabase) -> None:
    one, two = registered(database, "a"), registered(database, "b")
    add_sagas(database, None, ("s", "accepted"))
    (first,) = one.claim(owners(one), 1)
    assert not one.move_on("s", first.token - 1, 1)
    assert not one.move_on("s", first.token, 0), "it has gone on since"
    assert one.move_on("s", first.token, 1)
    assert one.claim(owners(one), 1) == []
    (second,) = two.claim(owners(two), 1)
    assert not two.move_on("s", second.token, 1), "nobody is left who has not tried"
    assert [each.saga_id for each in two.owned()] == ["s"]
    registered(database, "c")
    assert two.move_on("s", second.token, 1)


def test_a_saga_whose_next_step_needs_labels_moves_to_a_host_that_has_them(database: PostgresDatabase) -> None:
    plain, _ = registered(database, "a"), registered(database, "c", "cpu")
    add_sagas(database, None, ("s", "executing"))
    (first,) = plain.claim(owners(plain), 1)
    assert not plain.move_on("s", first.token, 2, ["gpu"]), "nobody has the label"
    gpu = registered(database, "b", "gpu")
    assert plain.move_on("s", first.token, 2, ["gpu"])
    assert plain.claim(owners(plain), 1) == []
    (second,) = gpu.claim(owners(gpu), 1)
    assert second.token == first.token + 2
    registered(database, "d", "gpu")
    StoredHosts(database).hand_over(id_of(gpu))
    assert len(plain.claim(owners(plain), 1)) == 1, "what the step needed says nothing of the next one"


def test_of_many_dead_owners_whose_sagas_fit_nobody_here_none_stands_in_the_way(database: PostgresDatabase) -> None:
    for n in range(60):
        add_sagas(database, f"dead-{n}", (f"s-{n}", "executing"), needs=("gpu",))
    add_sagas(database, "zz", ("fits", "executing"))
    registered(database, "b", "gpu")
    host = registered(database, "a")
    rounds = 0
    while not host.claim(owners(host), 10):
        rounds += 1
        assert rounds < 50


def test_one_saga_is_claimed_for_an_order_also_when_it_is_parked(database: PostgresDatabase) -> None:
    host = registered(database, "a")
    add_sagas(database, "gone", ("s", "failed"))
    claimed = host.claim_one("s")
    assert claimed is not None
    assert (claimed.saga_id, claimed.token, claimed.status) == ("s", 2, SagaStatus.FAILED)
    assert host.claim_one("s") is None
    assert host.claim_one("unknown") is None


def test_eight_hosts_claim_each_of_a_thousand_sagas_of_a_dead_host_once(opens: Opens) -> None:
    database = opens()
    dead = registered(database, "dead")
    database.execute(
        "INSERT INTO sagas(accepted, id, request_id, name, status, seq, updated, host)"
        " SELECT n, 's-' || n, 'r', 'n', CASE WHEN n % 10 = 0 THEN 'compensating' ELSE 'executing' END, 1, 1, ?::text"
        " FROM generate_series(1, 1000) AS n",
        (id_of(dead),),
    )
    proof = lapsed(StoredHosts(database), id_of(dead))
    takers = [registered(opens(), f"t-{n}") for n in range(8)]
    together = threading.Barrier(len(takers))

    def take(claims: StoredClaims) -> tuple[bool, list[str]]:
        together.wait(20)
        ended = StoredHosts(claims._database).end_lapsed(proof, id_of(claims))
        mine: list[str] = []
        deadline = time.monotonic() + 60
        while (seen := owners(claims)).free and time.monotonic() < deadline:
            mine += [each.saga_id for each in claims.claim(seen, 20)]
        return ended, mine

    with ThreadPoolExecutor(len(takers)) as threads:
        results = list(threads.map(take, takers))
    assert sum(ended for ended, _ in results) == 1
    assert Counter(saga for _, mine in results for saga in mine) == {f"s-{n}": 1 for n in range(1, 1001)}
    assert database.rows("SELECT DISTINCT token FROM sagas") == [(1,)]
    for claims, (_, mine) in zip(takers, results, strict=True):
        assert {each.saga_id for each in claims.owned()} == set(mine)
