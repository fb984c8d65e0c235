"""How many step processes start at the same time, and what a death under one saga means for those of others."""

from __future__ import annotations

from antistrophe.definition.spec import LeaseRequest
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolOrder, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.scheduling.process_table import BRIEF_START_S, START_AGAIN_MAX_S, START_AGAIN_S
from tests.core.test_process_pool import HERE, REFS, ask, start


def names_started(orders: list[PoolOrder]) -> list[str]:
    return [order.name for order in orders if isinstance(order, StartProcess)]


def test_as_many_start_at_once_as_there_are_cores() -> None:
    pool = ProcessPool(8, "p", cores=2)
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
    pool = ProcessPool(8, "p", cores=1)
    start(pool, "s1")
    assert len(names_started([*ask(pool, "s2"), *ask(pool, "s3")])) == 1


def test_who_imports_for_long_holds_up_no_other_start() -> None:
    pool = ProcessPool(8, "p", cores=1)
    (order,) = ask(pool, "s1")
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.1)
    assert len(pool.plan(0.1)) == 1
    assert ask(pool, "s2", now=0.2) == []
    assert len(names_started(pool.plan(BRIEF_START_S))) == 1


def test_a_start_that_fails_holds_up_no_other() -> None:
    pool = ProcessPool(8, "p", cores=1)
    (order,) = ask(pool, "s1")
    assert ask(pool, "s2") == []
    assert isinstance(order, StartProcess)
    pool.dead(order.name)
    assert len(names_started(pool.plan(0.0))) == 1


def test_after_a_failed_start_nothing_is_started_for_a_while_and_longer_each_time() -> None:
    pool = ProcessPool(8, "p", async_limit=2, slots=2, prewarm=2)
    now, waits = 0.0, []
    orders = ask(pool, "s1")
    for _ in range(6):
        (name,) = names_started(orders)
        pool.start_failed(name, now)
        assert pool.plan(now) == []
        assert not pool.unready(now)
        assert pool.make_ready(now) == []
        failed_at = now
        while not (orders := pool.plan(now)):
            now += 0.05
        waits.append(round(now - failed_at, 2))
    assert waits == sorted(waits)
    assert waits[0] < waits[-1] < START_AGAIN_MAX_S + 0.1
    (name,) = names_started(orders)
    pool.ready(name, now)
    (order,) = [each for each in pool.plan(now) if isinstance(each, LoadInto)]
    assert order.name == name, "who waited is served"
    (other,) = names_started(ask(pool, "s2", now=now))
    pool.start_failed(other, now)
    assert pool.plan(now + START_AGAIN_S), "a start that went well ends the row"


# --- who dies under its saga --------------------------------------------------------------------------------------

OTHERS = ("m:B",)


def ask_for(pool: ProcessPool, saga_id: str, class_refs: tuple[str, ...]) -> list[PoolOrder]:
    pool.ask(saga_id, HERE.client_id, LeaseRequest(HERE.origin, class_refs))
    return pool.plan(0.0)


def test_classes_under_which_a_process_died_leave_the_warm_ones_to_others() -> None:
    pool = ProcessPool(8, "p")
    bad, warm = start(pool, "bad"), start(pool, "good")
    pool.returned(warm, "good", 1.0, reusable=True)
    pool.ask("other", HERE.client_id, LeaseRequest(HERE.origin, OTHERS))
    (load,) = pool.plan(1.0)
    assert load == LoadInto(warm, HERE.origin, OTHERS), "it has imported what both need"
    pool.loaded(warm, OTHERS, 1.0)
    assert pool.plan(1.0) == [GrantTo(warm, "other")]
    pool.returned(warm, "other", 1.0, reusable=True)
    assert pool.dead(bad) == {bad: "bad"}
    (order,) = ask(pool, "bad again")
    assert isinstance(order, StartProcess)
    assert ask_for(pool, "other again", OTHERS) == [GrantTo(warm, "other again")]


def test_they_are_trusted_again_once_one_of_them_gives_its_process_back() -> None:
    pool = ProcessPool(8, "p")
    bad, warm = start(pool, "bad"), start(pool, "good")
    pool.dead(bad)
    pool.returned(warm, "good", 1.0, reusable=True)
    assert ask(pool, "next") == [GrantTo(warm, "next")]


def test_one_that_dies_while_nothing_runs_there_says_nothing_of_its_classes() -> None:
    pool = ProcessPool(8, "p")
    idle, warm = start(pool, "s1"), start(pool, "s2")
    for name, saga_id in ((idle, "s1"), (warm, "s2")):
        pool.returned(name, saga_id, 1.0, reusable=True)
    assert pool.dead(idle) == {}
    assert ask(pool, "s3") == [GrantTo(warm, "s3")]


# --- what is kept for a saga, and does not do for it --------------------------------------------------------------


def import_for_nobody(pool: ProcessPool) -> str:
    """A used process that imports something for a saga that wants it no more; its name."""
    name = start(pool, "s1")
    pool.returned(name, "s1", 0.0, reusable=True)
    assert ask_for(pool, "s2", OTHERS) == [LoadInto(name, HERE.origin, OTHERS)]
    pool.withdraw("s2")
    return name


def test_a_used_process_that_imports_for_nobody_is_not_kept_for_a_fresh_attempt() -> None:
    pool = ProcessPool(2, "p")
    name = import_for_nobody(pool)
    (order,) = ask(pool, "s3", fresh=True)
    assert isinstance(order, StartProcess)
    pool.loaded(name, OTHERS, 0.0)
    assert ask(pool, "s4") == [GrantTo(name, "s4")]


def test_what_was_kept_for_a_saga_goes_to_others_when_its_classes_turn_deadly_meanwhile() -> None:
    pool = ProcessPool(3, "p")
    name, bad = import_for_nobody(pool), ""
    assert ask(pool, "s3") == [], "it waits for what is imported"
    (order,) = ask(pool, "bad")
    assert isinstance(order, StartProcess)
    bad = order.name
    pool.ready(bad, 0.0)
    pool.plan(0.0)
    pool.loaded(bad, REFS, 0.0)
    assert pool.plan(0.0) == [GrantTo(bad, "bad")]
    assert pool.dead(bad) == {bad: "bad"}
    pool.loaded(name, OTHERS, 0.0)
    (started,) = pool.plan(0.0)
    assert isinstance(started, StartProcess), "for s3, which needs an unused one now"
    assert ask_for(pool, "s4", OTHERS) == [GrantTo(name, "s4")]
