"""Permits of several hosts, in worlds whose messages are lost, late and out of order, and whose hosts die.

The database is a model with the rule that matters and no other: of what it counts as held there is never more than the
limit. That the real one keeps it, and is fair, is shown by tests/contract/test_stored_permits.py.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.definition.spec import LeaseRequest, Origin, Throttle
from antistrophe.scheduling.admission import Admission, AdmissionRank
from antistrophe.scheduling.leases import GrantTo, LoadInto, StartProcess
from antistrophe.scheduling.permits import ASK_EVERY_S, KEPT_S, Demand, PermitAnswer, PermitNeed, Permits
from antistrophe.scheduling.process_pool import ProcessPool

MOST = 3
KEY = "step:m:Pay"


class Database:
    """Who holds how many. A host of the dead is not counted."""

    def __init__(self) -> None:
        self.held: dict[int, int] = {}
        self.serials: dict[int, int] = {}
        self.waits: set[int] = set()
        self.asked = 0

    def settle(self, host: int, serial: int, need: PermitNeed) -> PermitAnswer | None:
        self.asked += 1
        if self.serials.get(host, 0) >= serial:
            return None
        self.serials[host] = serial
        room = MOST - need.keep - sum(held for each, held in self.held.items() if each != host)
        got = max(min(need.want, room), 0)
        (self.waits.add if got < need.want else self.waits.discard)(host)
        self.held[host] = need.keep + got
        return PermitAnswer(need.key, need.keep + got, min(len(self.waits - {host}), need.keep + got))

    def host_is_dead(self, host: int) -> None:
        self.held.pop(host, None)
        self.waits.discard(host)


@dataclass
class Host:
    """Begins what may begin, and settles as a supervisor does: one question at a time, asked anew after a second."""

    number: int
    waiting: int = 0
    running: int = 0
    asked: tuple[int, list[PermitNeed]] | None = None
    asked_at: float = 0.0
    soon: int = 0
    permits: Permits = field(init=False)

    def __post_init__(self) -> None:
        self.permits = Permits(self._settle_soon)

    def _settle_soon(self) -> None:
        self.soon += 1

    def begin(self) -> None:
        while self.waiting and self.running < MOST and self.permits.allows(KEY):
            self.waiting -= 1
            self.running += 1
            self.permits.used(KEY, self.running)

    def end(self) -> None:
        if self.running:
            self.running -= 1
            self.permits.used(KEY, self.running)

    def ask(self, now: float, serial: int) -> tuple[int, list[PermitNeed]] | None:
        if (self.asked is not None and now < self.asked_at + 1.0) or not self.permits.due(now):
            return None
        demands = [Demand(KEY, self.waiting, max(self.running, 1), MOST)] if self.waiting else []
        needs = self.permits.settle(demands, now)
        self.asked, self.asked_at = ((serial, needs), now) if needs else (None, now)
        return self.asked

    def hear(self, serial: int, answers: list[PermitAnswer], now: float) -> None:
        if self.asked is not None and self.asked[0] == serial:
            needs, self.asked = self.asked[1], None
            self.permits.settled(answers, needs, now)


class World:
    """Hosts, the database, and the messages between them, which a seed delays, doubles and loses."""

    def __init__(self, seed: int, hosts: int, *, loses: float) -> None:
        self.rng, self.now, self.serial, self.loses = random.Random(seed), 0.0, 0, loses
        self.database = Database()
        self.hosts = [Host(number) for number in range(hosts)]
        self.numbers = hosts
        self.on_the_way: list[tuple[float, str, Host, int, object]] = []
        self.most_running = self.done = 0

    def step(self, *, dies: float = 0.0) -> None:
        self.now += 0.05
        due = [each for each in self.on_the_way if each[0] <= self.now]
        self.on_the_way = [each for each in self.on_the_way if each[0] > self.now]
        for _, what, host, serial, content in due:
            if what == "question":
                answers = [self.database.settle(host.number, serial, need) for need in content]  # type: ignore[attr-defined]
                self._send("answer", host, serial, [each for each in answers if each is not None])
            else:
                host.hear(serial, content, self.now)  # type: ignore[arg-type]
        for host in self.hosts:
            if self.rng.random() < 0.4:
                self.done += host.running > 0
                host.end()
            host.begin()
            self.serial += 1
            if (asked := host.ask(self.now, self.serial)) is not None:
                self._send("question", host, *asked)
        if self.rng.random() < dies:
            self._die(self.rng.choice(self.hosts))
        running = sum(host.running for host in self.hosts)
        self.most_running = max(self.most_running, running)
        assert running <= MOST
        assert sum(self.database.held.values()) <= MOST

    def _send(self, what: str, host: Host, serial: int, content: object) -> None:
        for _ in range(self.rng.choice((1, 1, 2)) if self.loses else 1):
            if self.rng.random() >= self.loses:
                delay_s = self.rng.choice((0.0, 0.0, 0.1, 2.0)) if self.loses else 0.01
                self.on_the_way.append((self.now + delay_s, what, host, serial, content))

    def _die(self, host: Host) -> None:
        """Its attempts are dead, and then its lease is over. It comes back with another one."""
        self.hosts.remove(host)
        self.on_the_way = [each for each in self.on_the_way if each[1] == "question" or each[2] is not host]
        self.database.host_is_dead(host.number)
        self.database.serials[host.number] = 1 << 60  # what is still on its way is refused: the lease has ended
        self.numbers += 1
        self.hosts.append(Host(self.numbers, waiting=host.waiting))


@given(seed=st.integers(0, 1 << 32), hosts=st.integers(1, 4), loses=st.sampled_from([0.0, 0.2]))
def test_never_more_than_the_limit_run_whatever_is_lost_late_or_dies(seed: int, hosts: int, loses: float) -> None:
    world = World(seed, hosts, loses=loses)
    for _ in range(150):
        if world.rng.random() < 0.2:
            world.rng.choice(world.hosts).waiting += world.rng.randint(1, 4)
        world.step(dies=0.02)


def test_all_that_waits_comes_to_its_end_and_then_nothing_is_held_or_asked() -> None:
    world = World(7, 3, loses=0.1)
    for host in world.hosts:
        host.waiting = 20
    while any(host.waiting or host.running for host in world.hosts):
        world.step()
        assert world.now < 300.0
    assert world.most_running > 1
    for _ in range(round(12.0 / 0.05)):
        world.step()
    assert [*world.database.held.values()] == [0, 0, 0]
    assert not any(host.permits.due(world.now + 10.0) for host in world.hosts), "an idle host asks for nothing"


def test_a_busy_host_that_is_alone_asks_at_its_pace_and_not_for_each_attempt() -> None:
    world = World(1, 1, loses=0.0)
    (host,) = world.hosts
    host.waiting = 200
    while host.waiting:
        world.step()
    assert world.database.asked <= world.now / ASK_EVERY_S + 5


def settled(
    permits: Permits, answer: PermitAnswer, now: float, waiting: int = 1, per_second: float | None = None
) -> None:
    demand = Demand(answer.key, waiting, waiting, 2, per_second)
    permits.settled([answer], permits.settle([demand], now), now)


def test_what_is_wanted_back_begins_nothing_more_and_is_given_back_as_it_comes_free() -> None:
    soon: list[int] = []
    permits = Permits(lambda: soon.append(1))
    assert not permits.allows(KEY)
    settled(permits, PermitAnswer(KEY, 2), 0.0, waiting=2)
    permits.used(KEY, 1)
    permits.used(KEY, 2)
    settled(permits, PermitAnswer(KEY, 2, gives_back=1), 0.3)
    assert permits.allowed(KEY) == 1
    soon.clear()
    permits.used(KEY, 1)
    assert soon == [1], "at once, for others wait"
    assert permits.due(0.3)
    (need,) = permits.settle([], 0.4)
    assert need.keep == 1


def test_a_permit_that_has_come_is_used_before_it_is_given_back_unless_it_lies_idle() -> None:
    permits = Permits(lambda: None)
    permits.allows(KEY)
    settled(permits, PermitAnswer(KEY, 1, gives_back=1), 0.0)
    assert permits.allowed(KEY) == 1
    settled(permits, PermitAnswer(KEY, 1, gives_back=1), 0.2)
    assert permits.allowed(KEY) == 1
    settled(permits, PermitAnswer(KEY, 1, gives_back=1), KEPT_S + 0.2)
    assert permits.allowed(KEY) == 0


def test_permits_that_nobody_uses_are_given_back_after_a_moment() -> None:
    permits = Permits(lambda: None)
    permits.allows(KEY)
    settled(permits, PermitAnswer(KEY, 2), 0.0)
    permits.used(KEY, 1)
    permits.used(KEY, 0)
    kept = []
    for now in (0.5, 1.1, 2.2):
        (need,) = permits.settle([], now)
        kept.append(need.keep)
        permits.settled([PermitAnswer(KEY, need.keep)], [need], now)
    assert kept == [2, 2, 0]
    assert permits.settle([], 2.5) == []


def test_another_lease_begins_with_nothing() -> None:
    permits = Permits(lambda: None)
    permits.allows(KEY)
    settled(permits, PermitAnswer(KEY, 2), 0.0)
    permits.clear()
    assert permits.changed == {KEY}
    assert not permits.allows(KEY)


def test_a_start_is_used_once_from_its_moment_on_and_is_lost_when_it_is_late() -> None:
    permits = Permits(lambda: None)
    assert permits.start_of(KEY, 0.0) is None
    settled(permits, PermitAnswer(KEY, 0, starts=3, first_s=0.2, apart_s=0.1), 0.0, per_second=10.0)
    assert permits.start_of(KEY, 0.0) == pytest.approx(0.2)
    permits.started(KEY)
    assert permits.next_start(KEY) == pytest.approx(0.3)
    assert permits.start_of(KEY, 0.85) == pytest.approx(0.4), "half a second late is too late"
    assert permits.start_of(KEY, 0.95) is None


def test_a_slow_rate_gives_its_start_as_long_as_its_pause_is() -> None:
    permits = Permits(lambda: None)
    permits.start_of(KEY, 0.0)
    settled(permits, PermitAnswer(KEY, 0, starts=1, apart_s=60.0), 0.0, per_second=1 / 60)
    assert permits.start_of(KEY, 59.0) == 0.0
    assert permits.start_of(KEY, 61.0) is None


def test_who_waits_goes_on_saying_so_or_its_turn_would_be_forgotten() -> None:
    permits = Permits(lambda: None)
    permits.allows(KEY)
    for now in (0.0, 0.3, 0.6):
        (need,) = permits.settle([Demand(KEY, 3, 1, 2)], now)
        assert (need.keep, need.want) == (0, 1)
        permits.settled([PermitAnswer(KEY, 0)], [need], now)
    assert not permits.due(0.6 + ASK_EVERY_S / 2), "not in a loop"
    (need,) = permits.settle([], 0.9)
    assert need.want == 0, "nobody waits any more, and others are told so"
    permits.settled([PermitAnswer(KEY, 0)], [need], 0.9)
    assert permits.settle([], 1.2) == []


def test_a_saga_whose_name_has_a_limit_runs_when_its_host_holds_a_permit() -> None:
    admission, permits, rank = Admission(10), Permits(lambda: None), AdmissionRank("import", 2)
    admission.share(permits)
    assert admission.full(rank) == "its turn: max_concurrent lets 2 of those called 'import' run at the same time"
    for saga_id in ("a", "b", "c"):
        admission.enqueue(saga_id, rank, urgent=False)
    admission.enqueue("free", AdmissionRank("free"), urgent=False)
    assert admission.due() == ["free"]

    def settle(now: float, gives_back: int = 0) -> list[PermitNeed]:
        needs = permits.settle(admission.demands(), now)
        permits.settled([PermitAnswer(each.key, each.keep + each.want, gives_back) for each in needs], needs, now)
        for key in permits.changed:
            admission.permitted_anew(key)
        return needs

    assert [(need.want, need.most) for need in settle(0.0)] == [(2, 2)]
    assert admission.due() == ["a", "b"]
    settle(0.3, gives_back=1)
    admission.left("a")
    assert admission.due() == [], "another host wants that permit"
    assert [need.keep for need in settle(0.6, gives_back=1)] == [1]
    admission.wait_again("b", rank, urgent=False)
    permits.clear()
    admission.permitted_anew("name:import")
    assert admission.due() == [], "under another lease it holds none"
    admission.withdraw("b")
    admission.withdraw("c")
    assert [*admission.demands()] == []


def test_an_attempt_of_a_class_with_limits_is_granted_when_its_host_holds_a_permit_and_a_start() -> None:
    pool, permits = ProcessPool(4, "p"), Permits(lambda: None)
    pool.throttles.permits = permits
    request = LeaseRequest(Origin(None, (), "/"), ("m:Pay",), throttle=Throttle("m:Pay", 2, 4.0))
    for saga_id in ("a", "b", "c"):
        pool.ask(saga_id, "client", request)

    def granted(now: float) -> list[str]:
        found = []
        while orders := pool.plan(now):
            for order in orders:
                match order:
                    case StartProcess(name):
                        pool.ready(name, now)
                    case LoadInto(name, _, class_refs):
                        pool.loaded(name, class_refs, now)
                    case GrantTo(lease_name):
                        found.append(lease_name)
        return found

    def settle(now: float, starts: int) -> None:
        needs = permits.settle(pool.throttles.demands(), now)
        answers = [PermitAnswer(KEY, each.keep + each.want, 0, starts, 0.0, 0.25) for each in needs]
        permits.settled(answers, needs, now)

    assert granted(0.0) == []
    settle(0.0, starts=0)
    assert granted(0.1) == [], "a permit is no start"
    settle(0.2, starts=2)
    (first,) = granted(0.2)
    assert pool.next_start() is None, "it holds one permit, which is in use"
    settle(0.45, starts=0)
    assert len(granted(0.45)) == 1
    pool.returned(first, "a", 0.5, reusable=True)
    assert granted(0.5) == [], "no start is left"
    settle(0.7, starts=1)
    assert pool.next_start() == pytest.approx(0.7)
    assert granted(0.7) == [first]


def test_of_two_definitions_the_smaller_counts() -> None:
    one, other = Demand(KEY, 1, 1, 5, None), Demand(KEY, 2, 4, 2, 3.0)
    assert one.with_other(other) == Demand(KEY, 3, 4, 2, 3.0)
    assert other.with_other(Demand(KEY, 1, 1, None, 1.0)) == Demand(KEY, 3, 4, 2, 1.0)
