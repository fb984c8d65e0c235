"""The pool of step processes: whom it lends what, told by what it orders and checked against a model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolKey, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.scheduling.throttle import Turns

ORIGINS = [Origin(None, (), "/a"), Origin("/b/script.py", (), "/b")]
HERE = PoolKey("me", ORIGINS[0])
THERE = PoolKey("you", ORIGINS[1])
CLIENTS = {key.origin: key.client_id for key in (HERE, THERE)}
REFS = ("m:A",)


def ask(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, now: float = 0.0, **options: Any) -> list[PoolOrder]:
    pool.ask(saga_id, key.client_id, LeaseRequest(key.origin, REFS, **options))
    return pool.plan(now)


def start(pool: ProcessPool, saga_id: str, key: PoolKey = HERE, **options: Any) -> str:
    """Ask, start, load and lend: the name of the process."""
    (order,) = ask(pool, saga_id, key, **options)
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.0)
    assert pool.plan(0.0) == [LoadInto(order.name, key.origin, REFS)]
    pool.loaded(order.name, REFS, 0.0)
    throttle = options.get("throttle")
    assert pool.plan(0.0) == [GrantTo(order.name, saga_id, None if throttle is None else throttle.step_class)]
    return order.name


def test_a_process_is_started_loaded_lent_given_back_and_lent_again() -> None:
    pool = ProcessPool(2, "p")
    name = start(pool, "s1")
    assert pool.saga_of(name) == "s1"
    assert pool.leased_to("s1") == name
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
    assert pool.dead(name) is None
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


def test_the_next_turn_is_asked_for_each_class_and_not_for_each_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, throttle = ProcessPool(1, "p"), Throttle("m:A", None, 2.0)
    start(pool, "s", throttle=throttle)
    for number in range(50):
        ask(pool, f"s{number}", throttle=throttle)
    asked: list[int] = []
    monkeypatch.setattr(Turns, "next_at", lambda self, waiting: asked.append(len(list(waiting))))
    pool.next_turn()
    for number in range(50):
        pool.withdraw(f"s{number}")
    pool.next_turn()
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
    assert pool.dead(name) == "s1"
    assert pool.dead(name) is None
    (order,) = pool.plan(1.0)
    assert isinstance(order, StartProcess)
    assert pool.dead(order.name) is None, "it was lent to nobody yet"
    (again,) = pool.plan(1.0)
    assert isinstance(again, StartProcess), "and whoever waits for it gets another"


def test_a_process_that_can_not_load_goes_and_its_saga_hears_of_it() -> None:
    pool = ProcessPool(1, "p")
    (order,) = ask(pool, "s1")
    assert isinstance(order, StartProcess)
    assert pool.not_loaded(order.name) == (None, [])
    pool.ready(order.name, 0.0)
    pool.plan(0.0)
    assert pool.loading(order.name)
    assert pool.not_loaded(order.name) == ("s1", [Retire(order.name)])
    assert pool.plan(0.0) == []
    assert pool.dead(order.name) is None


def test_what_takes_too_long_and_what_idles_too_long() -> None:
    pool = ProcessPool(3, "p")
    name = start(pool, "s1")
    pool.returned(name, "s1", 10.0, reusable=True)
    assert pool.retire_idle(69.9, 60.0) == []
    (starting,) = ask(pool, "s2", THERE)
    assert isinstance(starting, StartProcess)
    assert pool.overdue(29.9, 30.0) == []
    assert pool.overdue(30.0, 30.0) == [starting.name]
    assert pool.retire_idle(70.0, 60.0) == [Retire(name)]


def test_an_application_that_leaves_takes_its_idle_processes_along() -> None:
    pool = ProcessPool(3, "p")
    mine, yours = start(pool, "s1"), start(pool, "s2", THERE)
    busy = start(pool, "s3")
    for name, saga_id in ((mine, "s1"), (yours, "s2")):
        pool.returned(name, saga_id, 1.0, reusable=True)
    assert pool.retire_client("me") == [Retire(mine)]
    assert pool.leased() == [busy]


def test_only_who_was_lent_it_can_give_it_back() -> None:
    pool = ProcessPool(1, "p")
    name = start(pool, "s1")
    assert pool.returned(name, "s2", 1.0, reusable=False) == []
    assert pool.returned("p-99", "s1", 1.0, reusable=False) == []
    assert pool.returned(name, "s1", 1.0, reusable=False) == [Retire(name)]
    assert pool.returned(name, "s1", 1.0, reusable=False) == []


# --- turns of a step class ----------------------------------------------------------------------------------------

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
    lent = {order.saga_id for order in pool.plan(0.0) if isinstance(order, GrantTo)}
    assert lent | {pool.saga_of(name) for name in pool.leased()} == {"s1", "s3"}


def test_a_rate_is_even_and_says_when_the_next_may_start() -> None:
    pool = ProcessPool(4, "p")
    slow = Throttle("m:Pay", None, 2.0)
    for name, saga_id in [(start(pool, saga_id), saga_id) for saga_id in ("w1", "w2", "w3", "w4")]:
        pool.returned(name, saga_id, 0.0, reusable=True)
    assert [type(order) for order in ask(pool, "s1", now=10.0, throttle=slow)] == [GrantTo]
    assert pool.next_turn() is None, "nobody waits"
    assert ask(pool, "s2", now=10.1, throttle=slow) == []
    assert ask(pool, "s3", now=10.2, throttle=slow) == []
    assert pool.next_turn() == 10.5
    assert [order.saga_id for order in pool.plan(10.5) if isinstance(order, GrantTo)] == ["s2"]
    assert pool.next_turn() == 11.0
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


# --- against a model ----------------------------------------------------------------------------------------------


@dataclass
class Known:
    """A process as the model knows it from orders alone."""

    key: PoolKey
    stage: str = "starting"
    saga_id: str | None = None
    step_class: str | None = None
    lent: int = 0
    loaded: set[str] = field(default_factory=set)
    loads: tuple[str, ...] = ()


THROTTLES = (Throttle("one at a time", 1, None), PAIR, Throttle("now and then", 3, 0.3))
WISHES = st.builds(
    LeaseRequest,
    origin=st.sampled_from(ORIGINS),
    class_refs=st.sampled_from([REFS, ("m:B",), ("m:A", "m:B")]),
    fresh=st.booleans(),
    urgent=st.booleans(),
    priority=st.integers(-1, 1),
    throttle=st.sampled_from([None, *THROTTLES]),
)


class PoolMachine(RuleBasedStateMachine):
    """Does what the pool orders, in any order, late or never, and kills whom it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.limit = 3
        self.pool = ProcessPool(self.limit, "p", spares=2, cores=2)
        self.known: dict[str, Known] = {}
        self.wants: dict[str, LeaseRequest] = {}
        self.now = 0.0

    def obey(self, orders: list[PoolOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name):
                    assert name not in self.known
                    self.known[name] = Known(PoolKey("", ORIGINS[0]))
                case LoadInto(name, origin, class_refs):
                    process = self.known[name]
                    assert process.stage == "idle"
                    process.stage, process.key, process.loads = "loading", PoolKey("", origin), class_refs
                    assert not process.loaded.intersection(class_refs), "nothing is loaded twice"
                case GrantTo(name, saga_id, step_class):
                    process = self.known[name]
                    wish = self.wants.pop(saga_id)
                    assert process.stage == "idle"
                    assert process.saga_id is None
                    assert not (wish.fresh and process.lent)
                    assert step_class == (None if wish.throttle is None else wish.throttle.step_class)
                    process.stage, process.saga_id, process.lent = "leased", saga_id, process.lent + 1
                    process.step_class = step_class
                case Retire(name):
                    assert self.known[name].stage != "leased"
                    self.known[name].stage = "ending"

    def plan(self) -> None:
        self.now += 1.0
        self.obey(self.pool.plan(self.now))

    def names(self, stage: str) -> list[str]:
        return [name for name, process in self.known.items() if process.stage == stage]

    @rule(saga=st.integers(0, 6), wish=WISHES)
    def ask(self, saga: int, wish: LeaseRequest) -> None:
        saga_id = f"s{saga}"
        if self.pool.leased_to(saga_id) is None:
            known = self.wants.get(saga_id, wish)
            self.wants[saga_id] = replace(wish, origin=known.origin)
            self.pool.ask(saga_id, CLIENTS[known.origin], self.wants[saga_id])
            self.plan()

    @rule(saga=st.integers(0, 6))
    def withdraw(self, saga: int) -> None:
        self.pool.withdraw(f"s{saga}")
        self.wants.pop(f"s{saga}", None)
        self.plan()

    def finish_loading(self, name: str) -> None:
        process = self.known[name]
        process.stage = "idle"
        process.loaded.update(process.loads)
        self.pool.loaded(name, process.loads, self.now)

    @precondition(lambda self: self.names("starting"))
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names("starting")))
        self.known[name].stage = "idle"
        self.pool.ready(name, self.now)
        self.plan()

    @precondition(lambda self: self.names("loading"))
    @rule(data=st.data(), well=st.booleans())
    def load(self, data: st.DataObject, well: bool) -> None:
        name = data.draw(st.sampled_from(self.names("loading")))
        if well:
            self.finish_loading(name)
        else:
            self.known[name].stage = "idle"
            told, orders = self.pool.not_loaded(name)
            self.obey(orders)
            if told is not None:
                self.wants.pop(told)
        self.plan()

    @precondition(lambda self: self.names("leased"))
    @rule(data=st.data(), reusable=st.booleans())
    def give_back(self, data: st.DataObject, reusable: bool) -> None:
        name = data.draw(st.sampled_from(self.names("leased")))
        process = self.known[name]
        saga_id, process.saga_id, process.stage = process.saga_id, None, "idle"
        assert saga_id is not None
        self.obey(self.pool.returned(name, saga_id, self.now, reusable=reusable))
        self.plan()

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        process = self.known.pop(name)
        assert self.pool.dead(name) == process.saga_id
        self.plan()

    @precondition(lambda self: self.pool.unready(self.now))
    @rule()
    def make_ready(self) -> None:
        orders = self.pool.make_ready(self.now)
        assert orders
        self.obey(orders)
        left = self.limit - len(self.known) + len(self.names("idle")) + len(self.names("ending"))
        assert left > 0, "one place is left"
        self.plan()

    @rule(idle_s=st.sampled_from([0.0, 3.0, 1000.0]))
    def idle(self, idle_s: float) -> None:
        self.obey(self.pool.retire_idle(self.now, idle_s))
        self.obey(self.pool.retire_client("nobody"))
        self.plan()

    @invariant()
    def never_more_than_the_limit(self) -> None:
        assert len(self.known) <= self.limit
        assert sorted(self.pool.leased()) == sorted(self.names("leased"))
        for throttle in THROTTLES:
            running = [each for each in self.known.values() if each.saga_id and each.step_class == throttle.step_class]
            assert throttle.max_concurrent is None or len(running) <= throttle.max_concurrent

    def teardown(self) -> None:
        """Whatever has happened, everybody is served once processes start, load and are given back."""
        for _ in range(200):
            if not self.wants:
                return
            for name in self.names("ending"):
                del self.known[name]
                self.pool.dead(name)
            for name in self.names("starting"):
                self.known[name].stage = "idle"
                self.pool.ready(name, self.now)
            for name in self.names("loading"):
                self.finish_loading(name)
            for name in self.names("leased"):
                process = self.known[name]
                saga_id, process.saga_id, process.stage = process.saga_id, None, "idle"
                self.obey(self.pool.returned(name, saga_id or "", self.now, reusable=True))
            self.plan()
        raise AssertionError(f"{sorted(self.wants)} are never served")


TestPoolAgainstAModel = PoolMachine.TestCase
