"""The process pool against a model: owned processes and async workers together, with one to three slots for each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.leases import CloseSlot, GrantTo, LoadInto, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.pooled_process import process_of
from antistrophe.scheduling.process_pool import ProcessPool

ORIGINS = [Origin(None, (), "/a"), Origin("/b/script.py", (), "/b")]
CLIENTS = {ORIGINS[0]: "me", ORIGINS[1]: "you"}
THROTTLES = (Throttle("one at a time", 1, None), Throttle("m:Pay", 2, None), Throttle("now and then", 3, 0.3))
LIMITS = {False: 3, True: 2}
SAGAS = st.integers(0, 9)
REQUESTS = st.builds(
    LeaseRequest,
    origin=st.sampled_from(ORIGINS),
    class_refs=st.sampled_from([("m:A",), ("m:B",), ("m:A", "m:B")]),
    urgent=st.booleans(),
    priority=st.integers(-1, 1),
    throttle=st.sampled_from([None, *THROTTLES]),
    shared=st.booleans(),
) | st.builds(
    LeaseRequest,
    origin=st.sampled_from(ORIGINS),
    class_refs=st.sampled_from([("m:A",), ("m:B",)]),
    fresh=st.just(True),
    throttle=st.sampled_from([None, *THROTTLES]),
)


@dataclass
class Known:
    """A process as the model knows it from orders alone. ``leases``: whose each slot is; None: being closed."""

    shared: bool
    slots: int
    origin: Origin | None = None
    stage: str = "starting"
    leases: dict[str, str | None] = field(default_factory=dict)
    classes: dict[str, str | None] = field(default_factory=dict)
    closed: set[str] = field(default_factory=set)
    grants: int = 0
    loaded: set[str] = field(default_factory=set)
    loads: tuple[str, ...] = ()


class PoolMachine(RuleBasedStateMachine):
    """Does what the pool orders, in any order, late or never, and kills whom it likes: a slot has one saga, a saga one
    slot, a closed slot nobody; and whoever waits is served in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[str, Known] = {}
        self.wants: dict[str, LeaseRequest] = {}
        self.now = 0.0

    @initialize(slots=st.integers(1, 3), eager=st.booleans())
    def begin(self, slots: int, eager: bool) -> None:
        self.slots, self.eager = slots, eager
        self.pool = ProcessPool(LIMITS[False], "p", async_limit=LIMITS[True], slots=slots, prewarm=2, cores=2)

    # --- obeying -----------------------------------------------------------------------------------------------

    def obey(self, orders: list[PoolOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name, shared):
                    assert name not in self.known
                    self.known[name] = Known(shared, self.slots if shared else 1)
                case LoadInto(name, origin, class_refs):
                    self.load_into(self.known[name], origin, class_refs)
                case GrantTo(lease_name, saga_id, step_class):
                    self.grant(lease_name, saga_id, step_class)
                case CloseSlot(lease_name):
                    process = self.known[process_of(lease_name)]
                    assert process.shared
                    process.closed.add(lease_name)
                case Retire(name):
                    assert not self.known[name].leases, "something may run there"
                    self.known[name].stage = "ending"

    def load_into(self, process: Known, origin: Origin, class_refs: tuple[str, ...]) -> None:
        assert process.stage == "ready"
        assert process.shared or not process.leases
        assert process.origin in (None, origin)
        assert not process.loaded.intersection(class_refs), "nothing is loaded twice"
        process.stage, process.origin, process.loads = "loading", origin, class_refs

    def grant(self, lease_name: str, saga_id: str, step_class: str | None) -> None:
        process, request = self.known[process_of(lease_name)], self.wants.pop(saga_id)
        assert process.stage == "ready"
        assert process.shared == request.shared
        assert process.origin == request.origin
        assert process.loaded >= set(request.class_refs)
        assert lease_name not in process.leases, "granted twice"
        assert lease_name not in process.closed, "granted after it was closed"
        assert len(process.leases) < process.slots
        assert saga_id not in self.leases().values(), "two slots for one saga"
        assert not (request.fresh and process.grants)
        assert step_class == (None if request.throttle is None else request.throttle.step_class)
        process.leases[lease_name], process.classes[lease_name] = saga_id, step_class
        process.grants += 1

    def plan(self) -> None:
        self.now += 1.0
        self.obey(self.pool.plan(self.now))

    def changed(self) -> None:
        if self.eager:
            self.plan()

    def names(self, stage: str, *, shared: bool | None = None) -> list[str]:
        return [n for n, each in self.known.items() if each.stage == stage and shared in (None, each.shared)]

    def leases(self) -> dict[str, str]:
        held = (item for process in self.known.values() for item in process.leases.items())
        return {lease_name: saga_id for lease_name, saga_id in held if saga_id is not None}

    def closing(self) -> list[str]:
        return [name for process in self.known.values() for name, saga_id in process.leases.items() if saga_id is None]

    # --- what may happen ---------------------------------------------------------------------------------------

    @rule(saga=SAGAS, request=REQUESTS)
    def ask(self, saga: int, request: LeaseRequest) -> None:
        saga_id = f"s{saga}"
        if self.pool.processes.leased_to(saga_id) == []:
            known = self.wants.get(saga_id, request)
            self.wants[saga_id] = replace(request, origin=known.origin)
            self.pool.ask(saga_id, CLIENTS[known.origin], self.wants[saga_id])
            self.changed()

    @rule(saga=SAGAS)
    def withdraw(self, saga: int) -> None:
        self.pool.withdraw(f"s{saga}")
        self.wants.pop(f"s{saga}", None)
        self.changed()

    @rule()
    def plans(self) -> None:
        self.plan()

    def finish_loading(self, name: str) -> None:
        process = self.known[name]
        process.stage = "ready"
        process.loaded.update(process.loads)
        self.pool.loaded(name, process.loads, self.now)

    @precondition(lambda self: self.names("starting"))
    @rule(data=st.data())
    def ready(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.names("starting")))
        self.known[name].stage = "ready"
        self.pool.ready(name, self.now)
        self.changed()

    @precondition(lambda self: self.names("loading"))
    @rule(data=st.data(), well=st.booleans())
    def load(self, data: st.DataObject, well: bool) -> None:
        name = data.draw(st.sampled_from(self.names("loading")))
        process = self.known[name]
        if well:
            self.finish_loading(name)
        else:
            process.stage = "failed"
            told, orders = self.pool.not_loaded(name)
            fits = {
                s for s, each in self.wants.items() if (each.shared, each.origin) == (process.shared, process.origin)
            }
            fits = {s for s in fits if set(process.loads) <= set(self.wants[s].class_refs)}
            assert set(told) == fits if process.shared else len(told) <= 1
            for saga_id in told:
                self.wants.pop(saga_id)
            self.obey(orders)
            assert process.leases or process.stage == "ending"
        self.changed()

    @precondition(lambda self: self.leases())
    @rule(data=st.data(), reusable=st.booleans())
    def give_back(self, data: st.DataObject, reusable: bool) -> None:
        lease_name, saga_id = data.draw(st.sampled_from(sorted(self.leases().items())))
        self.take(lease_name, keep=self.known[process_of(lease_name)].shared and not reusable)
        self.obey(self.pool.returned(lease_name, saga_id, self.now, reusable=reusable))
        self.changed()

    def take(self, lease_name: str, *, keep: bool) -> None:
        process = self.known[process_of(lease_name)]
        process.classes[lease_name] = None
        if keep:
            process.leases[lease_name] = None
        else:
            del process.leases[lease_name]

    @precondition(lambda self: any(process_of(name) != name for name in (*self.leases(), *self.closing())))
    @rule(data=st.data())
    def call_ends(self, data: st.DataObject) -> None:
        in_workers = [name for name in (*self.leases(), *self.closing()) if process_of(name) != name]
        lease_name = data.draw(st.sampled_from(sorted(in_workers)))
        saga_id = self.leases().get(lease_name)
        assert self.pool.processes.has_slot(lease_name)
        self.take(lease_name, keep=False)
        self.known[process_of(lease_name)].closed.add(lease_name)
        whose, orders = self.pool.closed(lease_name, self.now)
        assert whose == saga_id
        assert self.pool.closed(lease_name, self.now) == (None, []), "said twice, it is heard once"
        self.obey(orders)
        self.changed()

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.known)))
        process = self.known.pop(name)
        holders = {lease_name: saga_id for lease_name, saga_id in process.leases.items() if saga_id is not None}
        assert self.pool.dead(name) == holders
        self.changed()

    @precondition(lambda self: self.pool.unready(self.now))
    @rule()
    def make_ready(self) -> None:
        orders = self.pool.make_ready(self.now)
        assert orders
        self.obey(orders)
        owned = [each for each in self.known.values() if not each.shared]
        left = LIMITS[False] - sum(bool(each.leases) or each.stage in ("starting", "loading") for each in owned)
        assert left > 0, "one place is left"
        self.changed()

    @rule(idle_s=st.sampled_from([0.0, 3.0, 1000.0]))
    def idle(self, idle_s: float) -> None:
        self.obey(self.pool.retire_idle(self.now, idle_s))
        self.obey(self.pool.retire_client("nobody"))
        self.changed()

    # --- what always holds -------------------------------------------------------------------------------------

    @invariant()
    def no_kind_has_more_than_its_limit(self) -> None:
        for shared, limit in LIMITS.items():
            assert sum(each.shared == shared for each in self.known.values()) <= limit

    @invariant()
    def both_agree_who_holds_what(self) -> None:
        assert sorted(self.pool.processes.leased()) == sorted(self.leases())
        for lease_name, saga_id in self.leases().items():
            assert self.pool.processes.saga_of(lease_name) == saga_id
            assert self.pool.processes.leased_to(saga_id) == [lease_name]

    @invariant()
    def no_class_runs_more_often_than_it_may(self) -> None:
        for throttle in THROTTLES:
            running = [c for process in self.known.values() for c in process.classes.values()]
            assert throttle.max_concurrent is None or running.count(throttle.step_class) <= throttle.max_concurrent

    def teardown(self) -> None:
        """Whatever has happened, everybody is served once processes start, load and are given back."""
        for _ in range(200):
            if not self.wants:
                return
            for name in self.names("ending"):
                del self.known[name]
                self.pool.dead(name)
            for name in self.names("starting"):
                self.known[name].stage = "ready"
                self.pool.ready(name, self.now)
            for name in self.names("loading"):
                self.finish_loading(name)
            for lease_name, saga_id in self.leases().items():
                self.take(lease_name, keep=False)
                self.obey(self.pool.returned(lease_name, saga_id, self.now, reusable=True))
            for lease_name in self.closing():
                self.take(lease_name, keep=False)
                self.obey(self.pool.closed(lease_name, self.now)[1])
            self.plan()
        raise AssertionError(f"{sorted(self.wants)} are never served")


TestPoolAgainstAModel = PoolMachine.TestCase
TestPoolAgainstAModel.settings = settings(max_examples=2 * settings().max_examples)  # two kinds of process in one model
