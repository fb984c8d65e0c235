"""The process pool: who gets a lease of which slot of an async worker, told by what it orders."""

from __future__ import annotations

from typing import Any

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.leases import CloseSlot, GrantTo, LoadInto, PoolKey, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.pooled_process import process_of
from antistrophe.scheduling.process_pool import ProcessPool

ORIGINS = [Origin(None, (), "/a"), Origin("/b/script.py", (), "/b")]
HERE = PoolKey("me", ORIGINS[0])
THERE = PoolKey("you", ORIGINS[1])
REFS = ("m:A",)


def request(pool: ProcessPool, saga_id: str, key: PoolKey, refs: tuple[str, ...] = REFS, **options: Any) -> None:
    pool.ask(saga_id, key.client_id, LeaseRequest(key.origin, refs, shared=True, **options))


def ask(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, now: float = 0.0, **options: Any) -> list[PoolOrder]:
    request(pool, saga_id, key, **options)
    return pool.plan(now)


def new_pool(limit: int = 1, slots: int = 2) -> ProcessPool:
    return ProcessPool(0, "p", async_limit=limit, slots=slots)


def started(pool: ProcessPool, saga_id: str, key: PoolKey = HERE) -> str:
    """Ask, start, load and grant: the lease."""
    (order,) = ask(pool, saga_id, key)
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.0)
    assert pool.plan(0.0) == [LoadInto(order.name, key.origin, REFS)]
    pool.loaded(order.name, REFS, 0.0)
    (grant,) = pool.plan(0.0)
    assert isinstance(grant, GrantTo)
    assert process_of(grant.lease_name) == order.name
    return grant.lease_name


def granted(orders: list[PoolOrder]) -> list[tuple[str, str]]:
    return [(order.lease_name, order.saga_id) for order in orders if isinstance(order, GrantTo)]


def test_many_sagas_get_slots_of_one_process() -> None:
    pool = new_pool(slots=3)
    leases = {started(pool, "s1")}
    for saga_id in ("s2", "s3"):
        ((lease, whose),) = granted(ask(pool, saga_id))
        assert whose == saga_id
        leases.add(lease)
    assert len(leases) == 3
    assert ask(pool, "s4") == [], "it is full"
    assert pool.returned(min(leases), "s1", 1.0, reusable=True) == []
    assert granted(pool.plan(1.0)) == [(min(leases), "s4")]


def test_nobody_else_starts_a_process_while_one_starts() -> None:
    pool = new_pool(limit=4)
    assert len(ask(pool, "s1")) == 1
    assert ask(pool, "s2") == []
    assert ask(pool, "s3") == []


def test_a_slot_that_is_closed_is_never_lent_again() -> None:
    pool = new_pool(slots=1)
    lease = started(pool, "s1")
    assert pool.returned(lease, "s1", 1.0, reusable=False) == [CloseSlot(lease)]
    assert pool.processes.leased_to("s1") == []
    assert ask(pool, "s2") == [], "something may still run there"
    assert pool.processes.has_slot(lease)
    assert pool.closed(lease, 1.0) == (None, [])
    ((other, _),) = granted(pool.plan(1.0))
    assert other != lease
    assert pool.processes.slot_names(process_of(lease)) == [other], "what was closed leaves nothing behind"


def test_the_end_of_a_call_and_the_death_of_a_process_name_their_sagas() -> None:
    pool = new_pool(slots=3)
    first = started(pool, "s1")
    ((second, _),) = granted(ask(pool, "s2"))
    assert pool.closed(first, 1.0) == ("s1", [])
    assert pool.closed(first, 1.0) == (None, []), "said twice, it is heard once"
    assert pool.dead(process_of(second)) == {second: "s2"}
    assert pool.processes.leased() == []
    (order,) = ask(pool, "s3")
    assert isinstance(order, StartProcess)


def test_a_failed_import_refuses_those_who_want_it_and_spares_those_who_run() -> None:
    pool = new_pool(slots=9)
    lease = started(pool, "s1")
    name = process_of(lease)
    assert ask(pool, "s2", refs=("m:B",)) == [LoadInto(name, HERE.origin, ("m:B",))]
    assert ask(pool, "s3", refs=("m:A", "m:B")) == []
    assert pool.not_loaded(name) == (["s2", "s3"], [])
    assert pool.processes.saga_of(lease) == "s1"
    assert ask(pool, "s4") == [], "it has room, but takes no further calls"
    assert pool.returned(lease, "s1", 1.0, reusable=True) == [Retire(name)], "after its last call it goes"


def test_another_origin_waits_until_the_process_idles() -> None:
    pool = new_pool()
    lease = started(pool, "s1")
    assert ask(pool, "s2", THERE) == []
    pool.returned(lease, "s1", 1.0, reusable=True)
    assert pool.plan(2.0) == [Retire(process_of(lease))]


def test_compensations_go_first_and_then_by_priority() -> None:
    pool = new_pool(slots=1)
    lease = started(pool, "s1")
    for saga_id, options in (("low", {}), ("high", {"priority": 5}), ("undo", {"urgent": True})):
        assert ask(pool, saga_id, **options) == []
    order = []
    for saga_id in ("s1", "undo", "high", "low"):
        pool.returned(lease, saga_id, 1.0, reusable=True)
        order += [whose for _, whose in granted(pool.plan(1.0))]
    assert order == ["undo", "high", "low"]


def test_one_that_waits_for_its_rate_holds_up_no_other() -> None:
    pool = new_pool(slots=9)
    slow = Throttle("m:S", None, 0.5)
    lease = started(pool, "s1")
    assert granted(ask(pool, "a", throttle=slow))
    assert ask(pool, "b", throttle=slow) == []
    assert [whose for _, whose in granted(ask(pool, "c"))] == ["c"]
    assert pool.next_start() == 2.0
    assert [whose for _, whose in granted(pool.plan(2.0))] == ["b"]
    assert pool.processes.saga_of(lease) == "s1"


def test_what_is_withdrawn_or_asked_anew_is_served_as_it_is_wanted_now() -> None:
    pool = new_pool(slots=1)
    lease = started(pool, "s1")
    ask(pool, "gone")
    ask(pool, "changed")
    ask(pool, "stays")
    pool.withdraw("gone")
    ask(pool, "changed", urgent=True)
    pool.returned(lease, "s1", 1.0, reusable=True)
    assert [whose for _, whose in granted(pool.plan(1.0))] == ["changed"]
    pool.returned(lease, "changed", 1.0, reusable=True)
    assert [whose for _, whose in granted(pool.plan(1.0))] == ["stays"]


def test_who_has_a_slot_and_asks_is_told_of_it_again() -> None:
    pool = new_pool()
    lease = started(pool, "s1")
    assert ask(pool, "s1") == [GrantTo(lease, "s1")]
    assert pool.processes.leased() == [lease]


def test_one_plan_serves_all_for_whom_there_is_a_slot() -> None:
    pool = new_pool(slots=3)
    leases = [started(pool, "s1"), *(lease for saga_id in ("s2", "s3") for lease, _ in granted(ask(pool, saga_id)))]
    for saga_id in ("w1", "w2", "w3"):
        assert ask(pool, saga_id) == []
    for lease, saga_id in zip(leases, ("s1", "s2", "s3"), strict=True):
        pool.returned(lease, saga_id, 1.0, reusable=True)
    assert [whose for _, whose in granted(pool.plan(1.0))] == ["w1", "w2", "w3"]


def test_one_worker_at_a_time_makes_room_for_another_origin() -> None:
    pool = new_pool(limit=2, slots=1)
    first, second = started(pool, "s1"), started(pool, "s2")
    pool.returned(first, "s1", 1.0, reusable=True)
    pool.returned(second, "s2", 2.0, reusable=True)
    assert ask(pool, "s3", THERE) == [Retire(process_of(first))]
    assert pool.plan(3.0) == [], "the other one stays warm"


def test_who_holds_a_slot_and_asks_for_an_owned_process_gets_one() -> None:
    pool = ProcessPool(1, "p", async_limit=1, slots=2)
    lease = started(pool, "s1")
    pool.ask("s1", HERE.client_id, LeaseRequest(HERE.origin, REFS))
    assert pool.plan(0.0) == [StartProcess("p-1")]
    assert pool.processes.leased_to("s1") == [lease]
