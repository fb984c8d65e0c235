"""How many step processes start at the same time: one core is left to the attempts that run."""

from __future__ import annotations

from antistrophe.loans import GrantTo, LoadInto, PoolOrder, StartProcess
from antistrophe.policy import BRIEF_START_S, Pool
from tests.core.test_policy_pool import HERE, REFS, ask, start


def names_started(orders: list[PoolOrder]) -> list[str]:
    return [order.name for order in orders if isinstance(order, StartProcess)]


def test_as_many_start_at_once_as_there_are_cores() -> None:
    pool = Pool(8, "p", cores=2)
    started = [*ask(pool, "s1"), *ask(pool, "s2"), *ask(pool, "s3")]
    assert len(names_started(started)) == 2
    first = names_started(started)[0]
    pool.ready(first, 0.0)
    assert pool.plan(0.0) == [LoadInto(first, HERE.origin, REFS)], "to import is as hard"
    pool.loaded(first, REFS, 0.0)
    assert pool.plan(0.0) == [GrantTo(first, "s1")], "an attempt runs now, and has a core to itself"
    second = names_started(started)[1]
    pool.ready(second, 0.0)
    pool.plan(0.0)
    pool.loaded(second, REFS, 0.0)
    grant, order = pool.plan(0.0)
    assert (grant, type(order)) == (GrantTo(second, "s2"), StartProcess)


def test_on_one_core_one_starts_at_a_time_and_never_none() -> None:
    pool = Pool(8, "p", cores=1)
    start(pool, "s1")
    assert len(names_started([*ask(pool, "s2"), *ask(pool, "s3")])) == 1


def test_who_imports_for_long_holds_up_no_other_start() -> None:
    pool = Pool(8, "p", cores=1)
    (order,) = ask(pool, "s1")
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.1)
    assert len(pool.plan(0.1)) == 1
    assert ask(pool, "s2", now=0.2) == []
    assert len(names_started(pool.plan(BRIEF_START_S))) == 1


def test_a_start_that_fails_holds_up_no_other() -> None:
    pool = Pool(8, "p", cores=1)
    (order,) = ask(pool, "s1")
    assert ask(pool, "s2") == []
    assert isinstance(order, StartProcess)
    pool.dead(order.name)
    assert len(names_started(pool.plan(0.0))) == 1
