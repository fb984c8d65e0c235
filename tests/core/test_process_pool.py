"""The process pool: who gets a lease of which owned process, told by what it orders."""

from __future__ import annotations

from typing import Any

import pytest

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolKey, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.scheduling.throttle import Throttles

ORIGINS = [Origin(None, (), "/a"), Origin("/b/script.py", (), "/b")]
HERE = PoolKey("me", ORIGINS[0])
THERE = PoolKey("you", ORIGINS[1])
CLIENTS = {key.origin: key.client_id for key in (HERE, THERE)}
REFS = ("m:A",)


def ask(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, now: float = 0.0, **options: Any) -> list[PoolOrder]:
    pool.ask(saga_id, key.client_id, LeaseRequest(key.origin, REFS, **options))
    return pool.plan(now)


def start(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, **options: Any) -> str:
    """Ask, start, load and grant: the name of the process."""
    (order,) = ask(pool, saga_id, key, **options)
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.0)
    assert pool.plan(0.0) == [LoadInto(order.name, key.origin, REFS)]
    pool.loaded(order.name, REFS, 0.0)
    throttle, fresh = options.get("throttle"), options.get("fresh", False)
    assert pool.plan(0.0) == [GrantTo(order.name, saga_id, None if throttle is None else throttle.step_class, fresh)]
    return order.name


def test_a_process_is_started_loaded_lent_given_back_and_lent_again() -> None:
    pool = ProcessPool(2, "p")
    name = start(pool, "s1")
    assert pool.processes.saga_of(name) == "s1"
    assert pool.processes.leased_to("s1") == [name]
    assert pool.returned(name, "s1", 1.0, reusable=True) == []
    assert ask(pool, "s2") == [GrantTo(name, "s2")], "what it has loaded stays loaded"


def test_another_application_or_origin_gets_a_process_of_its_own() -> None:
    pool = ProcessPool(2, "p")
    name = start(pool, "s1")
    pool.returned(name, "s1", 1.0, reusable=True)
    (order,) = ask(pool, "s2", THERE)
    assert isinstance(order, StartProcess)
    assert order.name != name


def test_room_is_made_by_retiring_one_that_idles() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    assert ask(pool, "s2", THERE) == []
    pool.returned(name, "s1", 1.0, reusable=True)
    assert pool.plan(2.0) == [Retire(name)]
    assert pool.plan(2.0) == [], "once"
    assert pool.dead(name) == {}
    (order,) = pool.plan(3.0)
    assert isinstance(order, StartProcess)


def test_those_who_cannot_be_served_are_not_looked_at_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s")
    for number in range(300):
        pool.ask(f"s{number}", "me", LeaseRequest(HERE.origin, REFS))
    looked: list[str] = []
    serve = ProcessPool._serve

    def look(self: ProcessPool, waiting: Any, now: float) -> PoolOrder | None:
        looked.append(waiting.saga_id)
        return serve(self, waiting, now)

    monkeypatch.setattr(ProcessPool, "_serve", look)
    pool.returned(name, "s", 1.0, reusable=True)
    assert pool.plan(1.0) == [GrantTo(name, "s0")]
    assert looked == ["s0"]


def test_the_next_start_is_asked_for_each_class_and_not_for_each_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, throttle = ProcessPool(1, "p"), Throttle("m:A", None, 2.0)
    start(pool, "s", throttle=throttle)
    for number in range(50):
        ask(pool, f"s{number}", throttle=throttle)
    asked: list[int] = []
    monkeypatch.setattr(Throttles, "next_start", lambda self, waiting: asked.append(len(list(waiting))))
    pool.next_start()
    for number in range(50):
        pool.withdraw(f"s{number}")
    pool.next_start()
    assert asked == [1, 0]


def test_a_fresh_one_is_one_that_was_never_lent() -> None:
    pool = ProcessPool(2, "p")
    name = start(pool, "s1")
    pool.returned(name, "s1", 1.0, reusable=True)
    (order,) = ask(pool, "s2", fresh=True)
    assert isinstance(order, StartProcess)


def test_the_urgent_come_first() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    for saga_id in ("s2", "s3"):
        assert ask(pool, saga_id) == []
    assert ask(pool, "back", urgent=True) == []
    pool.returned(name, "s1", 1.0, reusable=True)
    assert pool.plan(1.0) == [GrantTo(name, "back")]
    pool.returned(name, "back", 1.0, reusable=True)
    assert pool.plan(1.0) == [GrantTo(name, "s2")], "then the first to ask"


def test_who_dies_is_replaced_and_who_was_lent_it_is_told() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    assert ask(pool, "s2") == []
    assert pool.dead(name) == {name: "s1"}
    assert pool.dead(name) == {}
    (order,) = pool.plan(1.0)
    assert isinstance(order, StartProcess)
    assert pool.dead(order.name) == {}, "nobody held it yet"
    (again,) = pool.plan(1.0)
    assert isinstance(again, StartProcess), "and whoever waits for it gets another"


def test_a_process_that_can_not_load_goes_and_its_saga_hears_of_it() -> None:
    pool = ProcessPool(1, "p")
    (order,) = ask(pool, "s1")
    assert isinstance(order, StartProcess)
    assert pool.not_loaded(order.name) == ([], [])
    pool.ready(order.name, 0.0)
    pool.plan(0.0)
    assert pool.processes.loading(order.name)
    assert pool.not_loaded(order.name) == (["s1"], [Retire(order.name)])
    assert pool.plan(0.0) == []
    assert pool.dead(order.name) == {}


def test_what_takes_too_long_and_what_idles_too_long() -> None:
    pool = ProcessPool(3, "p")
    name = start(pool, "s1")
    pool.returned(name, "s1", 10.0, reusable=True)
    assert pool.retire_idle(69.9, 60.0) == []
    (starting,) = ask(pool, "s2", THERE)
    assert isinstance(starting, StartProcess)
    assert pool.processes.overdue(29.9, 30.0) == []
    assert pool.processes.overdue(30.0, 30.0) == [starting.name]
    assert pool.retire_idle(70.0, 60.0) == [Retire(name)]


def test_an_application_that_leaves_takes_its_idle_processes_along() -> None:
    pool = ProcessPool(3, "p")
    mine, yours = start(pool, "s1"), start(pool, "s2", THERE)
    busy = start(pool, "s3")
    for name, saga_id in ((mine, "s1"), (yours, "s2")):
        pool.returned(name, saga_id, 1.0, reusable=True)
    assert pool.retire_client("me") == [Retire(mine)]
    assert pool.processes.leased() == [busy]


def test_only_who_was_lent_it_can_give_it_back() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    assert pool.returned(name, "s2", 1.0, reusable=False) == []
    assert pool.returned("p-99", "s1", 1.0, reusable=False) == []
    assert pool.returned(name, "s1", 1.0, reusable=False) == [Retire(name)]
    assert pool.returned(name, "s1", 1.0, reusable=False) == []


# --- throttled step classes ----------------------------------------------------------------------------------------

PAIR = Throttle("m:Pay", 2, None)


def test_a_class_at_its_limit_waits_and_holds_up_no_other() -> None:
    pool = ProcessPool(3, "p")
    first, second = (start(pool, saga_id, throttle=PAIR) for saga_id in ("s1", "s2"))
    assert ask(pool, "s3", throttle=PAIR) == [], "no process is even started for it"
    other = start(pool, "s4")
    pool.returned(other, "s4", 0.0, reusable=True)
    assert pool.plan(0.0) == []
    assert ask(pool, "s5") == [GrantTo(other, "s5")]
    pool.returned(first, "s1", 0.0, reusable=True)
    assert pool.plan(0.0) == [GrantTo(first, "s3", "m:Pay")]
    pool.dead(second)
    (order,) = ask(pool, "s6", throttle=PAIR)
    assert isinstance(order, StartProcess), "the dead one counts no more"


def test_what_is_kept_for_one_that_has_to_wait_is_given_to_another() -> None:
    pool = ProcessPool(2, "p")
    one = Throttle("m:Pay", 1, None)
    started = [*ask(pool, "s1", throttle=one), *ask(pool, "s2", throttle=one)]
    ask(pool, "s3")
    for order in started:
        assert isinstance(order, StartProcess)
        pool.ready(order.name, 0.0)
        pool.plan(0.0)
        pool.loaded(order.name, REFS, 0.0)
    granted = {order.saga_id for order in pool.plan(0.0) if isinstance(order, GrantTo)}
    assert granted | {pool.processes.saga_of(name) for name in pool.processes.leased()} == {"s1", "s3"}


def test_a_rate_is_even_and_says_when_the_next_may_start() -> None:
    pool = ProcessPool(4, "p")
    slow = Throttle("m:Pay", None, 2.0)
    for name, saga_id in [(start(pool, saga_id), saga_id) for saga_id in ("w1", "w2", "w3", "w4")]:
        pool.returned(name, saga_id, 0.0, reusable=True)
    assert [type(order) for order in ask(pool, "s1", now=10.0, throttle=slow)] == [GrantTo]
    assert pool.next_start() is None, "nobody waits"
    assert ask(pool, "s2", now=10.1, throttle=slow) == []
    assert ask(pool, "s3", now=10.2, throttle=slow) == []
    assert pool.next_start() == 10.5
    assert [order.saga_id for order in pool.plan(10.5) if isinstance(order, GrantTo)] == ["s2"]
    assert pool.next_start() == 11.0
    assert [order.saga_id for order in pool.plan(100.0) if isinstance(order, GrantTo)] == ["s3"]
    assert ask(pool, "s4", now=100.1, throttle=slow) == [], "nothing is saved up"


def test_compensations_come_first_and_then_the_higher_priority() -> None:
    pool = ProcessPool(1, "p")
    name, before = start(pool, "s1"), "s1"
    options: dict[str, dict[str, Any]] = {
        "low": {"priority": -1},
        "usual": {},
        "high": {"priority": 5},
        "undo": {"urgent": True, "priority": -9},
        "also usual": {},
    }
    for saga_id, wanted in options.items():
        assert ask(pool, saga_id, **wanted) == []
    for expected in ("undo", "high", "usual", "also usual", "low"):
        pool.returned(name, before, 0.0, reusable=True)
        assert pool.plan(0.0) == [GrantTo(name, expected)]
        before = expected


# --- asked again --------------------------------------------------------------------------------------------------


def test_who_holds_a_process_and_asks_is_told_of_it_again() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    assert ask(pool, "s1") == [GrantTo(name, "s1")], "it has not heard of the grant, and there is no other place"
    assert pool.processes.leased_to("s1") == [name]
    pool.returned(name, "s1", 1.0, reusable=True)
    assert ask(pool, "s2") == [GrantTo(name, "s2")], "it waits no more"


@pytest.mark.parametrize("how", ["died", "was given back"])
def test_who_asks_while_nothing_is_granted_is_not_told_of_a_lease_that_is_over_by_then(how: str) -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    pool.ask("s1", HERE.client_id, LeaseRequest(HERE.origin, REFS))  # the host has just lost its lease of the journal
    if how == "died":
        assert pool.dead(name) == {name: "s1"}
        assert pool.plan(1.0) == []
    else:
        pool.returned(name, "s1", 1.0, reusable=True)
        assert ask(pool, "s2") == [GrantTo(name, "s2")], "no two sagas are told that it is theirs"


def test_who_wants_an_unused_process_is_not_told_again_of_one_that_may_be_used() -> None:
    pool = ProcessPool(2, "p")
    name = start(pool, "s1", fresh=True)
    (order,) = ask(pool, "s1", fresh=True)
    assert isinstance(order, StartProcess)
    assert order.name != name


# --- both kinds ---------------------------------------------------------------------------------------------------


def test_neither_kind_takes_the_places_or_the_processes_of_the_other() -> None:
    pool = ProcessPool(1, "p", async_limit=1, slots=2)
    owned = start(pool, "s1")
    (order,) = ask(pool, "a1", shared=True)
    assert order == StartProcess("p-a1", shared=True)
    pool.ready("p-a1", 0.0)
    assert pool.plan(0.0) == [LoadInto("p-a1", HERE.origin, REFS)]
    pool.loaded("p-a1", REFS, 0.0)
    assert pool.plan(0.0) == [GrantTo("p-a1.1", "a1")]
    assert ask(pool, "s2") == []
    assert ask(pool, "a2", THERE, shared=True) == []
    pool.returned(owned, "s1", 1.0, reusable=True)
    assert pool.plan(1.0) == [GrantTo(owned, "s2")], "the idle process is not ended for an async call"
    pool.returned("p-a1.1", "a1", 1.0, reusable=True)
    assert pool.plan(1.0) == [Retire("p-a1")]


def test_a_saga_that_wants_the_other_kind_next_waits_for_that_one_alone() -> None:
    pool = ProcessPool(2, "p", async_limit=1)
    (owned,) = ask(pool, "s1")
    assert ask(pool, "s1", shared=True) == [StartProcess("p-a1", shared=True)]
    assert isinstance(owned, StartProcess)
    pool.ready(owned.name, 0.0)
    assert pool.plan(0.0) == [], "nothing is imported for a saga that wants it no more"
