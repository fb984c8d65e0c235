"""Permits as rows of PostgreSQL: never more than the limit over all hosts, whoever asks, dies or comes late."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.lease import LapsedLease
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_permits import StoredPermits, stored_key
from antistrophe.scheduling.permits import PermitAnswer, PermitNeed
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from antistrophe.storage.postgres_limits import ASKS_WITHIN_S
from tests.noticing import functions_without
from tests.waiting import until

Opens = Callable[[], PostgresDatabase]
_SERIALS = itertools.count(1)


class Host:
    """A host that holds a lease, and settles one limit."""

    def __init__(self, database: PostgresDatabase, name: str = "a") -> None:
        self.database = database
        self.described = new_description(name, (), "1.0", 10.0)
        assert StoredHosts(database).register(self.described, HostLoad())
        self.held = 0

    @property
    def id(self) -> str:
        return self.described.id

    def settle(self, keep: int, want: int = 0, most: int | None = 2, serial: int | None = None) -> PermitAnswer:
        need = PermitNeed("step:m:Pay", keep, want, most, 0, None)
        (answer,) = StoredPermits(self.database).settle(self.id, serial or next(_SERIALS), [need])
        self.held = answer.held
        return answer

    def start(self, starts: int, per_second: float) -> PermitAnswer:
        need = PermitNeed("step:m:Pay", 0, 0, None, starts, per_second)
        (answer,) = StoredPermits(self.database).settle(self.id, next(_SERIALS), [need])
        return answer


@pytest.fixture(autouse=True)
def patience(empty_postgres: str) -> Iterator[None]:
    """Who has asked is thought to ask on, however slow the machine is."""
    with (
        closing(open_postgres(empty_postgres)) as database,
        functions_without(database, f"secs => {ASKS_WITHIN_S}", instead="secs => 3600.0"),
    ):
        yield


@pytest.fixture
def two(database: PostgresDatabase) -> tuple[Host, Host]:
    return Host(database, "a"), Host(database, "b")


def test_all_hosts_together_hold_no_more_than_the_limit(two: tuple[Host, Host]) -> None:
    a, b = two
    assert a.settle(0, want=5).held == 2
    assert b.settle(0, want=5).held == 0
    assert a.settle(1).held == 1
    assert b.settle(0, want=5).held == 1


def test_eight_takers_never_hold_more_than_there_are(opens: Opens) -> None:
    most, held, worst, lock = 3, [0] * 8, [0], threading.Lock()

    def take(number: int) -> int:
        host, rng, taken = Host(opens(), str(number)), random.Random(number), 0
        for _ in range(60):
            with lock:  # what it gives back counts as free before it says so
                held[number] = keep = min(held[number], rng.randint(0, 2))
            answer = host.settle(keep, want=rng.randint(0, 3), most=most)
            with lock:
                held[number] = answer.held
                worst[0] = max(worst[0], sum(held))
            taken += answer.held > keep
        with lock:
            held[number] = 0
        host.settle(0)
        return taken

    with ThreadPoolExecutor(8) as takers:
        taken = list(takers.map(take, range(8)))
    assert worst[0] == most, "never more, and all of them were out at some time"
    assert all(taken), f"nobody starves: {taken}"


def test_who_settles_at_the_same_time_counts_what_the_other_one_has_committed(
    two: tuple[Host, Host], opens: Opens
) -> None:
    a, b = two[0], Host(opens(), "c")
    a.settle(0)  # the row of the limit is there

    def waits() -> bool:
        waiting = "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%settle_limits%'"
        return bool(watcher.rows(waiting))

    watcher = opens()
    with ThreadPoolExecutor(1) as other:
        with a.database.transaction():
            assert a.settle(0, want=2).held == 2
            answer = other.submit(b.settle, 0, 2)
            until(lambda: answer.done() or waits(), "the other one waits for this transaction")
        assert answer.result(30.0).held == 0


def test_permits_of_a_host_that_is_gone_are_free_when_its_lease_ends_and_not_before(two: tuple[Host, Host]) -> None:
    a, b = two
    a.settle(0, want=2)
    b.database.execute("UPDATE antistrophe.permits SET until = until - interval '1 day'")
    assert b.settle(0, want=1).held == 0, "its silence says nothing"
    hosts = StoredHosts(b.database)
    look = hosts.look()
    (counter,) = (lease.counter for lease in look.leases if lease.host == a.id)
    assert hosts.end_lapsed(LapsedLease(a.id, counter, look.server), b.id)
    assert b.settle(0, want=2).held == 2
    needs = [PermitNeed("step:m:Pay", 2, 0, 2, 0, None)]
    assert StoredPermits(a.database).settle(a.id, next(_SERIALS), needs) == [], "and it is told of nothing more"


def test_a_statement_that_comes_late_changes_nothing(two: tuple[Host, Host]) -> None:
    a, b = two
    late, now = next(_SERIALS), next(_SERIALS)
    assert a.settle(0, want=2, serial=now).held == 2
    needs = [PermitNeed("step:m:Pay", 0, 0, 2, 0, None)]
    assert StoredPermits(a.database).settle(a.id, late, needs) == []
    assert b.settle(0, want=2).held == 0


def test_a_holder_hears_that_others_wait_and_gives_back_down_to_its_share(two: tuple[Host, Host]) -> None:
    a, b = two
    assert a.settle(0, want=4, most=4).gives_back == 0
    b.settle(0, want=1, most=4)
    assert a.settle(4, most=4).gives_back == 1, "as many as are wanted"
    b.settle(0, want=9, most=4)
    assert a.settle(4, most=4).gives_back == 2
    a.settle(2, want=2, most=4)
    assert b.settle(0, want=9, most=4).held == 2
    assert b.settle(2, want=9, most=4).gives_back == 0, "each has its share"


def test_with_more_hosts_than_permits_they_take_turns(database: PostgresDatabase) -> None:
    a, b, c = (Host(database, name) for name in "abc")
    assert a.settle(0, want=1, most=1).held == 1
    b.settle(0, want=1, most=1)
    c.settle(0, want=1, most=1)
    order = []
    for _ in range(6):
        holder = next(each for each in (a, b, c) if each.held)
        assert holder.settle(1, most=1).gives_back == 1
        for each in (holder, c, a, b):  # whoever asks first: it is the turn of who waits longest
            each.settle(0, want=1, most=1)
        order += [each.described.name for each in (a, b, c) if each.held]
    assert order == ["b", "c", "a"] * 2


def test_who_no_longer_asks_keeps_nobody_waiting(two: tuple[Host, Host]) -> None:
    a, b = two
    a.settle(0, want=1, most=1)
    b.settle(0, want=1, most=1)
    b.database.execute("UPDATE antistrophe.permits SET until = clock_timestamp() WHERE host = ?", (b.id,))
    assert a.settle(1, most=1).gives_back == 0
    a.settle(0, most=1)
    assert a.settle(0, want=1, most=1).held == 1


def test_the_smaller_of_two_definitions_counts_while_both_are_in_use(two: tuple[Host, Host]) -> None:
    a, b = two
    a.settle(0, want=5, most=5)
    assert b.settle(0, want=2, most=2).held == 0
    assert a.settle(5, most=5).gives_back == 3
    a.settle(1, want=4, most=5)
    assert b.settle(0, want=2, most=2).held == 1
    assert a.settle(1, want=4, most=5).held == 1
    b.settle(0, most=2)
    assert a.settle(1, want=4, most=5).held == 5


def test_starts_are_even_over_all_hosts(two: tuple[Host, Host]) -> None:
    a, b = two
    reserved = []
    (begun,) = a.database.row("SELECT clock_timestamp()")
    for host in (a, b, a, b, a, b):
        (before,) = host.database.row("SELECT coalesce(max(next_start), clock_timestamp()) FROM antistrophe.limits")
        answer = host.start(9, per_second=8.0)
        (after,) = host.database.row("SELECT next_start FROM antistrophe.limits")
        if answer.starts:
            assert (after - before).total_seconds() >= answer.starts * 0.125 == answer.starts * answer.apart_s
            reserved.append((host.described.name, answer.starts))
        else:
            assert answer.again_s > 0.0
    assert reserved[0] == ("a", 2), "a quarter of a second at once"
    assert {name for name, _ in reserved} == {"a", "b"}, "each gets its turn"
    (ended,) = a.database.row("SELECT clock_timestamp()")
    took_s = (ended - begun).total_seconds()
    assert sum(starts for _, starts in reserved) <= 8.0 * (took_s + 0.5 + 0.25), "no further ahead than half a second"


def test_a_rate_saves_nothing_up_and_no_clock_that_went_back_stops_it(two: tuple[Host, Host]) -> None:
    a, _ = two
    a.start(1, per_second=1.0)
    a.database.execute("UPDATE antistrophe.limits SET next_start = clock_timestamp() - interval '1 hour'")
    assert a.start(5, per_second=1.0).starts == 1
    a.database.execute("UPDATE antistrophe.limits SET next_start = clock_timestamp() + interval '1 hour'")
    assert a.start(5, per_second=1.0).again_s <= 1.5


def test_of_those_who_wait_for_a_start_the_first_goes_first(two: tuple[Host, Host]) -> None:
    a, b = two
    assert a.start(1, per_second=0.01).starts == 1
    assert b.start(1, per_second=0.01).again_s > 0.0
    assert a.start(1, per_second=0.01).again_s > 0.0
    a.database.execute("UPDATE antistrophe.limits SET next_start = clock_timestamp()")
    assert a.start(1, per_second=0.01).starts == 0
    assert b.start(1, per_second=0.01).starts == 1


def test_what_nobody_uses_is_forgotten(two: tuple[Host, Host]) -> None:
    a, b = two
    a.settle(0, want=1)
    b.settle(0, want=2)
    stored = StoredPermits(a.database)
    stored.forget()
    assert a.database.rows("SELECT held, wanted FROM antistrophe.permits ORDER BY wanted") == [(1, 0), (1, 1)]
    assert StoredHosts(a.database).hand_over(b.id)
    a.settle(0)
    a.database.execute("UPDATE antistrophe.permits SET until = until - interval '2 hours'")
    stored.forget()
    for table in ("permits", "limits"):
        assert a.database.row(f"SELECT count(*) FROM antistrophe.{table}") == (0,)


@pytest.mark.parametrize("name", ["p" * 5_000, "a\0b", "caf\udce9"])
def test_any_name_can_be_a_key(two: tuple[Host, Host], name: str) -> None:
    a, _ = two
    key = f"name:{name}"
    (answer,) = StoredPermits(a.database).settle(a.id, next(_SERIALS), [PermitNeed(key, 0, 1, 1, 0, None)])
    assert (answer.key, answer.held) == (key, 1)
    assert stored_key(key) != stored_key(key + "x")


def test_settling_what_is_so_writes_nothing(two: tuple[Host, Host]) -> None:
    a, _ = two
    a.settle(0, want=2)
    stored = "SELECT xmin::text FROM antistrophe.permits UNION ALL SELECT xmin::text FROM antistrophe.limits"
    before = a.database.rows(stored)
    assert a.settle(2).held == 2
    assert a.database.rows(stored) == before
