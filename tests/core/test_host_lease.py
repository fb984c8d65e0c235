"""Two hosts, one lease: no attempt of the holder is alive when a taker takes, and what is dead is taken soon."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.hosts.lease import HostLease, LapsedLease, LeasePhase, LeaseWatch, SeenLease
from tests.noticing import noticed

LEASE_S = 10.0
TICK_S = 0.1
POLL_S = 0.5
VALID, FENCED, KILLING, OVER = LeasePhase


# --- the holder's rules -------------------------------------------------------------------------------------------


def test_a_lease_counts_from_when_the_confirmed_renewal_was_sent() -> None:
    lease = HostLease(LEASE_S, sent_at=100.0)
    lease.sent(102.0)
    assert lease.confirm(102.0, now=105.0)
    assert [lease.fenced_from, lease.switch_at, lease.dead_by, lease.ends_at] == [108.0, 110.5, 111.0, 112.0]
    assert lease.phase(107.9) is VALID
    assert lease.phase(108.0) is FENCED


def test_renewals_are_due_every_fifth_of_the_lease_whatever_is_answered() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert lease.next_renewal == 2.0
    lease.sent(3.0)
    assert lease.next_renewal == 5.0
    lease.sent(1.0)
    assert lease.next_renewal == 5.0


def test_confirmations_that_come_late_twice_or_out_of_order_change_nothing() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert lease.confirm(4.0, now=5.0)
    assert not lease.confirm(4.0, now=5.0)
    assert not lease.confirm(2.0, now=5.5)
    assert lease.ends_at == 14.0
    assert not lease.confirm(0.0, now=9.0)
    with pytest.raises(ValueError, match="can't be confirmed before"):
        lease.confirm(6.0, now=5.9)


def test_a_confirmation_that_is_too_old_when_it_comes_fences() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert not lease.confirm(1.0, now=7.5)
    assert lease.phase(7.5) is FENCED


def test_once_fenced_a_lease_stays_so_until_a_new_registration() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    with pytest.raises(ValueError, match="not fenced"):
        lease.all_dead(1.0)
    assert lease.phase(6.0) is FENCED
    assert not lease.confirm(5.9, now=6.1)
    assert lease.phase(6.2) is FENCED
    lease.all_dead(6.5)
    assert lease.phase(6.6) is OVER
    assert not lease.confirm(6.4, now=6.7)
    assert lease.phase(6.8) is OVER


@pytest.mark.parametrize(
    ("kill_grace_s", "looked_at", "killed_at"), [(0.0, 6.0, 6.0), (1.0, 6.0, 7.0), (30.0, 6.0, 7.5), (30.0, 7.2, 7.5)]
)
def test_the_grace_of_an_attempt_ends_with_its_part_of_the_lease(
    kill_grace_s: float, looked_at: float, killed_at: float
) -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert lease.phase(looked_at) is FENCED
    assert lease.kill_at(kill_grace_s) == killed_at
    assert lease.phase(7.5) is KILLING


def test_a_clock_that_has_leapt_over_the_grace_kills_at_once() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert lease.phase(4_000.0) is KILLING
    assert lease.kill_at(5.0) < 4_000.0


def test_a_refused_renewal_ends_the_attempts_at_once_and_without_grace() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    lease.refuse(2.0)
    assert lease.phase(2.0) is KILLING
    assert lease.kill_at(5.0) == 2.0
    assert not lease.confirm(1.9, now=2.1)


def test_a_lease_that_is_refused_while_attempts_have_their_grace_ends_the_grace() -> None:
    lease = HostLease(LEASE_S, sent_at=0.0)
    assert lease.phase(6.0) is FENCED
    lease.refuse(6.3)
    assert lease.phase(6.3) is KILLING


def test_a_refusal_that_leaves_the_grace_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostLease, "refuse", HostLease.fence)
    with noticed():
        test_a_refused_renewal_ends_the_attempts_at_once_and_without_grace()
    with noticed():
        test_a_lease_that_is_refused_while_attempts_have_their_grace_ends_the_grace()


def test_a_host_that_is_fenced_when_its_lease_is_over_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HostLease, "fenced_from", HostLease.ends_at)
    with noticed():
        test_once_fenced_a_lease_stays_so_until_a_new_registration()


@pytest.mark.parametrize("lease_s", [0.0, -1.0, math.inf, math.nan])
def test_a_lease_without_a_length_is_refused(lease_s: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        HostLease(lease_s, sent_at=0.0)


# --- the taker's rules --------------------------------------------------------------------------------------------

SEEN = SeenLease("a", 7, LEASE_S)


def test_a_lease_has_lapsed_when_its_counter_was_seen_for_as_long_as_it_lasts() -> None:
    watch = LeaseWatch()
    assert watch.looked([SEEN], "s", 0.0, 1.0) == []
    assert watch.looked([SEEN], "s", 10.9, 11.5) == []
    assert watch.looked([SEEN], "s", 11.0, 11.1) == [LapsedLease("a", 7, "s")]


@pytest.mark.parametrize("other", [replace(SEEN, counter=8), replace(SEEN, lease_s=9.0), replace(SEEN, host="b")])
def test_another_counter_or_length_starts_the_watch_anew(other: SeenLease) -> None:
    watch = LeaseWatch()
    watch.looked([SEEN], "s", 0.0, 0.0)
    assert watch.looked([other], "s", 10.0, 10.0) == []
    assert watch.looked([other], "s", 19.9, 19.9) == ([] if other.lease_s == LEASE_S else [LapsedLease("a", 7, "s")])
    assert watch.looked([other], "s", 20.0, 20.0) == [LapsedLease(other.host, other.counter, "s")]


def test_another_server_starts_every_watch_anew_also_when_the_first_one_is_back() -> None:
    watch = LeaseWatch()
    watch.looked([SEEN], "s", 0.0, 0.0)
    assert watch.looked([SEEN], "t", 10.0, 10.0) == []
    assert watch.looked([SEEN], "s", 19.0, 19.0) == []
    assert watch.looked([SEEN], "s", 29.0, 29.0) == [LapsedLease("a", 7, "s")]


def test_a_host_that_was_not_there_is_watched_anew() -> None:
    watch = LeaseWatch()
    watch.looked([SEEN], "s", 0.0, 0.0)
    watch.looked([], "s", 5.0, 5.0)
    assert watch.looked([SEEN], "s", 10.0, 10.0) == []
    with pytest.raises(ValueError, match="before its question"):
        watch.looked([], "s", 31.0, 30.0)


def test_a_watcher_that_slept_between_two_looks_has_watched_all_the_same() -> None:
    watch = LeaseWatch()
    watch.looked([SEEN], "s", 0.0, 0.0)
    assert watch.looked([SEEN], "s", 3_600.0, 3_600.0) == [LapsedLease("a", 7, "s")]


# --- a world with one true clock ----------------------------------------------------------------------------------


@dataclass
class Rules:
    """What a world may do wrong on purpose."""

    lease: type[HostLease] = HostLease
    watch: type[LeaseWatch] = LeaseWatch
    switch: bool = True


@dataclass
class World:
    """The holder, its attempt, the database and a taker. Messages take as long as they like, or are lost; both hosts
    and the database pause; the holder's renewals get nowhere for a while. Each host has a clock of its own, which
    differs from the true one by a constant."""

    draw: random.Random
    rules: Rules
    calm: bool = False
    now: float = 0.0
    counter: int = 1
    server: int = 0
    taken_at: float | None = None
    running: bool = True
    died_at: float | None = None
    on_the_way: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    holder_sleeps_until: float = 0.0
    taker_sleeps_until: float = 0.0
    away_until: float = 0.0
    cut_until: float = 0.0
    next_poll: float = 0.0
    asking: bool = False

    def __post_init__(self) -> None:
        self.holder_clock, self.taker_clock = self.draw.uniform(0, 1e6), self.draw.uniform(0, 1e6)
        self.lease = self.rules.lease(LEASE_S, self.holder_clock)
        self.watch = self.rules.watch()
        self.kill_grace_s = self.draw.choice([0.0, 1.0, 30.0])
        kinds = ("holder_sleeps_until", "taker_sleeps_until", "away_until", "cut_until", "server", "loss")
        self.trouble = {kind: 0.0 if self.calm else self.draw.choice([0.0, 0.003, 0.02]) for kind in kinds}
        ways = ("renewal", "confirmation", "question", "claim")
        self.delay_s = {way: 0.05 if self.calm else self.draw.choice([0.05, 0.5, 2.5]) for way in ways}

    def run(self, until_s: float) -> None:
        while self.now < until_s and self.taken_at is None:
            self.now += TICK_S
            self._have_trouble()
            due = [each for each in self.on_the_way if each[0] <= self.now]
            self.on_the_way = [each for each in self.on_the_way if each[0] > self.now]
            for _, arrives in sorted(due, key=lambda each: each[0]):
                arrives()
            self._kernel()
            if self.running and self.now >= self.holder_sleeps_until:
                self._hold()
            if self.now >= self.taker_sleeps_until and self.now >= self.next_poll and not self.asking:
                self._poll()

    # The attempt is alive for as long as the holder is ``running``; ``die`` is the holder with all that it started.
    def die(self) -> None:
        if self.running:
            self.running, self.died_at = False, self.now

    def _have_trouble(self) -> None:
        for what in ("holder_sleeps_until", "taker_sleeps_until", "away_until", "cut_until"):
            if self.draw.random() < self.trouble[what]:
                setattr(self, what, self.now + self.draw.expovariate(1 / 6))
        if self.draw.random() < self.trouble["server"] / 4:
            self.server += 1
            self.on_the_way.clear()
            self.asking = False

    def _send(self, way: str, arrives: Callable[[], None], *, cut: bool = False) -> None:
        mean_s = self.delay_s[way]
        # Where all is calm none is very late: of many that are drawn without a bound, some day one would be.
        delay = self.draw.uniform(0.0, 2 * mean_s) if self.calm else self.draw.expovariate(1 / mean_s)
        if not cut and self.draw.random() >= self.trouble["loss"] * 4:
            self.on_the_way.append((max(self.now + delay, self.away_until), arrives))

    def _kernel(self) -> None:
        if self.rules.switch and self.now + self.holder_clock >= self.lease.switch_at:
            self.die()

    def _hold(self) -> None:
        now = self.now + self.holder_clock
        phase = self.lease.phase(now)
        if phase is not VALID and now >= self.lease.kill_at(self.kill_grace_s):
            self.die()
        elif now >= self.lease.next_renewal:
            self.lease.sent(now)
            self._send("renewal", lambda: self._renew(now), cut=self.now < self.cut_until)

    def _renew(self, sent_at: float) -> None:
        self.counter += 1
        self._send("confirmation", lambda: self._confirmed(sent_at))

    def _confirmed(self, sent_at: float) -> None:
        if self.now < self.holder_sleeps_until:
            self.on_the_way.append((self.holder_sleeps_until, lambda: self._confirmed(sent_at)))
        elif self.running:
            self.lease.confirm(sent_at, self.now + self.holder_clock)

    def _poll(self) -> None:
        asked_at, self.asking, self.next_poll = self.now + self.taker_clock, True, self.now + POLL_S
        give_up = self.now + 5.0

        def read() -> None:
            seen, server = SeenLease("a", self.counter, LEASE_S), str(self.server)
            self._send("question", lambda: self._look(seen, server, asked_at))

        self._send("question", read)
        self.on_the_way.append((give_up, lambda: setattr(self, "asking", False)))

    def _look(self, seen: SeenLease, server: str, asked_at: float) -> None:
        if self.now < self.taker_sleeps_until:
            self.on_the_way.append((self.taker_sleeps_until, lambda: self._look(seen, server, asked_at)))
            return
        self.asking = False
        for lapsed in self.watch.looked([seen], server, asked_at, self.now + self.taker_clock):
            self._send("claim", lambda lapsed=lapsed: self._take(lapsed))  # type: ignore[misc]

    def _take(self, lapsed: LapsedLease) -> None:
        same = lapsed.counter == self.counter and lapsed.server == str(self.server)
        if self.taken_at is None and same:
            self.taken_at = self.now
            assert not self.running, "a taker has taken what an attempt of the holder still works on"


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100)
def test_no_attempt_of_the_holder_is_alive_when_a_taker_takes(seed: int) -> None:
    World(random.Random(seed), Rules()).run(200.0)


@given(seed=st.integers(0, 2**32), dies_at=st.floats(1.0, 30.0))
@settings(max_examples=50)
def test_where_all_is_calm_only_a_dead_holder_is_taken_and_after_one_lease_and_a_poll(
    seed: int, dies_at: float
) -> None:
    world = World(random.Random(seed), Rules(), calm=True)
    world.run(dies_at)
    assert world.taken_at is None
    world.die()
    world.run(dies_at + 100.0)
    assert world.taken_at is not None
    assert (
        world.taken_at <= dies_at + LEASE_S + 2 * POLL_S + 1.0
    )  # a look is late by a poll, first and last; messages and ticks


class CountsFromTheAnswer(HostLease):
    def confirm(self, sent_at: float, now: float) -> bool:
        return super().confirm(now, now)


class IsFencedTooLate(HostLease):
    @property
    def switch_at(self) -> float:
        return super().ends_at + 0.25 * self.lease_s

    @property
    def fenced_from(self) -> float:
        return super().ends_at + 0.2 * self.lease_s


class CountsFromItsQuestion(LeaseWatch):
    def looked(self, leases, server, asked_at, answered_at):  # type: ignore[no-untyped-def]
        return super().looked(leases, server, asked_at, asked_at)


class ForgetsTheCounter(LeaseWatch):
    def looked(self, leases, server, asked_at, answered_at):  # type: ignore[no-untyped-def]
        seen = list(leases)
        same = [replace(each, counter=0) for each in seen]
        lapsed = super().looked(same, server, asked_at, answered_at)
        return [replace(each, counter=seen[0].counter) for each in lapsed]


class WatchesTooShort(LeaseWatch):
    def looked(self, leases, server, asked_at, answered_at):  # type: ignore[no-untyped-def]
        short = [replace(each, lease_s=0.5 * each.lease_s) for each in leases]
        return super().looked(short, server, asked_at, answered_at)


@pytest.mark.parametrize(
    "rules",
    [
        Rules(lease=CountsFromTheAnswer),
        Rules(lease=IsFencedTooLate),
        Rules(watch=CountsFromItsQuestion),
        Rules(watch=ForgetsTheCounter),
        Rules(watch=WatchesTooShort),
        Rules(switch=False),
    ],
    ids=["from the answer", "too late", "from the question", "no counter", "too short", "no switch"],
)
def test_a_world_with_one_rule_less_is_caught(rules: Rules) -> None:
    for seed in range(20_000):
        try:
            World(random.Random(seed), rules).run(200.0)
        except AssertionError:
            return
    pytest.fail("nothing noticed that the rule is missing")
