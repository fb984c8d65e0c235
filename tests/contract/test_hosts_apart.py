"""Hosts whose networks fail at random: no two of them work on one saga at once, and in the end each saga has its host.

All hosts are on one machine, so one clock orders what they do and an overlap is seen exactly. By default it runs for
some seconds; ``ANTISTROPHE_APART_S=600 pytest --log-cli-level=info`` with this file takes ten minutes.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import random
import threading
from collections import defaultdict
from dataclasses import dataclass

import pytest

from antistrophe.hosts.holder import LeaseHolder
from antistrophe.hosts.keeper import POLL_S, HostKeeper
from antistrophe.hosts.keeper_messages import AllDead, Claimed, Fence, Order, Registered, Report, SetLoad
from antistrophe.hosts.lease import RENEW_EVERY, LeasePhase
from antistrophe.linux.dead_man import boot_time
from antistrophe.storage.postgres import open_postgres
from tests.contract.hosts_kit import add_sagas, terms
from tests.postgres_cluster import PostgresCluster
from tests.tcp_proxy import TcpProxy
from tests.waiting import until

HOSTS, SAGAS = 3, 30
LEASE_S = 2.0
APART_S = float(os.environ.get("ANTISTROPHE_APART_S", "4"))
LOOK_S = 0.01


@dataclass(frozen=True)
class Work:
    """From when to when a host has worked on a saga, under which token."""

    saga: str
    host: str
    token: int
    began: float
    ended: float


class Timer:
    """Stands for the kernel's timer: whatever the thread does late, at this moment it would be dead."""

    def __init__(self) -> None:
        self.until = float("inf")

    def arm(self, until: float) -> None:
        self.until = until

    def disarm(self) -> None:
        self.until = float("inf")


class Host:
    """A keeper in one thread, and in another one a supervisor that works on what was claimed until it is fenced."""

    def __init__(self, name: str, url: str) -> None:
        self.done: list[Work] = []
        self.works: dict[str, tuple[int, float]] = {}
        self.registrations = 0
        self._name = name
        self._url = url
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        self._orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self._stops = threading.Event()
        self._timer = Timer()
        self._holder = LeaseHolder(self._timer)
        self._told = 0
        self._threads = [threading.Thread(target=self._keep), threading.Thread(target=self._supervise)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stops.set()
        for thread in self._threads:
            thread.join(30)
        self._end_all(boot_time())

    def _keep(self) -> None:
        keeper = HostKeeper(
            terms(self._name, lease_s=LEASE_S),
            lambda: open_postgres(self._url, patience_s=RENEW_EVERY * LEASE_S),
            self._reports.put,
        )
        with contextlib.closing(keeper):
            while not self._stops.is_set():
                due = keeper.turn()
                with contextlib.suppress(queue.Empty):
                    keeper.obey(self._orders.get(timeout=min(POLL_S, max(0.001, due - boot_time()))))

    def _supervise(self) -> None:
        while not self._stops.is_set():
            report = None
            with contextlib.suppress(queue.Empty):
                report = self._reports.get(timeout=LOOK_S)
            now = boot_time()
            if report is not None:
                self._hear(report, now)
            if self._holder.host is not None and self._holder.phase(now) in (LeasePhase.FENCED, LeasePhase.KILLING):
                self._end_all(now)
                self._holder.all_dead(boot_time())
                for order in (Fence(), AllDead()):
                    self._orders.put(order)

    def _hear(self, report: Report, now: float) -> None:
        self._holder.hear(report, now)
        if isinstance(report, Registered):
            self.registrations += 1
        if isinstance(report, Claimed):
            self._told += len(report.sagas)
            if report.host == self._holder.host and self._holder.phase(now) is LeasePhase.VALID:
                for each in report.sagas:
                    self.works.setdefault(each.saga_id, (each.token, now))
        self._orders.put(SetLoad(len(self.works), SAGAS // 2 - len(self.works), self._told))

    def _end_all(self, now: float) -> None:
        """The work ends now, or has ended when the kernel ended it."""
        ended = min(now, self._timer.until)
        self.done += [
            Work(saga, self._name, token, min(began, ended), ended) for saga, (token, began) in self.works.items()
        ]
        self.works = {}


def overlaps(works: list[Work]) -> list[tuple[Work, Work]]:
    """Each two works of one saga that were at the same time, on different hosts."""
    of_saga = defaultdict(list)
    for work in works:
        of_saga[work.saga].append(work)
    found = []
    for each in of_saga.values():
        each.sort(key=lambda work: work.began)
        found += [(one, two) for one, two in itertools.pairwise(each) if two.began < one.ended]
    return found


def test_an_overlap_is_found() -> None:
    one, two, three = Work("s", "a", 1, 0.0, 2.0), Work("s", "b", 2, 1.9, 3.0), Work("s", "a", 3, 3.0, 4.0)
    assert overlaps([three, two, one]) == [(one, two)]


@pytest.mark.timeout(APART_S + 120)  # it goes on for as long as it was asked to
def test_no_two_hosts_work_on_one_saga_whatever_their_networks_do(
    postgres_cluster: PostgresCluster, run_seed: int
) -> None:
    draw = random.Random(run_seed)
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres_cluster.database())
        database = stack.enter_context(contextlib.closing(open_postgres(url)))
        add_sagas(database, None, *((f"s-{n}", "executing") for n in range(SAGAS)))
        proxies = [stack.enter_context(TcpProxy(url)) for _ in range(HOSTS)]
        hosts = [Host(f"h-{n}", proxy.url) for n, proxy in enumerate(proxies)]
        for host in hosts:
            host.start()
            stack.callback(host.stop)
        _make_trouble(draw, hosts, proxies)
        for proxy in proxies:
            proxy.come_back(lose_held=True)
        until(lambda: sum(len(host.works) for host in hosts) == SAGAS, "each saga is worked on", within_s=60)
        for host in hosts:
            host.stop()
        works = [work for host in hosts for work in host.done]
        assert overlaps(works) == []
        assert {work.saga for work in works} == {f"s-{n}" for n in range(SAGAS)}
        taken_over = sum(work.token > 2 for work in works)
        registrations = sum(host.registrations for host in hosts)
        logging.getLogger(__name__).info("%d take-overs, %d registrations", taken_over, registrations)
        assert taken_over, "nothing was taken over: the troubles were none"


def _make_trouble(draw: random.Random, hosts: list[Host], proxies: list[TcpProxy]) -> None:
    """First one host is cut off for longer than its lease, then anything happens."""
    end = boot_time() + APART_S
    until(lambda: sum(len(host.works) for host in hosts) == SAGAS, "the hosts have begun", within_s=60)
    busiest = max(range(HOSTS), key=lambda n: len(hosts[n].works))
    proxies[busiest].hold()
    _let_pass(min(1.6 * LEASE_S, APART_S))
    while boot_time() < end:
        proxy = draw.choice(proxies)
        match draw.randrange(5):
            case 0:
                proxy.cut()
            case 1:
                proxy.hold()
            case 2:
                proxy.delay(draw.choice([0.05, 0.3, 1.0]))
            case _:
                proxy.come_back(lose_held=draw.random() < 0.5)
        _let_pass(draw.expovariate(3.0))


def _let_pass(seconds: float) -> None:
    passed = boot_time() + seconds
    until(lambda: boot_time() > passed, "time passes", within_s=seconds + 60)
