"""Hosts of two releases on one journal: the older one goes on in a schema of the newer one, and leaves to it what it
can't read itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg
import pytest

from antistrophe import RetryPolicy, SagaOrchestrator, SagaStatus, Settings, UnreadableEntryError
from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS
from tests.actors.planting import plant_in_children
from tests.actors.staging import Stage, pid_of, wait_for_status
from tests.killing import signal_to
from tests.waiting import until

LEASE_S = 10.0
"""No host loses it because the machine stands still for some seconds."""


class Hosts:
    """Opens hosts of this release, and of the next one."""

    def __init__(self, folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._url, self._monkeypatch = folder, url, monkeypatch
        self.opened = ExitStack()

    def open(self, name: str) -> SagaOrchestrator:
        settings = Settings(host_name=name, lease_s=LEASE_S, drain_s=0.2, saga_hosts=1)
        return self.opened.enter_context(SagaOrchestrator(self._folder / name, settings=settings, journal=self._url))

    def open_next(self, name: str) -> SagaOrchestrator:
        with self._monkeypatch.context() as environment:
            plant_in_children(environment, "next release")
            return self.open(name)


@pytest.fixture
def hosts(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hosts]:
    hosts = Hosts(tmp_path, postgres_url, monkeypatch)
    with hosts.opened:
        yield hosts


def test_hosts_of_two_releases_work_side_by_side(hosts: Hosts, stage: Stage, postgres_url: str) -> None:
    older = hosts.open("older")
    newer = hosts.open_next("newer")
    with psycopg.connect(postgres_url) as connection:
        (version,) = connection.execute("SELECT version FROM antistrophe.schema_version").fetchone() or (0,)
    assert version == len(POSTGRES_MIGRATIONS) + 1, "the newer one has brought the schema up to its version"

    before = pid_of(older, "saga")
    signal_to(before, 9)
    until(lambda: pid_of(older, "saga") != before, "a process of the older host that opens the journal anew")
    assert older.execute(stage.saga(stage.act("a"), saga_id="old"), timeout_s=30.0)

    patient = RetryPolicy(2, initial_s=8.0, multiplier=1.0, jitter=False)  # until the newer one is closed
    newer.start(stage.saga(stage.act("a", "retryable:8", "ok", retry=patient), saga_id="new"))
    until(lambda: "RetryPlanned" in _kinds(postgres_url), "an entry that the older one does not know")
    newer.close()
    until(partial(_is_of, postgres_url, "older"), "the older one claims it")
    until(lambda: "can't be read" in _log_of(older), "it finds out")
    assert older.execute(stage.saga(stage.act("a"), saga_id="meanwhile"), timeout_s=30.0), "it goes on with what it can"
    assert _is_of(postgres_url, "older"), "nobody else is there"
    with pytest.raises(UnreadableEntryError, match="if a newer release wrote it, upgrade this one"):
        older.get_saga("new")
    newest = hosts.open_next("newest")
    wait_for_status(newest, "new", SagaStatus.COMPLETED, within_s=40.0)
    assert [each.attempt for each in stage.log.find("new", "done")] == [2]


def _kinds(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {kind for (kind,) in connection.execute("SELECT kind FROM antistrophe.journal").fetchall()}


def _is_of(url: str, host: str) -> bool:
    with psycopg.connect(url) as connection:
        (owner,) = connection.execute("SELECT host FROM antistrophe.sagas WHERE id = 'new'").fetchone() or ("",)
    return str(owner).startswith(f"{host}-")


def _log_of(orchestrator: SagaOrchestrator) -> str:
    return (Path(orchestrator.home) / "log" / "system.log").read_text()
