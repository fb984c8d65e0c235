"""A host whose primary is killed and whose standby takes over without the last commits: nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from antistrophe import JournalError, SagaOrchestrator, SagaStatus, Settings
from tests.actors.staging import Stage, seen
from tests.postgres_fixtures import require_postgres
from tests.server_pair import DATABASE, ServerPair, server_pair
from tests.waiting import until

SETTINGS = Settings(host_name="one", lease_s=60.0, drain_s=0.2, saga_hosts=1)
"""It renews its lease seldom: what is lost here is no renewal."""

REASONS = "as host one knows", "is behind what this home has seen of it"
"""Why a host may not work: the one whose commits are missing knows it, or it has itself renewed its lease since the
standby was gone."""


@pytest.fixture
def pair(lasting_processes: set[int]) -> Iterator[ServerPair]:
    require_postgres()
    with server_pair(lasting_processes, synchronous=False) as pair:
        yield pair


def _has(pair: ServerPair, entries: int) -> bool:
    """Whether the standby has so many entries of the saga."""
    counted = "SELECT count(*) FROM antistrophe.journal WHERE saga_id = 's'"
    return (
        pair.standby.sql("SELECT to_regclass('antistrophe.journal')::text", DATABASE) != [""]
        and int(pair.standby.sql(counted, DATABASE)[0]) >= entries
    )


def test_no_host_goes_on_where_the_last_commits_of_one_are_missing(pair: ServerPair, tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    home = tmp_path / "home"
    steps = (stage.act("a", "gate:a"), stage.act("b"), stage.act("c", "gate:c"), stage.act("d"))
    other = SagaOrchestrator(tmp_path / "two", settings=replace(SETTINGS, host_name="two"), journal=pair.url)
    with other, SagaOrchestrator(home, settings=SETTINGS, journal=pair.url) as host:
        goes_on = other.start(stage.saga(stage.act("x", "gate:x", idempotent=True), saga_id="t"))
        until(lambda: stage.log.find("t", "begin"), "the step of the other host")
        host.start(stage.saga(*steps, saga_id="s"))
        until(lambda: stage.log.find("s", "begin", "a"), "the first step")
        until(lambda: _has(pair, len(host.get_timeline("s"))), "the standby has what came before", 30.0)
        pair.standby.kill()
        stage.log.open_gate("a")
        until(lambda: stage.log.find("s", "begin", "c"), "the third step, of which the standby knows nothing")
        pair.primary.kill()
        pair.start(pair.standby)
        pair.fail_over()
        stage.log.open_gate("c")
        until(partial(_says, home, "lacks what this host has committed there"), "the notice", 30.0)
        for each in (home, tmp_path / "two"):
            until(partial(_says, each, *REASONS), "the host that may not work", 30.0)
        done = stage.log.story("s")
        assert done == ["begin a", "done a", "begin b", "done b", "begin c", "done c"], "and the fourth does not begin"
        host.close()
        with pytest.raises(JournalError, match=rf"({'|'.join(REASONS)}).*--after-restore"):
            SagaOrchestrator(home, settings=SETTINGS, journal=pair.url)
        stage.log.open_gate("x")
        assert stage.log.story("t") == ["begin x"], "its attempt was ended"
        with SagaOrchestrator(home, settings=SETTINGS, journal=pair.url, after_restore=True) as host:
            until(lambda: not seen(host, "s").status.running, "a person's turn", 60.0)
            assert seen(host, "s").status is SagaStatus.FAILED, "nobody knows what was done"
            assert goes_on.result(60.0), "the other host goes on by itself"
    assert stage.log.story("s") == done, "nothing ran again, or was undone"


def _says(home: Path, *words: str) -> bool:
    """Whether the system of that home has said one of these in its log."""
    log = (home / "log" / "system.log").read_text("utf-8")
    return any(each in log for each in words)
