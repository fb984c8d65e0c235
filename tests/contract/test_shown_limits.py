"""Limits over all hosts as people see them: who uses them, who waits for them, and which of them holds a saga up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe.cli import main
from antistrophe.cli.exit_codes import DONE
from antistrophe.hosts.description import HostLoad, new_description
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.journal import StoredJournal, open_journal
from antistrophe.scheduling.permits import PermitNeed, key_of_class, key_of_name
from antistrophe.storage.postgres import PostgresDatabase, open_postgres
from tests.contract.journal_sagas import FORWARD, accepted, append, succeeded, waits

NAME, CLASS = key_of_name("import"), key_of_class("tests.no_such_module:Debit")
WHO = "sagas called 'import': 1 of 1 permits are out (a1: 1); b1 has waited 0 s for 1 more"


class Shared:
    """A journal in PostgreSQL, and two live hosts: one uses the limit of a name, the other one waits for it."""

    def __init__(self, url: str, home: Path, database: PostgresDatabase, journal: StoredJournal) -> None:
        self.url = url
        self.home = home
        self.database = database
        self.journal = journal
        self.hosts = {name: self.joined(name) for name in ("a1", "b1")}
        self.settle("a1", NAME, want=1)
        self.settle("b1", NAME, want=1)

    def joined(self, name: str) -> str:
        host = new_description(name, (), "1.0", 10.0)
        assert StoredHosts(self.database).register(host, HostLoad())
        return host.id

    def settle(self, host: str, key: str, want: int = 0, starts: int = 0, rate: float | None = None) -> None:
        most = 1 if key == NAME else None
        need = PermitNeed(key, 0, want, most, starts, rate)
        (serial,) = self.database.row("SELECT count(*) + 1 + coalesce(max(serial), 0) FROM antistrophe.permits")
        StoredPermits(self.database).settle(self.hosts[host], serial, [need])

    def call(self, capsys: pytest.CaptureFixture[str], *words: str) -> str:
        assert main(["--home", str(self.home), "--journal", self.url, *words]) == DONE
        return capsys.readouterr().out

    def ask(self, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
        return json.loads(self.call(capsys, *words, "--json"))


@pytest.fixture
def shared(empty_postgres: str, tmp_path: Path) -> Iterator[Shared]:
    with closing(open_postgres(empty_postgres)) as database, closing(open_journal(empty_postgres)) as journal:
        yield Shared(empty_postgres, tmp_path / "no-home", database, journal)


def test_the_list_of_hosts_tells_who_uses_a_limit_and_who_waits_for_it(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.settle("b1", CLASS, starts=3, rate=0.5)
    said = shared.call(capsys, "hosts")
    assert f"Limits over all hosts\nsagas called 'import': {WHO.partition(': ')[2]}\n" in said
    assert "attempts of tests.no_such_module:Debit: at most 0.5 start in a second; b1 has waited" in said
    limits = {each["key"]: each for each in shared.ask(capsys, "hosts")["limits"]}
    assert limits.keys() == {NAME, CLASS}
    of_name = limits[NAME]
    assert (of_name["most"], of_name["per_second"], of_name["held"]) == (1, None, 1)
    assert [(share["name"], share["host"], share["held"], share["wanted"]) for share in of_name["shares"]] == [
        ("b1", shared.hosts["b1"], 0, 1),
        ("a1", shared.hosts["a1"], 1, 0),
    ]
    assert of_name["oldest"] == of_name["shares"][0]["since"] is not None
    assert of_name["shares"][1]["since"] is None
    assert limits[CLASS]["shares"][0]["starts"] > 0


def test_who_has_asked_no_more_waits_no_more_and_who_is_gone_has_nothing(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    shared.database.execute("UPDATE antistrophe.permits SET until = until - interval '1 hour'")
    (limit,) = shared.ask(capsys, "hosts")["limits"]
    assert [(share["name"], share["since"]) for share in limit["shares"]] == [("a1", None)]
    assert limit["oldest"] is None
    StoredHosts(shared.database).hand_over(shared.hosts["a1"])
    assert shared.ask(capsys, "hosts")["limits"] == []
    assert "Limits over all hosts" not in shared.call(capsys, "hosts")


def test_doctor_tells_a_host_that_has_waited_for_long(shared: Shared, capsys: pytest.CaptureFixture[str]) -> None:
    def found() -> list[tuple[str, str]]:
        findings = shared.ask(capsys, "doctor")["findings"]
        return [(each["health"], each["says"]) for each in findings if each["subject"] == "limit"]

    assert found() == [("well", WHO)]
    shared.database.execute(
        "UPDATE antistrophe.permits SET since = since - interval '10 minutes', until = until + interval '1 minute'"
    )
    assert found() == [("note", WHO.replace("0 s", "10 min"))]


def test_a_saga_that_waits_names_the_limit_and_who_has_its_permits(
    shared: Shared, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = accepted("s", "import")
    steps = tuple(replace(step, max_per_second=0.5) for step in begun.spec.steps)
    begun = replace(begun, spec=replace(begun.spec, max_concurrent=1, steps=steps))
    append(shared.journal, "s", begun, waits("its turn: max_concurrent lets 1 of those called 'import' run"))
    append(shared.journal, "other", accepted("other"), waits("its turn: max_running_sagas lets 1 run"))
    for verb in ("show", "explain"):
        said = " ".join(shared.call(capsys, verb, "s").split())
        assert WHO.replace(" 0 s", "") in said.replace(" 0 s", "")
        assert [each["key"] for each in shared.ask(capsys, verb, "s")["limits"]] == [NAME]
        shared.settle("b1", CLASS, starts=1, rate=0.5)
        assert {each["key"] for each in shared.ask(capsys, verb, "s")["limits"]} == {NAME}, "a start that it has got"
        shared.settle("b1", CLASS, starts=9, rate=0.5)
        assert [each["key"] for each in shared.ask(capsys, verb, "s")["limits"]] == [NAME, CLASS]
        shared.database.execute("DELETE FROM antistrophe.permits WHERE key = ?", (CLASS,))
        shared.database.execute("DELETE FROM antistrophe.limits WHERE key = ?", (CLASS,))
        assert shared.ask(capsys, verb, "other")["limits"] == [], "it has none"
    append(shared.journal, "s", FORWARD[0][0])
    assert shared.ask(capsys, "show", "s")["limits"] == [], "it runs"
    append(shared.journal, "s", succeeded(0))
    assert shared.ask(capsys, "show", "s")["limits"] != []


def test_a_key_that_is_kept_by_its_digest_is_found(shared: Shared) -> None:
    long = key_of_class("m:" + "A" * 1_000)
    shared.settle("a1", long, starts=9, rate=1.0)
    (limit,) = StoredPermits(shared.database).limits([long])
    assert limit.key.startswith("step:sha256:")
