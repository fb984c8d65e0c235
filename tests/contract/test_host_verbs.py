"""The hosts of a shared journal, as `hosts` and `drain` tell of them and tell them. No system runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from antistrophe import HostRecord
from antistrophe.cli import main
from antistrophe.cli.completion import host_names
from antistrophe.cli.exit_codes import DONE, WRONG_USE
from antistrophe.cli.host_checks import _clock
from antistrophe.cli.hosts import drain_verb, host_lines
from antistrophe.cli.invocation import Invocation
from antistrophe.client.host_list import drain_host, list_hosts
from antistrophe.errors import JournalError, RequestError
from antistrophe.hosts.description import HostDescription, HostLoad, new_description
from antistrophe.hosts.retained import Retained
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_restores import StoredRestores
from antistrophe.journal import JournalPlace
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.hosts_kit import add_sagas

LEASE_S = 50.0  # longer than any test


class Shared:
    """A journal in PostgreSQL with two live hosts and one that has ended."""

    def __init__(self, url: str, home: Path, database: PostgresDatabase) -> None:
        self.url = url
        self.home = home
        self.database = database
        self.stored = StoredHosts(database)
        self.b1 = self.joined("b1", "gpu", "x")
        self.gone = self.joined("a0")
        self.stored.hand_over(self.gone.id)
        self.a1 = self.joined("a1")
        add_sagas(database, self.a1.id, ("one", "executing"), ("two", "accepted"), ("parked", "failed"))

    def joined(self, name: str, *labels: str) -> HostDescription:
        host = new_description(name, labels, "1.0", LEASE_S)
        assert self.stored.register(host, HostLoad(attempts=2))
        return host

    @property
    def place(self) -> JournalPlace:
        return JournalPlace.of_home(self.home, self.url)

    def call(self, *words: str) -> int:
        return main(["--home", str(self.home), "--journal", self.url, *words])


@pytest.fixture
def shared(empty_postgres: str, tmp_path: Path) -> Iterator[Shared]:
    with closing(open_postgres(empty_postgres)) as database:
        yield Shared(empty_postgres, tmp_path / "no-home", database)


def test_the_list_tells_what_each_host_has_to_do_live_ones_first(shared: Shared) -> None:
    found = list_hosts(shared.place)
    assert [host.name for host in found.hosts] == ["a1", "b1", "a0"]
    assert [host.name for host in found.live] == ["a1", "b1"]
    a1, b1, a0 = found.hosts
    assert (a1.sagas, a1.attempts, a1.draining, a1.ended) == (2, 2, False, None)
    assert (b1.id, b1.labels, b1.release, b1.sagas) == (shared.b1.id, frozenset({"gpu", "x"}), "1.0", 0)
    assert a0.ended == "handed over"
    assert a1.seen_at <= found.at < a1.lease_until == a1.seen_at + timedelta(seconds=LEASE_S)
    assert a1.seen_at.utcoffset() == timedelta(0)
    assert not shared.home.exists(), "who asks makes nothing"


def test_the_verb_shows_live_hosts_and_with_all_those_that_have_ended(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shared.call("hosts") == DONE
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["host", "id", "state", "sagas", "attempts", "seen", "release", "labels"]
    assert [line.split()[0] for line in lines[1:]] == ["a1", "b1"]
    assert lines[2].endswith("gpu x")
    assert shared.call("hosts", "--all") == DONE
    assert capsys.readouterr().out.splitlines()[-1].split()[0] == "a0"
    assert shared.call("hosts", "--all", "--json") == DONE
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["hosts"]
    assert [row["name"] for row in rows] == ["a1", "b1", "a0"]
    assert list(rows[0]) == [field.name for field in fields(HostRecord)]
    assert rows[0]["lease_until"] > rows[0]["seen_at"]


def test_hosts_that_differ_are_told_with_the_list(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    shared.stored.register(new_description("c1", [], "1.0", 20.0, Retained(60.0)), HostLoad())
    assert shared.call("hosts") == DONE
    said = capsys.readouterr().out
    assert "lease_s differs: 50 s (a1, b1), 20 s (c1)\n→ give all hosts the same" in said
    assert "retain_finished_s differs: for ever (a1, b1), 60 s (c1)" in said


def test_doctor_lists_the_hosts_and_tells_those_that_are_late(
    shared: Shared, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir(mode=0o700)
    shared.stored.drain("b1")
    shared.database.execute(
        "UPDATE antistrophe.hosts SET seen_at = seen_at - interval '1 minute' WHERE id = ?", (shared.a1.id,)
    )
    main(["--home", str(tmp_path / "home"), "--journal", shared.url, "doctor", "--json"])
    found = json.loads(capsys.readouterr().out)["findings"]
    said = [(each["health"], each["says"]) for each in found if each["subject"] == "host"]
    assert said[0][0] == "note"
    assert said[0][1].startswith("a1: lease is over, 2 sagas, 2 attempts, lease of 50 s, release 1.0, seen 1 min")
    assert said[1] == ("well", said[1][1])
    assert said[1][1].startswith("b1: draining, 0 sagas")
    assert len(said) == 2
    assert [each["health"] for each in found if each["subject"] == "clock"] == ["well"]


def test_a_database_that_was_put_back_is_told_by_the_list_and_by_doctor(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    restores = StoredRestores(shared.database)
    restore = restores.begin("host a1\x1b[2J")
    for verb in ("hosts", "doctor"):
        shared.call(verb)
        said = capsys.readouterr().out
        assert "works: the database is of an earlier state than it was" in said
        assert "(host a1\\x1b[2J knows)" in " ".join(said.split())
        assert "→ stop one host, and start it with --after-restore" in " ".join(said.split())
    restores.done(restore)
    shared.call("hosts")
    assert "earlier state" not in capsys.readouterr().out


def test_doctor_needs_no_home_where_the_journal_is_named(
    shared: Shared, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shared.call("doctor")
    said = capsys.readouterr().out
    assert "b1: live, 0 sagas" in said
    assert "home" not in [line.split()[1] for line in said.splitlines() if len(line.split()) > 1]
    monkeypatch.setenv("ANTISTROPHE_JOURNAL", shared.url)
    assert main(["--home", str(shared.home), "doctor"]) == WRONG_USE, "a variable may be meant for the home"
    assert "there is no home" in capsys.readouterr().err
    assert not shared.home.exists()


@pytest.mark.parametrize(
    ("database", "says"),
    [(1_000.0, "agrees"), (996.0, "agrees"), (990.0, "10 s ahead of"), (1_013.0, "11 s behind"), (1_002.0, "agrees")],
)
def test_a_clock_that_is_far_from_the_databases_is_told(database: float, says: str) -> None:
    found = _clock(database, 1_000.0, 1_002.0)
    assert says in found.says
    assert (found.what_to_do is None) == (says == "agrees")


def test_a_host_drains_by_name_or_id_until_it_is_told_otherwise(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shared.call("drain", "a1") == DONE
    assert "a1 takes no more sagas; it has 2 unfinished ones" in capsys.readouterr().out
    renewed = shared.stored.renew(shared.a1.id, HostLoad())
    assert renewed is not None
    assert renewed.draining, "the host is told with its next renewal"
    assert shared.call("drain", shared.a1.id, "--json") == DONE, "once more is the same"
    assert [row["draining"] for row in json.loads(capsys.readouterr().out)["hosts"]] == [True]
    assert shared.call("drain", "a1", "--end") == DONE
    assert capsys.readouterr().out == "a1 takes sagas again\n"
    assert not any(host.draining for host in list_hosts(shared.place).hosts)


def test_two_hosts_of_one_name_drain_together_and_one_of_them_by_its_id(shared: Shared) -> None:
    other = shared.joined("a1")
    assert {host.id for host in drain_host(shared.place, "a1", draining=True)} == {other.id, shared.a1.id}
    assert [host.id for host in drain_host(shared.place, other.id, draining=False)] == [other.id]
    assert {host.id: host.draining for host in list_hosts(shared.place).live if host.name == "a1"} == {
        other.id: False,
        shared.a1.id: True,
    }


@pytest.mark.parametrize("wrong", ["c1", "", "a1\0", "a' OR true --", "%", "a0", "\udcff"])
def test_a_host_that_is_not_there_is_wrong_use_and_the_names_are_told(
    shared: Shared, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shared.call("drain", wrong) == WRONG_USE
    said = capsys.readouterr().err
    assert "there are a1, b1" in said
    assert len(said.splitlines()) == 1
    assert not any(host.draining for host in list_hosts(shared.place).hosts)


def test_the_id_of_a_host_that_has_ended_is_told_as_such(shared: Shared) -> None:
    with pytest.raises(RequestError, match=r"holds no lease any more \(handed over\)"):
        drain_host(shared.place, shared.gone.id, draining=True)


def test_a_journal_in_a_file_is_no_list_of_hosts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["hosts"], ["drain", "a1"]):
        assert main(["--home", str(tmp_path / "home"), *words]) == WRONG_USE
        assert "hosts share a journal in PostgreSQL" in capsys.readouterr().err
    assert not (tmp_path / "home").exists()


def test_a_database_without_a_journal_is_told_and_left_as_it_is(postgres_url: str) -> None:
    place = JournalPlace(url=postgres_url)
    for _ in range(2):
        with pytest.raises(JournalError, match="nothing was stored there yet"):
            drain_host(place, "a1", draining=True)


def test_the_shell_completes_the_names_of_live_hosts(shared: Shared, tmp_path: Path) -> None:
    context = click.Context(drain_verb, obj=Invocation(shared.home, journal_option=shared.url))
    assert host_names(context, drain_verb.params[0], "") == ["a1", "b1"]
    assert host_names(context, drain_verb.params[0], "b") == ["b1"]
    in_a_file = click.Context(drain_verb, obj=Invocation(tmp_path))
    assert host_names(in_a_file, drain_verb.params[0], "") == []


def test_a_line_fits_a_narrow_terminal_and_controls_none() -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    labels = frozenset({"a label with \x1b[2J", *(f"label-{number}" for number in range(20))})
    seen = now - timedelta(seconds=3)
    live = HostRecord("a1-0f", "a1", labels, "1.0", seen, seen + timedelta(seconds=10), False, 12, 3)
    over = HostRecord("b1-0f", "b1", labels, "1.0", seen, seen + timedelta(seconds=1), True, 1, 1)
    drains = HostRecord("c1-0f", "c1", frozenset(), "1.0", seen, seen + timedelta(seconds=10), True, 0, 0)
    ended = HostRecord("d1-0f", "d1", frozenset(), "1.0", seen, seen, True, 0, 9, ended="lapsed")
    lines = [line.plain for line in host_lines([live, over, drains, ended], now, 80)]
    assert all(len(line) <= 80 and line.isprintable() for line in lines)
    states = [line[6:19].strip() for line in lines]
    assert states == ["state", "live", "lease is over", "draining", "lapsed"]
    assert "3 s ago" in lines[1]
