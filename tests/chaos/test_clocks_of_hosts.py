"""Two hosts of one journal whose clocks are an hour ahead and an hour behind, and are set while they run: nothing that
they do goes by them.

What is wrong is the time of day, in every process of the host and in C code too. CLOCK_MONOTONIC and CLOCK_BOOTTIME,
by which leases go, stay true, as they do where the clock of a machine is set; nobody can set those. (libfaketime is of
no use here: it leaves the readings of these clocks alone, but sleeps and timers on them end at another moment.)
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, SagaStatus, Settings
from antistrophe.launcher.home_lock import HomeLock
from tests.actors.staging import Stage, seen, wait_for_status
from tests.killing import kill_all
from tests.waiting import until

LEASE_S = 6.0
DEADLINE_S = 5.0
"""Time for a process to start and come to the step that is to be at work when the deadline passes."""

HOUR_S = 3600
SOON_S = 30.0


class TimeOfDay:
    """The clock of one host, so many seconds ahead of the true one."""

    def __init__(self, file: Path, ahead_s: int) -> None:
        self.file = file
        self.set(ahead_s)

    def set(self, ahead_s: int) -> None:
        new = self.file.with_suffix(".new")
        new.write_text(str(ahead_s))
        new.replace(self.file)  # nobody reads half of it


class Hosts:
    """The hosts ``ahead`` and ``behind``, their clocks, and their homes."""

    def __init__(self, folder: Path) -> None:
        self.ahead_clock = TimeOfDay(folder / "ahead.clock", HOUR_S)
        self.behind_clock = TimeOfDay(folder / "behind.clock", -HOUR_S)
        self.folder = folder
        self.ahead: SagaOrchestrator
        self.behind: SagaOrchestrator

    def kill_behind(self) -> HomeLock:
        """Kill its system. Its application would start another one, which goes on with its sagas: so the lock is kept
        from that."""
        home = self.folder / "behind"

        def killed() -> HomeLock | None:
            kill_all(home)
            return HomeLock.take(home)

        return until(killed, "the lock of the home that was killed")


@pytest.fixture
def hosts(tmp_path: Path, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    library = tmp_path / "time_of_day.so"
    source = Path(__file__).with_name("time_of_day.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    hosts = Hosts(tmp_path)
    with ExitStack() as opened:
        for name, clock in (("ahead", hosts.ahead_clock), ("behind", hosts.behind_clock)):
            settings = Settings(host_name=name, lease_s=LEASE_S, drain_s=0.2, saga_hosts=1)
            with monkeypatch.context() as environment:
                environment.setenv("LD_PRELOAD", str(library))
                environment.setenv("ANTISTROPHE_TEST_TIME_OF_DAY", str(clock.file))
                orchestrator = SagaOrchestrator(tmp_path / name, settings=settings, journal=postgres_store_url)
                setattr(hosts, name, opened.enter_context(orchestrator))
        yield hosts


def hours_off(home: Path) -> int:
    """By how many hours the clock of a host was off when it wrote the first line of its log."""
    line = (home / "log" / "system.log").read_text().splitlines()[0]
    written = time.mktime(time.strptime(line[:19], "%Y-%m-%d %H:%M:%S"))
    return round((written - time.time()) / HOUR_S)


def test_hosts_whose_clocks_are_wrong_and_jump_do_what_others_do(hosts: Hosts, tmp_path: Path) -> None:
    assert [hours_off(tmp_path / name) for name in ("ahead", "behind")] == [1, -1]
    stage = Stage(tmp_path)
    patient = RetryPolicy(2, initial_s=1.5, multiplier=1.0, jitter=False)
    moved = stage.saga(
        stage.act("a"), stage.act("b", "retryable:1.5", "ok", retry=patient), saga_id="moved", deadline_s=600.0
    )
    held = stage.saga(stage.act("a"), stage.act("b", "hang", kill_grace_s=0.1), saga_id="held")
    hurried = stage.saga(stage.act("a"), stage.act("b", "gate:never"), saga_id="hurried", deadline_s=DEADLINE_S)

    hosts.ahead.start(hurried)
    hosts.behind.start(held)
    until(lambda: stage.log.find("held", "begin", "b"), "the step that hangs")
    assert hosts.ahead.cancel("held", reason="from elsewhere"), (
        "an order reaches a host whose clock is two hours behind"
    )
    wait_for_status(hosts.ahead, "held", SagaStatus.COMPENSATED)
    wait_for_status(hosts.behind, "hurried", SagaStatus.COMPENSATED)
    (ran,) = stage.log.find("hurried", "begin", "b")
    assert stage.log.find("hurried", "undo", "a")[0].at - ran.at < SOON_S

    hosts.behind.start(moved)
    begun = until(lambda: stage.log.find("moved", "begin", "b"), "the first attempt")[0]
    until(lambda: "RetryScheduled" in _kinds(hosts.ahead), "the pause before the second one")
    killed_at = time.monotonic()
    lock = hosts.kill_behind()
    hosts.ahead_clock.set(-HOUR_S)  # and it jumps by two hours
    wait_for_status(hosts.ahead, "moved", SagaStatus.COMPLETED, SOON_S)
    again = stage.log.find("moved", "begin", "b")[1]
    assert again.at - begun.at >= 1.5, "the pause that one host has planned holds for the other"
    assert 0.4 * LEASE_S <= again.at - killed_at < SOON_S, "a host that works was renewed within 0.6 of its lease"
    assert seen(hosts.ahead, "moved").host == "ahead"
    _times_are_those_of_the_server(hosts.ahead)
    lock.release()


def _kinds(orchestrator: SagaOrchestrator) -> list[str]:
    return [entry.kind for entry in orchestrator.get_timeline("moved")]


def _times_are_those_of_the_server(orchestrator: SagaOrchestrator) -> None:
    """What people see is dated by one clock, whoever wrote it."""
    times = [entry.at for entry in orchestrator.get_timeline("moved")]
    assert times == sorted(times)
    found = seen(orchestrator, "moved")
    for moment in (*times, found.created_at, found.updated_at):
        assert abs(moment.timestamp() - time.time()) < 10 * SOON_S
