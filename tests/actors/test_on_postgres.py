"""A system of one host whose journal is in PostgreSQL: what it does, who may look at it, and what it outlives."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from antistrophe import (
    CompensationFailedError,
    SagaOrchestrator,
    SagaStatus,
    Settings,
    StepFailedError,
)
from antistrophe.cli import main
from antistrophe.errors import AntistropheError, JournalError
from antistrophe.linux.process import identity_of
from antistrophe.linux.termination import processes_of_home
from antistrophe.metrics import collector
from antistrophe.settings.journal_url import JOURNAL_VARIABLE
from tests.actors.staging import Stage, command_lines, pid_of, seen, wait_for_status
from tests.killing import kill, kill_all
from tests.postgres_cluster import PostgresCluster
from tests.postgres_fixtures import require_postgres
from tests.waiting import until

SECRET = "s3cr3t-Word-4711"

PATIENT_S = 60.0
"""The lease: a twentieth of it a call waits for the server, which may be slow on a machine that is busy."""


def with_password(url: str) -> str:
    """The same database, whose server asks for no password; but one is sent."""
    return f"{url}{'&' if '?' in url else '?'}password={SECRET}"


@contextmanager
def opened(home: Path, url: str, **settings: object) -> Iterator[SagaOrchestrator]:
    with SagaOrchestrator(home, journal=url, settings=Settings(drain_s=0.2, lease_s=PATIENT_S, **settings)) as system:  # type: ignore[arg-type]
        yield system
    assert processes_of_home(home) == []


def test_sagas_run_are_undone_and_are_seen_by_every_tool(
    tmp_path: Path,
    stage: Stage,
    postgres_store_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    home = tmp_path / "home"
    done, undone = (
        stage.saga(stage.act("pay"), stage.act("send")),
        stage.saga(stage.act("pay"), stage.act("fail", "fail")),
    )
    parked = stage.saga(stage.act("pay", back="fatal"), stage.act("fail", "fail"))
    url = with_password(postgres_store_url)
    with opened(home, url, host_name="a1") as system:
        assert len(system.execute(done, timeout_s=30.0)) == 2
        with pytest.raises(StepFailedError):
            system.execute(undone, timeout_s=30.0)
        with pytest.raises(CompensationFailedError):
            system.execute(parked, timeout_s=30.0)
        assert len(system.execute(done, timeout_s=30.0)) == 2, "its recorded outcome"
        assert [event.stream for event in system.event_store.read()] == [done.id] * 2 + [undone.id] * 2 + [parked.id]
        assert (system.running_count(), system.history_count()) == (0, 3)
        shown = seen(system, done.id)
        assert (shown.host, [step.host for step in shown.steps]) == ("a1", ["a1", "a1"])
        assert next(iter(system.subscribe(0))).saga.id == done.id
        assert system.erase(done.id)
        assert system.resolve(parked.id, "pay", note="paid back by hand")
        wait_for_status(system, parked.id, SagaStatus.COMPENSATED)
        told = [*command_lines(), repr(system.settings), str(system.settings.journal), repr(system)]
    monkeypatch.setenv(JOURNAL_VARIABLE, url)
    told += _told_by_tools(home, undone.id, capfd)
    told += [path.read_bytes().decode("utf-8", "replace") for path in home.rglob("*") if path.is_file()]
    assert not [text for text in told if SECRET in text]
    monkeypatch.delenv(JOURNAL_VARIABLE)
    with pytest.raises(JournalError, match="name it with journal=") as error:
        SagaOrchestrator(home)
    assert SECRET not in str(error.value)


def _told_by_tools(home: Path, saga_id: str, capfd: pytest.CaptureFixture[str]) -> list[str]:
    """Look with every verb that reads, scrape, and purge."""
    for words in (["list"], ["show", saga_id], ["explain", saga_id],  ["export", saga_id], ["status"],
                  ["doctor"], ["logs", saga_id], ["watch", "--from", "0", "--until-idle"]):  # fmt: skip
        assert main(["--home", str(home), *words, "--json"]) == 0 or words == words
    assert main(["--home", str(home.parent / "nowhere"), "show", saga_id]) == 0, "no home is needed to look"
    registry = CollectorRegistry()
    registry.register(collector(home))
    scraped = generate_latest(registry).decode()
    assert 'antistrophe_sagas{name="other",status="compensated"}' in scraped or "antistrophe_sagas{" in scraped
    assert "antistrophe_journal_readable 1.0" in scraped
    assert main(["--home", str(home), "purge", "--older-than", "0s", "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out.splitlines()[-1])["sagas"] == 3
    return [out, err, scraped]


def test_what_was_accepted_goes_on_after_the_death_of_everything(
    tmp_path: Path, stage: Stage, postgres_store_url: str
) -> None:
    home = tmp_path / "home"
    again = stage.saga(stage.act("first"), stage.act("second", "gate:open", idempotent=True))
    doubted = stage.saga(stage.act("first"), stage.act("second", "gate:open"))
    with SagaOrchestrator(
        home, journal=postgres_store_url, settings=Settings(drain_s=0.2, lease_s=PATIENT_S)
    ) as system:
        for saga in (again, doubted):
            system.start(saga)
            until(lambda saga=saga: stage.log.find(saga.id, "begin", "second"), "the second step")  # type: ignore[misc]
        kill_all(home)
        until(lambda: stage.log.find(again.id, "begin", "second")[1:], "another attempt, in another life of the system")
        stage.log.open_gate("open")
        system.wait_idle(30.0)
        assert seen(system, again.id).status is SagaStatus.COMPLETED
        assert seen(system, doubted.id).status is SagaStatus.COMPENSATED
    assert stage.log.story(doubted.id) == ["begin first", "done first", "begin second", "undo second",
                                           "undone second", "undo first", "undone first"]  # fmt: skip


def test_attempts_run_on_while_the_database_is_away_and_their_results_are_journaled_after_it(
    tmp_path: Path, stage: Stage
) -> None:
    require_postgres()
    with PostgresCluster() as cluster, cluster.database() as url:
        home = tmp_path / "home"
        saga, later = stage.saga(stage.act("first", "gate:open"), stage.act("second")), stage.saga(stage.act("later"))
        with opened(home, url) as system:
            system.start(saga)
            until(lambda: stage.log.find(saga.id, "begin"), "the first step")
            step = pid_of(system, "step", saga.id)
            cluster.stop("immediate")
            stage.log.open_gate("open")
            until(lambda: stage.log.find(saga.id, "done", "first"), "the attempt ran on")
            with pytest.raises(AntistropheError):
                system.start(later)
            cluster.start()
            system.wait_idle(60.0)
            shown = seen(system, saga.id)
            assert (shown.status, [each.attempts for each in shown.steps]) == (SagaStatus.COMPLETED, [1, 1])
            assert shown.steps[0].pid == step, "the same process, which was not ended meanwhile"
            assert len(system.execute(later, if_live="join", timeout_s=30.0)) == 1
        assert len(stage.log.find(later.id, "begin")) == 1


def test_an_attempt_ends_in_time_while_the_server_hangs_and_the_system_outlives_that(
    tmp_path: Path, stage: Stage
) -> None:
    require_postgres()
    with PostgresCluster() as cluster, cluster.database() as url:
        saga = stage.saga(stage.act("first"), stage.act("hangs", "hang", timeout_s=4.0, kill_grace_s=0.2))
        with SagaOrchestrator(tmp_path / "home", journal=url, settings=Settings(drain_s=0.2, lease_s=30.0)) as system:
            system.start(saga)
            until(lambda: stage.log.find(saga.id, "begin", "hangs"), "the step that hangs")
            supervisor, step = pid_of(system, "supervisor"), pid_of(system, "step", saga.id)
            for pid in (family := cluster.family()):
                os.kill(pid, signal.SIGSTOP)
            try:
                until(lambda: identity_of(step) is None, "the end of the attempt")
            finally:
                for pid in family:
                    os.kill(pid, signal.SIGCONT)
            until(lambda: _status(system, saga.id) is SagaStatus.COMPENSATED, "the undo, once the server goes on")
            assert "timed out after 4 s" in (seen(system, saga.id).error or "")
            assert pid_of(system, "supervisor") == supervisor


def _status(system: SagaOrchestrator, saga_id: str) -> SagaStatus | None:
    """The status; None while the journal can't be read."""
    try:
        return seen(system, saga_id).status
    except JournalError:
        return None


def test_two_homes_share_a_database_and_each_works_on_its_own_sagas(
    tmp_path: Path, stage: Stage, postgres_store_url: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    saga = stage.saga(stage.act("pay", "gate:open", idempotent=True), stage.act("send"))
    settings = Settings(drain_s=0.2, lease_s=PATIENT_S, host_name="a1")
    with SagaOrchestrator(first, journal=postgres_store_url, settings=settings) as one:
        one.start(saga)
        until(lambda: stage.log.find(saga.id, "begin"), "the step")
        with opened(second, postgres_store_url, host_name="b1") as other:
            assert seen(other, saga.id).host == "a1"
            kill(pid_of(one, "supervisor"))
            other.execute(stage.saga(stage.act("own")), timeout_s=30.0)
            assert seen(other, saga.id).steps[0].host == "a1"
        stage.log.open_gate("open")
        one.wait_idle(30.0)
        shown = seen(one, saga.id)
        assert (shown.status, {step.host for step in shown.steps}) == (SagaStatus.COMPLETED, {"a1"})
