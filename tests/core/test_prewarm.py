"""Step processes in advance: started for fresh attempts to come, and never at the cost of anybody else."""

from __future__ import annotations

from typing import Any

from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolKey, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.scheduling.process_table import BRIEF_START_S

HERE = PoolKey("me", Origin(None, (), "/a"))
THERE = PoolKey("you", Origin(None, (), "/b"))
REFS = ("m:A", "m:B")


def ask(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, **options: Any) -> list[PoolOrder]:
    pool.ask(saga_id, key.client_id, LeaseRequest(key.origin, REFS, **options))
    return pool.plan(0.0)


def bring_up(pool: ProcessPool, order: PoolOrder) -> list[PoolOrder]:
    """A process that was ordered starts and imports; what the pool orders then."""
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.0)
    (load,) = pool.plan(0.0)
    assert load == LoadInto(order.name, HERE.origin, REFS)
    pool.loaded(order.name, REFS, 0.0)
    return pool.plan(0.0)


def grant_process(pool: ProcessPool, saga_id: str, **options: Any) -> str:
    """Start a process for this saga and grant it; the name."""
    (order,) = ask(pool, saga_id, **options)
    assert isinstance(order, StartProcess)
    (grant,) = bring_up(pool, order)
    assert isinstance(grant, GrantTo)
    return grant.lease_name


def test_for_each_that_was_taken_others_are_made_ready_with_its_classes_imported() -> None:
    pool = ProcessPool(8, "p", prewarm=2)
    assert pool.make_ready(0.0) == []
    grant_process(pool, "s1", fresh=True)
    assert pool.unready(0.0)
    first, second = pool.make_ready(0.0)
    assert not pool.unready(0.0)
    assert pool.make_ready(0.0) == []
    assert bring_up(pool, first) == []
    assert bring_up(pool, second) == []
    assert isinstance(first, StartProcess)
    (grant,) = ask(pool, "s2", fresh=True)
    assert isinstance(grant, GrantTo), "within the call: nothing has to start"
    (third,) = pool.make_ready(0.0)
    assert isinstance(third, StartProcess), "one was taken, one is made ready"


def test_steps_that_take_a_used_process_have_none_made_ready() -> None:
    pool = ProcessPool(8, "p", prewarm=2)
    name = grant_process(pool, "s1")
    pool.returned(name, "s1", 0.0, reusable=True)
    assert ask(pool, "s2") == [GrantTo(name, "s2")]
    assert not pool.unready(0.0)
    assert pool.make_ready(0.0) == []


def test_a_used_process_goes_before_one_that_is_kept_for_fresh_attempts() -> None:
    pool = ProcessPool(8, "p", prewarm=1)
    used = grant_process(pool, "s1")
    grant_process(pool, "s2", fresh=True)
    (spare,) = pool.make_ready(0.0)
    bring_up(pool, spare)
    pool.returned(used, "s1", -1.0, reusable=True)
    assert ask(pool, "s3") == [GrantTo(used, "s3")], "although the spare is the newer one"


def test_one_place_is_always_left_to_others() -> None:
    pool = ProcessPool(3, "p", prewarm=2)
    grant_process(pool, "s1", fresh=True)
    (spare,) = pool.make_ready(0.0)
    (other,) = ask(pool, "s2", THERE)
    assert isinstance(other, StartProcess)
    assert other != spare


def test_idle_processes_that_nobody_needs_give_way_to_a_spare_but_for_one() -> None:
    pool = ProcessPool(3, "p", prewarm=2)
    old, newer, fresh = grant_process(pool, "s1"), grant_process(pool, "s2"), grant_process(pool, "s3", fresh=True)
    assert pool.make_ready(0.0) == [], "sagas hold all of them"
    pool.returned(old, "s1", 1.0, reusable=True)
    pool.returned(newer, "s2", 2.0, reusable=True)
    assert not pool.unready(2.0), "and that was that"
    pool.returned(fresh, "s3", 3.0, reusable=False)
    pool.dead(fresh)
    fresh = grant_process(pool, "s4", fresh=True)
    assert pool.make_ready(4.0) == [Retire(old)]
    assert not pool.unready(4.0), "while that one ends"
    pool.dead(old)
    assert pool.unready(4.0)
    (spare,) = pool.make_ready(4.0)
    assert isinstance(spare, StartProcess)
    bring_up(pool, spare)
    assert not pool.unready(4.0), "the last warm one stays"
    assert ask(pool, "s5") == [GrantTo(newer, "s5")]


def test_where_there_is_no_place_none_is_made_ready_and_none_later() -> None:
    pool = ProcessPool(1, "p", prewarm=2)
    name = grant_process(pool, "s1", fresh=True)
    assert pool.make_ready(0.0) == []
    pool.returned(name, "s1", 0.0, reusable=False)
    pool.dead(name)
    assert not pool.unready(0.0)


def test_a_spare_gives_way_to_whoever_has_no_place() -> None:
    pool = ProcessPool(2, "p", prewarm=1)
    name = grant_process(pool, "s1", fresh=True)
    pool.returned(name, "s1", 0.0, reusable=False)
    pool.dead(name)
    (spare,) = pool.make_ready(0.0)
    assert isinstance(spare, StartProcess)
    bring_up(pool, spare)
    ask(pool, "s2", THERE)
    assert ask(pool, "s3", THERE) == [Retire(spare.name)]


def test_who_comes_while_a_spare_starts_waits_for_that_one() -> None:
    pool = ProcessPool(8, "p", prewarm=1)
    grant_process(pool, "s1", fresh=True)
    (spare,) = pool.make_ready(0.0)
    assert isinstance(spare, StartProcess)
    assert ask(pool, "s2", fresh=True) == []
    pool.ready(spare.name, 0.0)
    assert pool.plan(0.0) == [LoadInto(spare.name, HERE.origin, REFS)]
    pool.loaded(spare.name, REFS, 0.0)
    assert pool.plan(0.0) == [GrantTo(spare.name, "s2", fresh=True)]


def test_who_comes_while_a_spare_imports_waits_for_that_one_and_hears_of_it_when_it_cannot() -> None:
    pool = ProcessPool(8, "p", prewarm=1)
    grant_process(pool, "s1", fresh=True)
    (spare,) = pool.make_ready(0.0)
    assert isinstance(spare, StartProcess)
    pool.ready(spare.name, 0.0)
    pool.plan(0.0)
    assert ask(pool, "s2", fresh=True) == []
    assert pool.not_loaded(spare.name) == (["s2"], [Retire(spare.name)])


def test_a_spare_that_cannot_import_or_dies_is_not_started_again_and_again() -> None:
    pool = ProcessPool(8, "p", prewarm=2)
    grant_process(pool, "s1", fresh=True)
    first, second = pool.make_ready(0.0)
    assert isinstance(first, StartProcess)
    assert isinstance(second, StartProcess)
    pool.ready(first.name, 0.0)
    pool.plan(0.0)
    assert pool.not_loaded(first.name) == ([], [Retire(first.name)])
    assert pool.dead(first.name) == {}
    assert pool.dead(second.name) == {}
    assert pool.plan(0.0) == []
    assert pool.make_ready(0.0) == []


def test_a_saga_that_wants_none_any_more_leaves_the_spare_to_the_next() -> None:
    pool = ProcessPool(8, "p", prewarm=1)
    grant_process(pool, "s1", fresh=True)
    (spare,) = pool.make_ready(0.0)
    assert isinstance(spare, StartProcess)
    ask(pool, "s2", fresh=True)
    pool.withdraw("s2")
    assert bring_up(pool, spare) == []
    assert ask(pool, "s3", fresh=True) == [GrantTo(spare.name, "s3", fresh=True)]


def test_nobody_who_wants_none_gets_any() -> None:
    pool = ProcessPool(8, "p", prewarm=0)
    grant_process(pool, "s1", fresh=True)
    assert not pool.unready(0.0)
    assert pool.make_ready(0.0) == []


def test_where_no_core_is_left_they_are_made_ready_later() -> None:
    pool = ProcessPool(8, "p", prewarm=2, cores=2)
    grant_process(pool, "s1", fresh=True)
    (first,) = pool.make_ready(0.0)
    assert not pool.unready(0.0), "one starts, and one core is the attempt's"
    assert pool.make_ready(0.0) == []
    bring_up(pool, first)
    assert pool.unready(0.0)
    (second,) = pool.make_ready(0.0)
    assert isinstance(second, StartProcess)
    assert not pool.unready(BRIEF_START_S), "there are as many as there should be"
