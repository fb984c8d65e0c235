"""Several hosts on one journal: each is a home of its own here, so one clock orders what all of their steps did."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from antistrophe import (
    AlreadyExecutingError,
    AsyncSagaOrchestrator,
    JournalError,
    RequestError,
    SagaExistsError,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    StepFailedError,
)
from antistrophe.client.host_list import drain_host
from antistrophe.journal import JournalPlace
from tests.actors.staging import Stage, pid_of, seen, wait_for_status
from tests.killing import await_end, kill_all, signal_to
from tests.waiting import until

LEASE_S = 10.0
"""No host loses it because the machine stands still for some seconds."""

SHORT_LEASE_S = 4.0
"""Of a host that is to lose it."""


class Hosts:
    """Opens hosts by name, and kills them."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self.url = url
        self._open = ExitStack()
        self.homes: dict[str, Path] = {}

    def open(self, name: str, **settings: Any) -> SagaOrchestrator:
        home = self.homes[name] = self._folder / name
        chosen = Settings(**{"host_name": name, "lease_s": LEASE_S, "drain_s": 0.2, **settings})
        return self._open.enter_context(SagaOrchestrator(home, settings=chosen, journal=self.url))

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send the signal to every process of that host that is still there."""
        kill_all(self.homes[name], number)

    def close(self) -> None:
        self._open.close()


@pytest.fixture
def hosts(tmp_path: Path, postgres_store_url: str) -> Iterator[Hosts]:
    made = Hosts(tmp_path, postgres_store_url)
    try:
        yield made
    finally:
        made.close()
        for home in made.homes.values():
            await_end(home)


def test_one_host_runs_and_compensates(hosts: Hosts, stage: Stage) -> None:
    one = hosts.open("one")
    assert one.execute(stage.saga(stage.act("a"), stage.act("b"), saga_id="good"))
    with pytest.raises(Exception, match="b"):
        one.execute(stage.saga(stage.act("a"), stage.act("b", "fatal"), saga_id="bad"))
    assert stage.log.story("bad") == ["begin a", "done a", "begin b", "undo a", "undone a"]
    assert seen(one, "good").status is SagaStatus.COMPLETED


def test_a_saga_of_a_host_that_was_killed_goes_on_elsewhere(hosts: Hosts, stage: Stage, tmp_path: Path) -> None:
    two = hosts.open("two")
    home = hosts.homes["one"] = tmp_path / "one"
    command = [sys.executable, "-m", "tests.benchmarks.killed_host", str(home), hosts.url, str(tmp_path), "moving"]
    with subprocess.Popen([*command, str(SHORT_LEASE_S)], cwd=Path(__file__).parents[2]) as application:
        until(lambda: stage.log.find("moving", "begin"), "the step")
        with pytest.raises(AlreadyExecutingError, match="another host"):
            two.start(stage.saga(stage.act("a", "hang"), saga_id="moving"))
        application.kill()
        hosts.kill("one")
        renewed_at = last_renewal(hosts.url, "killed")
    wait_for_status(two, "moving", SagaStatus.COMPENSATED, within_s=30.0)
    assert stage.log.story("moving") == ["begin a", "undo a", "undone a"], "what was running is in doubt, and is undone"
    undone = stage.log.find("moving", "undo")[0]
    assert undone.at >= renewed_at + SHORT_LEASE_S - CLOCKS_S, "not before the lease of the dead host was over"


CLOCKS_S = 0.05
"""How far two clocks of one machine may be apart in a test."""


def last_renewal(url: str, host: str) -> float:
    """When that host has renewed its lease for the last time, by this machine's monotonic clock, and not later."""
    with psycopg.connect(url) as connection:
        now = time.monotonic()
        ago = "SELECT extract(epoch FROM clock_timestamp() - seen_at)::float FROM antistrophe.hosts WHERE name = %s"
        row = connection.execute(ago, [host]).fetchone()
    assert row is not None
    return now - float(row[0])


def test_a_host_that_is_stopped_leaves_no_attempt_alive_when_another_takes_over(hosts: Hosts, stage: Stage) -> None:
    one, two = hosts.open("one", lease_s=SHORT_LEASE_S), hosts.open("two")
    one.start(stage.saga(stage.act("a", "hang"), saga_id="frozen"))
    until(lambda: stage.log.find("frozen", "begin"), "the step")
    drain_host(JournalPlace(url=hosts.url), "one", draining=True)
    signal_to(pid_of(one, "supervisor"), signal.SIGSTOP)
    undone = until(lambda: stage.log.find("frozen", "undo"), "the compensation", 30.0)[0]
    beats = [each.at for each in stage.log.find("frozen", "beat")]
    assert max(beats) < undone.at, "the attempt was dead before another host touched the saga"
    assert [(host.name, host.draining) for host in two.hosts() if host.name == "two"] == [("two", False)]
    back = until(lambda: [host for host in two.hosts() if host.name == "one"], "the host that was stopped", 30.0)[0]
    assert back.draining, "its system is the same, under another supervisor"


def test_a_host_that_stops_hands_over_at_once(hosts: Hosts, stage: Stage) -> None:
    two = hosts.open("two")
    one = hosts.open("one")
    one.start(stage.saga(stage.act("a"), stage.act("b", "gate:go"), saga_id="handed"))
    until(lambda: stage.log.find("handed", "begin", "b"), "the second step")
    one.close()
    wait_for_status(two, "handed", SagaStatus.COMPENSATED)


def test_orders_and_waits_reach_the_host_that_has_the_saga(hosts: Hosts, stage: Stage) -> None:
    one, two = hosts.open("one"), hosts.open("two")
    one.start(stage.saga(stage.act("a"), stage.act("b", "hang", kill_grace_s=0.1), saga_id="ordered"))
    until(lambda: stage.log.find("ordered", "begin", "b"), "the second step")
    assert [(host.name, host.sagas, host.attempts <= 1) for host in two.hosts()] == [("one", 1, True), ("two", 0, True)]
    assert two.cancel("ordered", reason="from elsewhere")
    with pytest.raises(Exception, match="from elsewhere"):
        two.handle("ordered").result(timeout_s=20.0)
    assert seen(one, "ordered").status is SagaStatus.COMPENSATED


def test_an_id_is_refused_on_every_host_while_a_client_lives_that_holds_it(hosts: Hosts, stage: Stage) -> None:
    one, stays, two = hosts.open("one"), hosts.open("one"), hosts.open("two")
    saga = stage.saga(stage.act("a", "gate:go"), saga_id="held")
    one.start(saga)
    until(lambda: stage.log.find("held", "begin"), "the step")
    with pytest.raises(AlreadyExecutingError, match="another host"):
        two.start(saga)
    with pytest.raises(SagaExistsError):
        two.start(stage.saga(stage.act("b"), saga_id="held"))
    one.close()

    def taken_over() -> bool:
        try:
            return two.start(saga).id == "held"
        except AlreadyExecutingError:
            return False

    until(taken_over, "the end of the client that has started it, while its host lives")
    for client in (stays, two):
        with pytest.raises(AlreadyExecutingError):
            client.start(saga)
    joined = stays.start(saga, if_live="join")
    stage.log.open_gate("go")
    assert joined.result(timeout_s=30.0)
    assert len(stage.log.find("held", "begin")) == 1


def test_a_saga_starts_with_the_transaction_of_the_application_or_never(
    hosts: Hosts, stage: Stage, postgres_store_url: str
) -> None:
    one = hosts.open("one")
    kept, gone = stage.saga(stage.act("a"), saga_id="kept"), stage.saga(stage.act("a"), saga_id="gone")
    with psycopg.connect(postgres_store_url) as connection:
        connection.execute("CREATE TABLE carts(id text)")
        connection.commit()
        connection.execute("INSERT INTO carts VALUES ('gone')")
        one.start(gone, connection=connection)
        connection.rollback()
        connection.execute("INSERT INTO carts VALUES ('kept')")
        handle = one.start(kept, connection=connection)
        assert one.get_saga("kept") is None, "nothing is there before the commit"
        connection.commit()
        assert handle.result(timeout_s=20.0)
        assert connection.execute("SELECT id FROM carts").fetchall() == [("kept",)]
        assert one.get_saga("gone") is None
        one.start(kept, connection=connection)  # it has finished: the same outcome again
        with pytest.raises(SagaExistsError):
            one.start(stage.saga(stage.act("b"), saga_id="kept"), connection=connection)
        with pytest.raises(RequestError, match=r"psycopg\.Connection"):
            one.start(gone, connection="postgresql:///shop")
        connection.close()
        with pytest.raises(RequestError, match="this one is closed"):
            one.start(gone, connection=connection)
        with (
            closing(psycopg.connect(hosts.url, dbname="postgres")) as elsewhere,
            pytest.raises(JournalError, match="has no journal and no events: connect to postgresql://"),
        ):
            one.start(gone, connection=elsewhere)


def test_what_starts_with_a_transaction_is_held_by_its_application_from_the_commit_on_and_until_it_leaves(
    hosts: Hosts, stage: Stage, postgres_store_url: str
) -> None:
    one, _, two = hosts.open("one", max_running_sagas=1), hosts.open("one", max_running_sagas=1), hosts.open("two")
    saga = stage.saga(stage.act("a", "gate:go"), saga_id="held")
    with psycopg.connect(postgres_store_url) as connection:
        one.start(saga, connection=connection)
        with pytest.raises(SagaExistsError, match="in this transaction"):
            one.start(saga, connection=connection)
        connection.commit()
        with pytest.raises(AlreadyExecutingError):
            two.start(saga)
        with pytest.raises(AlreadyExecutingError):
            two.start(saga, connection=connection)
        connection.rollback()
        two.start(saga, "join", connection=connection)
        connection.rollback()
    with psycopg.connect(postgres_store_url) as connection:
        one.start(stage.saga(stage.act("a", "gate:go"), saga_id="left"), connection=connection)
    one.close()

    def taken_over() -> bool:
        with psycopg.connect(postgres_store_url) as connection:
            try:
                return two.start(stage.saga(stage.act("a", "gate:go"), saga_id="left"), connection=connection).id != ""
            except AlreadyExecutingError:
                return False

    until(taken_over, "the end of the client that has started it, while its host lives")
    stage.log.open_gate("go")
    assert two.handle("left").result(timeout_s=30.0)
    assert two.handle("held").result(timeout_s=30.0)
    assert [len(stage.log.find(saga_id, "begin")) for saga_id in ("held", "left")] == [1, 1]


async def _started(home: Path, url: str, stage: Stage) -> list[object]:
    async with AsyncSagaOrchestrator(home, journal=url, settings=Settings(drain_s=0.2)) as orchestrator:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            handle = await orchestrator.start(stage.saga(stage.act("a"), saga_id="async"), connection=connection)
        return await handle.result(timeout_s=20.0)


def test_a_saga_starts_with_a_transaction_of_asyncio(hosts: Hosts, stage: Stage, tmp_path: Path) -> None:
    hosts.homes["loop"] = tmp_path / "loop"
    assert asyncio.run(_started(hosts.homes["loop"], hosts.url, stage))


def test_a_journal_in_a_file_takes_no_transaction_of_the_application(
    orchestrator: SagaOrchestrator, stage: Stage
) -> None:
    with pytest.raises(RequestError, match="leave connection= out"):
        orchestrator.start(stage.saga(stage.act("a")), connection=object())


def test_who_waits_at_a_full_host_is_told_the_end_by_the_host_that_has_taken_the_saga(
    hosts: Hosts, stage: Stage
) -> None:
    one = hosts.open("one", max_running_sagas=1)
    two = hosts.open("two")
    one.start(stage.saga(stage.act("a", "gate:go"), saga_id="holds"))
    until(lambda: stage.log.find("holds", "begin"), "the step of the only saga that may run")
    with ThreadPoolExecutor() as threads:
        waits = [one.start(stage.saga(stage.act("a"), saga_id=f"queued-{number}")) for number in range(3)]
        ends = [threads.submit(each.result, 30.0) for each in waits]
        assert all(end.result() for end in ends)
    assert {seen(two, each.id).host for each in waits} == {"two"}
    log = hosts.homes["one"] / "log" / "system.log"
    until(
        lambda: all(f"saga {each.id} is another host's by now" in log.read_text("utf-8") for each in waits),
        "the notice of the first host",
    )
    assert stage.log.story("holds") == ["begin a"], "it has no room all the time"
    stage.log.open_gate("go")


def test_a_host_that_drains_ends_what_it_has_begun_and_leaves_the_rest_to_others(hosts: Hosts, stage: Stage) -> None:
    one, place = hosts.open("one", max_step_processes=1, max_running_sagas=3), JournalPlace(url=hosts.url)
    begun = one.start(stage.saga(stage.act("a", "gate:go"), stage.act("b", "fatal"), saga_id="begun"))
    until(lambda: stage.log.find("begun", "begin"), "the step that holds the only process")
    waiting = [one.start(stage.saga(stage.act("a"), saga_id=f"waits-{number}")) for number in range(4)]
    with ThreadPoolExecutor() as threads:
        ends = [threads.submit(each.result, 60.0) for each in waiting]
        drain_host(place, "one", draining=True)
        two = hosts.open("two")
        assert all(end.result() for end in ends), "who waits here is told by the host that has taken it"
    assert one.start(stage.saga(stage.act("a"), saga_id="late")).result(30.0)
    assert {seen(two, saga_id).host for saga_id in ("late", *(each.id for each in waiting))} == {"two"}
    stage.log.open_gate("go")
    with pytest.raises(StepFailedError):
        begun.result(30.0)
    assert seen(one, "begun").host == "one", "what it has begun it compensates itself"
    drain_host(place, "one", draining=False)
    numbers = itertools.count()

    def ran_on() -> str | None:
        saga = stage.saga(stage.act("a"), saga_id=f"after-{next(numbers)}")
        one.execute(saga)
        return seen(one, saga.id).host

    until(lambda: ran_on() == "one", "the end of the drain")
