"""Three hosts on one journal, whose processes are killed and stopped and whose networks fail, while sagas run.

All hosts are on one machine, so one clock orders what their steps write, and an overlap is seen exactly. By default it
runs for some seconds; ``ANTISTROPHE_HOSTS_S=600 pytest -s`` with this file takes ten minutes.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from antistrophe import AntistropheError, SagaOrchestrator, Settings
from antistrophe.linux.termination import processes_of_home
from tests.actors.staging import Stage
from tests.chaos.starting import Starter, tally_at_the_end
from tests.killing import kill
from tests.tcp_proxy import TcpProxy
from tests.waiting import until

FOR_S = float(os.environ.get("ANTISTROPHE_HOSTS_S", "5"))
HOSTS = ("one", "two", "three")
LEASE_S = 2.0
ROLES = ("supervisor", "membership", "saga", "registry", "step")
FAULTS = ("kill", "kill role", "stop", "stop role", "cut", "hold", "delay")
BACK_S = 90.0


@dataclass
class Host:
    """One host: its home, its network to the database, and the application on it."""

    name: str
    home: Path
    network: TcpProxy
    orchestrator: SagaOrchestrator
    well_at: float = 0.0
    stopped: list[int] = field(default_factory=list)

    def signal(self, number: int, pids: list[int]) -> None:
        for pid in pids:
            kill(pid, number)

    def pids_of(self, role: str) -> list[int]:
        with contextlib.suppress(AntistropheError, TimeoutError):
            return [each.pid for each in self.orchestrator.processes() if each.role == role]
        return []

    def harm(self, fault: str, draw: random.Random, for_s: float) -> None:
        """Do it now; ``mend`` takes it back when its time is over."""
        self.well_at = time.monotonic() + for_s
        everyone = processes_of_home(self.home)
        if fault == "kill":
            self.signal(signal.SIGKILL, everyone)
        elif fault == "kill role":
            self.signal(signal.SIGKILL, self.pids_of(draw.choice(ROLES))[:1])
        elif fault in ("stop", "stop role"):
            self.stopped = everyone if fault == "stop" else self.pids_of(draw.choice(ROLES[:3]))
            self.signal(signal.SIGSTOP, self.stopped)
        elif fault == "delay":
            self.network.delay(draw.uniform(0.01, 0.3))
        else:
            self.network.cut() if fault == "cut" else self.network.hold()

    def mend(self, *, lose_held: bool = False) -> None:
        self.signal(signal.SIGCONT, self.stopped)
        self.stopped = []
        self.network.delay(0.0)
        self.network.come_back(lose_held=lose_held)
        self.well_at = 0.0


@pytest.fixture
def hosts(tmp_path: Path, postgres_store_url: str) -> Iterator[list[Host]]:
    settings = Settings(lease_s=LEASE_S, drain_s=0.2, saga_hosts=1, max_restarts=1000, restart_window_s=1.0)
    with contextlib.ExitStack() as opened:
        made = []
        for name in HOSTS:
            network = opened.enter_context(TcpProxy(postgres_store_url))
            home = tmp_path / name
            orchestrator = SagaOrchestrator(home, settings=replace(settings, host_name=name), journal=network.url)
            made.append(Host(name, home, network, opened.enter_context(orchestrator)))
            opened.callback(made[-1].mend)
        yield made


@pytest.mark.timeout(FOR_S + 200)
def test_no_two_hosts_have_an_attempt_alive_and_every_saga_ends(
    hosts: list[Host], postgres_store_url: str, tmp_path: Path, run_seed: int
) -> None:
    draw = random.Random(f"{run_seed}-hosts")
    stage = Stage(tmp_path)
    starters = [
        Starter(host.name, host.orchestrator, postgres_store_url, stage, f"{run_seed}-{host.name}") for host in hosts
    ]
    for starter in starters:
        starter.start()
    done = _harm_for(hosts, draw, FOR_S)
    for host in hosts:
        host.mend()
    until(lambda: sum(len(starter.accepted) for starter in starters) > 3, "some sagas", BACK_S)
    tally = tally_at_the_end(starters, postgres_store_url, stage, BACK_S)
    sys.stdout.write(f"{', '.join(f'{n} {fault}' for fault, n in done.items())}; {tally}\n")
    assert not tally.faults, "\n".join(tally.faults)
    assert tally.sagas > 3


def _harm_for(hosts: list[Host], draw: random.Random, for_s: float) -> dict[str, int]:
    """Harm one host after the other for so long, and never the last one that is well."""
    done = dict.fromkeys(FAULTS, 0)
    until_s = time.monotonic() + for_s
    pause = threading.Event()
    while time.monotonic() < until_s:
        now = time.monotonic()
        for host in hosts:
            if host.well_at and now >= host.well_at:
                host.mend(lose_held=draw.random() < 0.5)
        well = [host for host in hosts if not host.well_at]
        if len(well) > 1:
            fault = draw.choice(FAULTS)
            done[fault] += 1
            draw.choice(well).harm(fault, draw, draw.uniform(0.1, 1.8) * LEASE_S)
        pause.wait(draw.uniform(0.1, 1.0))
    return done
