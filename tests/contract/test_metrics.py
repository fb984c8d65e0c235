"""The metrics of a home whose system does not run: all that the journal says, and nothing that has to be asked."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import threading
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe.errors import RequestError, SystemStateError
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.launcher.control_protocol import Ready
from antistrophe.metrics import collector, running_system
from antistrophe.metrics.families import FAMILIES, VALUES, Kind
from antistrophe.metrics.running_system import RunningSystem
from antistrophe.metrics.server import serving
from antistrophe.storage.schema import MIGRATIONS
from tests.contract.journal_sagas import FORWARD, PARK, START, TURN_BACK, UNDONE, accepted, append, run
from tests.contract.scraping import Samples, registry_of, scraped, value
from tests.waiting import until

HOSTILE = 'a "name"\nwith\\lines {x="1"} 1'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    with closing(SqliteJournal(journal_path(folder))) as journal:
        run(journal, "done", *FORWARD, name="pay")
        run(journal, "undone", *TURN_BACK, UNDONE)
        run(journal, "parked", *TURN_BACK, PARK)
        append(journal, "new", accepted("new", HOSTILE))
    return folder


def test_every_number_of_a_journal(home: Path) -> None:
    found = scraped(registry_of(home))
    debit, credit = "tests.no_such_module:Debit", "tests.no_such_module:Credit"
    assert value(found, "antistrophe_up") == 0
    assert value(found, "antistrophe_journal_readable") == 1
    assert value(found, "antistrophe_sagas", status="completed", name="pay") == 1
    assert value(found, "antistrophe_sagas", status="failed", name="transfer") == 1
    assert value(found, "antistrophe_sagas", status="executing", name=HOSTILE) == 1
    assert value(found, "antistrophe_sagas_accepted_total", name="transfer") == 2
    assert value(found, "antistrophe_sagas_completed_total", name="pay") == 1
    assert value(found, "antistrophe_sagas_compensated_total", name="transfer") == 1
    assert value(found, "antistrophe_sagas_parked_total", name="transfer") == 1
    assert value(found, "antistrophe_saga_duration_seconds_sum", name="pay", end="completed") == 4
    assert value(found, "antistrophe_saga_duration_seconds_bucket", name="pay", end="completed", le="2.5") == 0
    assert value(found, "antistrophe_saga_duration_seconds_bucket", name="pay", end="completed", le="5.0") == 1
    assert value(found, "antistrophe_attempts_total", step_class=debit, action="execute", outcome="returned") == 3
    assert value(found, "antistrophe_attempts_total", step_class=credit, action="execute", outcome="raised") == 2
    assert value(found, "antistrophe_attempt_duration_seconds_count", step_class=debit, action="execute") == 3
    assert value(found, "antistrophe_oldest_parked_seconds") == pytest.approx(time.time() - START - 4, abs=600)
    assert value(found, "antistrophe_queue_length", reason="process") == 1
    assert value(found, "antistrophe_queue_length", reason="code") == 0
    assert value(found, "antistrophe_steps_in_doubt") == 0
    assert value(found, "antistrophe_journal_file_bytes") > 0
    assert value(found, "antistrophe_journal_unread_entries") == 0


def test_what_only_the_system_knows_is_absent_where_it_does_not_run(home: Path) -> None:
    names = {name for name, _ in scraped(registry_of(home))}
    assert not {family.name for family in FAMILIES if family.asked} & names


def test_what_was_asked_is_given_and_what_was_not_answered_is_absent(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = registry_of(home)
    answer = RunningSystem(up=True, processes={"working": 2, "idle": 0}, commits=(12, 0.5))
    monkeypatch.setattr("antistrophe.metrics.home_collector.ask", lambda _home: answer)
    found = scraped(registry)
    assert value(found, "antistrophe_up") == 1
    assert value(found, "antistrophe_step_processes", state="working") == 2
    assert value(found, "antistrophe_step_processes", state="idle") == 0
    assert value(found, "antistrophe_journal_commits_total") == 12
    assert value(found, "antistrophe_journal_commit_seconds_total") == 0.5
    assert ("antistrophe_registry_lag_seconds", frozenset()) not in found


def test_every_metric_is_in_the_table_with_its_labels_and_every_label_has_a_bound(home: Path) -> None:
    table = {family.name: family for family in FAMILIES}
    families = list(collector(home).collect())
    assert {family.name for family in FAMILIES if not family.asked} == {
        metric.name + ("_total" if metric.type == "counter" else "") for metric in families
    }
    for metric in families:
        family = table[metric.name + ("_total" if metric.type == "counter" else "")]
        assert metric.type == family.kind.value
        assert metric.documentation == family.says
        for sample in metric.samples:
            assert set(sample.labels) - {"le"} == set(family.labels)
            assert all(text in VALUES[label] for label, text in sample.labels.items() if label in VALUES)
    assert {label for family in FAMILIES for label in family.labels} == {*VALUES, "name", "step_class"}


def test_names_say_units_and_kinds() -> None:
    for family in FAMILIES:
        assert family.name.startswith("antistrophe_")
        assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
        assert family.says.endswith(".")
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_counters_go_on_between_scrapes(home: Path) -> None:
    registry = registry_of(home)
    scraped(registry)
    with closing(SqliteJournal(journal_path(home))) as journal:
        run(journal, "second", *FORWARD, name="pay")
    assert value(scraped(registry), "antistrophe_sagas_completed_total", name="pay") == 2
    assert value(scraped(registry), "antistrophe_sagas_completed_total", name="pay") == 2


def test_a_home_that_is_not_there_yet_is_no_error_and_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "later"
    registry = registry_of(home)
    with caplog.at_level(logging.WARNING, "antistrophe"):
        for _ in range(3):
            found = scraped(registry)
            assert found == {
                ("antistrophe_up", frozenset()): 0.0,
                ("antistrophe_journal_readable", frozenset()): 0.0,
            }
    assert len([record for record in caplog.records if "there is no home" in record.getMessage()]) == 1
    home.mkdir(mode=0o700)
    with closing(SqliteJournal(journal_path(home))) as journal:
        run(journal, "done", *FORWARD, name="pay")
    assert value(scraped(registry), "antistrophe_sagas_completed_total", name="pay") == 1


@pytest.mark.parametrize("harm", ["newer", "garbage", "shared", "gone"])
def test_a_journal_that_can_not_be_read_is_told_as_that(home: Path, harm: str) -> None:
    registry = registry_of(home)
    assert value(scraped(registry), "antistrophe_journal_readable") == 1
    file = journal_path(home)
    if harm == "newer":
        with closing(sqlite3.connect(file)) as direct, direct:
            direct.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    elif harm == "garbage":
        file.write_bytes(b"no database " * 1000)
    elif harm == "shared":
        home.chmod(0o777)
    else:
        file.unlink()
    found = scraped(registry)
    assert {name for name, _ in found} == {"antistrophe_up", "antistrophe_journal_readable"}
    assert value(found, "antistrophe_journal_readable") == 0


def test_scrapes_at_once_agree(home: Path) -> None:
    registry = registry_of(home)
    found: list[Samples] = []
    threads = [threading.Thread(target=lambda: found.append(scraped(registry))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30.0)
    assert len(found) == 8
    assert {value(samples, "antistrophe_sagas_accepted_total", name="pay") for samples in found} == {1.0}


def test_they_are_served_over_http_and_the_port_is_free_afterwards(home: Path) -> None:
    with serving(home, 0, "127.0.0.1") as address, urllib.request.urlopen(address, timeout=30.0) as answer:
        text = answer.read().decode()
        port = int(address.rpartition(":")[2].partition("/")[0])
        with (
            pytest.raises(SystemStateError, match=f"at port {port} of 127.0.0.1: .*--metrics PORT"),
            serving(home, port, "127.0.0.1"),
        ):
            pass
    assert 'antistrophe_sagas{name="pay",status="completed"} 1.0' in text
    until(lambda: is_free(home, port), "the port is free, or another program that had it by chance gives it up")


def is_free(home: Path, port: int) -> bool:
    with contextlib.suppress(SystemStateError), serving(home, port, "127.0.0.1"):
        return True
    return False


@pytest.mark.parametrize("host", ["no.such.host.invalid", "192.0.2.1"])
def test_a_host_that_is_not_here_is_refused(home: Path, host: str) -> None:
    with pytest.raises(SystemStateError, match="--metrics-host HOST"), serving(home, 0, host):
        pass


def test_without_the_extra_it_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("prometheus_client", "antistrophe.metrics.home_"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(RequestError, match=r"pip install 'antistrophe\[metrics\]'"):
        collector(home)
    with pytest.raises(RequestError, match=r"pip install 'antistrophe\[metrics\]'"), serving(home, 0, "127.0.0.1"):
        pass


def test_a_launcher_of_another_release_is_up_and_not_asked(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = Ready(0, 1, "/no/such/socket", 1, 2, 3, 4, b"")
    monkeypatch.setattr(running_system, "probe", lambda _home, _timeout_s: state)
    assert running_system.ask(home) == RunningSystem(up=True)
