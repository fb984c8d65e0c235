"""The pool of shared processes: whom it lends which slot, told by what it orders and checked against a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolKey, Retire, StartProcess
from antistrophe.scheduling.slot_pool import CloseSlot, SharedOrder, SharedPool, carrier_of
from antistrophe.scheduling.throttle import Turns

ORIGINS = [Origin(None, (), "/a"), Origin("/b/script.py", (), "/b")]
HERE = PoolKey("me", ORIGINS[0])
THERE = PoolKey("you", ORIGINS[1])
REFS = ("m:A",)


def request(pool: SharedPool, saga_id: str, key: PoolKey, refs: tuple[str, ...] = REFS, **options: Any) -> None:
    pool.ask(saga_id, key.client_id, LeaseRequest(key.origin, refs, shared=True, **options))


def ask(pool: SharedPool, saga_id: str, key: PoolKey = HERE, now: float = 0.0, **options: Any) -> list[SharedOrder]:
    request(pool, saga_id, key, **options)
    return pool.plan(now)


def new_pool(limit: int = 1, slots: int = 2) -> SharedPool:
    return SharedPool(limit, slots, "p", Turns())


def started(pool: SharedPool, saga_id: str, key: PoolKey = HERE) -> str:
    """Ask, start, load and lend: the lease."""
    (order,) = ask(pool, saga_id, key)
    assert isinstance(order, StartProcess)
    pool.ready(order.name, 0.0)
    assert pool.plan(0.0) == [LoadInto(order.name, key.origin, REFS)]
    pool.loaded(order.name, REFS, 0.0)
    (grant,) = pool.plan(0.0)
    assert isinstance(grant, GrantTo)
    assert carrier_of(grant.name) == order.name
    return grant.name


def granted(orders: list[SharedOrder]) -> list[tuple[str, str]]:
    return [(order.name, order.saga_id) for order in orders if isinstance(order, GrantTo)]


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
    assert pool.leased_to("s1") is None
    assert ask(pool, "s2") == [], "something may still run there"
    assert pool.has_slot(lease)
    assert pool.closed(lease, 1.0) == (None, [])
    ((other, _),) = granted(pool.plan(1.0))
    assert other != lease


def test_the_end_of_a_call_and_the_death_of_a_process_name_their_sagas() -> None:
    pool = new_pool(slots=3)
    first = started(pool, "s1")
    ((second, _),) = granted(ask(pool, "s2"))
    assert pool.closed(first, 1.0) == ("s1", [])
    assert pool.closed(first, 1.0) == (None, []), "said twice, it is heard once"
    assert pool.dead(carrier_of(second)) == {second: "s2"}
    assert pool.leased() == []
    (order,) = ask(pool, "s3")
    assert isinstance(order, StartProcess)


def test_a_failed_import_refuses_those_who_want_it_and_spares_those_who_run() -> None:
    pool = new_pool(slots=9)
    lease = started(pool, "s1")
    name = carrier_of(lease)
    assert ask(pool, "s2", refs=("m:B",)) == [LoadInto(name, HERE.origin, ("m:B",))]
    assert ask(pool, "s3", refs=("m:A", "m:B")) == []
    assert pool.not_loaded(name) == (["s2", "s3"], [])
    assert pool.saga_of(lease) == "s1"
    assert pool.returned(lease, "s1", 1.0, reusable=True) == [Retire(name)], "after its last call it goes"


def test_another_origin_waits_until_the_process_idles() -> None:
    pool = new_pool()
    lease = started(pool, "s1")
    assert ask(pool, "s2", THERE) == []
    pool.returned(lease, "s1", 1.0, reusable=True)
    assert pool.plan(2.0) == [Retire(carrier_of(lease))]


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
    assert pool.next_turn() == 2.0
    assert [whose for _, whose in granted(pool.plan(2.0))] == ["b"]
    assert pool.saga_of(lease) == "s1"


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
    assert pool.leased() == [lease]


@dataclass
class _Model:
    slots: dict[str, str | None] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    alive: set[str] = field(default_factory=set)


class SharedPoolMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order: a slot has one saga, a saga one slot, a closed slot nobody."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = new_pool(limit=2, slots=3)
        self.model = _Model()
        self.now = 0.0

    def carry_out(self, orders: list[SharedOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name):
                    assert name not in self.model.alive
                    self.model.alive.add(name)
                case GrantTo(lease, saga_id):
                    assert carrier_of(lease) in self.model.alive
                    assert lease not in self.model.closed, "lent after it was closed"
                    assert self.model.slots.get(lease) is None, "lent twice"
                    assert saga_id not in self.model.slots.values(), "two slots for one saga"
                    self.model.slots[lease] = saga_id
                case CloseSlot(lease):
                    self.model.closed.add(lease)
                case Retire(name):
                    assert not [lease for lease, whose in self.lent().items() if carrier_of(lease) == name and whose]

    def lent(self) -> dict[str, str]:
        return {lease: whose for lease, whose in self.model.slots.items() if whose is not None}

    @rule(number=st.integers(0, 9), key=st.sampled_from([HERE, THERE]), urgent=st.booleans())
    def wants(self, number: int, key: PoolKey, urgent: bool) -> None:
        if f"s{number}" not in self.model.slots.values():
            request(self.pool, f"s{number}", key, urgent=urgent)

    @rule(number=st.integers(0, 9))
    def withdraws(self, number: int) -> None:
        self.pool.withdraw(f"s{number}")

    @rule()
    def plans(self) -> None:
        self.now += 1.0
        self.carry_out(self.pool.plan(self.now))

    @precondition(lambda self: self.model.alive)
    @rule(data=st.data())
    def process_says(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.model.alive)))
        self.pool.ready(name, self.now)
        said = data.draw(st.sampled_from(["loaded", "not loaded", "dead"]))
        if said == "loaded":
            self.pool.loaded(name, REFS, self.now)
        elif said == "not loaded":
            self.carry_out(self.pool.not_loaded(name)[1])
        else:
            mine = {lease: whose for lease, whose in self.lent().items() if carrier_of(lease) == name}
            assert self.pool.dead(name) == mine
            self.model.alive.discard(name)
            self.model.slots = {k: v for k, v in self.model.slots.items() if carrier_of(k) != name}

    @precondition(lambda self: self.lent())
    @rule(data=st.data(), reusable=st.booleans())
    def returns(self, data: st.DataObject, reusable: bool) -> None:
        lease = data.draw(st.sampled_from(sorted(self.lent())))
        saga_id = self.lent()[lease]
        self.model.slots[lease] = None
        self.carry_out(self.pool.returned(lease, saga_id, self.now, reusable=reusable))

    @precondition(lambda self: self.lent())
    @rule(data=st.data())
    def ends(self, data: st.DataObject) -> None:
        lease = data.draw(st.sampled_from(sorted(self.lent())))
        saga_id = self.lent()[lease]
        self.model.slots[lease] = None
        self.model.closed.add(lease)
        whose, orders = self.pool.closed(lease, self.now)
        assert whose == saga_id
        self.carry_out(orders)

    @invariant()
    def both_agree(self) -> None:
        assert set(self.pool.leased()) == set(self.lent())
        for lease, saga_id in self.lent().items():
            assert self.pool.saga_of(lease) == saga_id
            assert self.pool.leased_to(saga_id) == lease


TestSharedPool = SharedPoolMachine.TestCase
