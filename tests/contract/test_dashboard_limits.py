"""Limits on the pages of the dashboard, of a home with a file and of several hosts: who uses them, and who waits."""

from __future__ import annotations

import html
import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.dashboard import limits as limits_module
from antistrophe.dashboard import running_sagas as running_module
from antistrophe.dashboard.limits import limits_now
from antistrophe.dashboard.processes import processes
from antistrophe.dashboard.standing import Standing
from antistrophe.dashboard.stored import StoredHome
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal import Journal, present_numbers
from antistrophe.launcher.control_protocol import PROTOCOL, Ready, pack_settings
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.scheduling.permits import key_of_class, key_of_name
from antistrophe.settings import Settings
from tests.contract import journal_sagas as sagas
from tests.contract.dashboard_home import HOSTILE, journal_of, viewer
from tests.contract.shared_limits import CLASS, NAME, Shared, shared_limits

TURN = "its turn: max_concurrent lets 1 of those called 'import' run at the same time"


def limited(saga_id: str, name: str = "transfer", most: int | None = None, rate: float | None = None) -> SagaAccepted:
    """A saga whose name has the limit ``most``, and whose step classes have the rate."""
    begun = sagas.accepted(saga_id, name)
    steps = tuple(replace(step, max_concurrent=2, max_per_second=rate) for step in begun.spec.steps)
    return replace(begun, spec=replace(begun.spec, max_concurrent=most, steps=steps if rate else begun.spec.steps))


def add(journal: Journal, first: SagaAccepted, *entries: Entry) -> None:
    sagas.append(journal, first.spec.id, first, *entries)


def text_of(page: str) -> str:
    """What a page says, without its elements."""
    return re.sub(r" (?=[:.,])", "", " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split()))


def rows_of(page: str) -> list[str]:
    """What each row of the table of limits says."""
    tables = re.findall(r'<table class="list limits">.*?</table>', page, re.DOTALL)
    return [text_of(row) for table in tables for row in re.findall(r"<tr>.*?</tr>", table, re.DOTALL)[1:]]


@pytest.fixture(autouse=True)
def patience(slow_server: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine reads slowly."""
    monkeypatch.setattr(running_module, "READING_S", 60.0)


@pytest.fixture
def works(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system of the home seems to run."""
    standing = Standing("system runs", "good", works=True)
    monkeypatch.setattr(StoredHome, "known_standing", property(lambda _self: standing))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with journal_of(tmp_path / "home") as journal:
        add(journal, limited("first", "import", 1), sagas.started(0))
        add(journal, limited("second", "import", 1), sagas.waits(TURN))
        add(journal, limited("third", "import", 1), sagas.waits(TURN))
        add(journal, limited("calls", rate=0.01), sagas.started(0))
        add(journal, limited("would", rate=0.01))
        add(journal, limited("turned", rate=0.01), sagas.started(0), sagas.succeeded(0))
        add(journal, limited("free"), sagas.started(0))
    return tmp_path / "home"


@pytest.mark.usefixtures("works")
def test_a_home_shows_which_sagas_use_a_limit_and_which_wait(home: Path) -> None:
    page = viewer(home).get("/limits").text
    by_name = {row.split(" ")[2]: row for row in rows_of(page)}
    assert by_name.keys() == {"import", "tests.no_such_module:Debit", "tests.no_such_module:Credit"}
    assert re.fullmatch(r"saga name import 1 at a time 1 of 1 full first .* second .* third .*", by_name["import"])
    debit = by_name["tests.no_such_module:Debit"]
    assert re.fullmatch(r"step class \S+ 2 at a time 1 every 1 min 40 s 1 of 2 calls .* would .* now", debit)
    assert "turned" in by_name["tests.no_such_module:Credit"]
    assert 'href="/sagas/first"' in page


@pytest.mark.usefixtures("works")
def test_the_page_of_a_saga_that_waits_says_who_has_the_permits(home: Path) -> None:
    (row,) = rows_of(viewer(home).get("/sagas/second").text)
    assert re.fullmatch(r"saga name import 1 at a time 1 of 1 full first .* second .* third .*", row)
    assert rows_of(viewer(home).get("/sagas/first").text) == [], "it runs"
    assert "Limits that somebody waits for" in viewer(home).get("/").text


def test_where_no_system_runs_nothing_is_at_work_under_a_limit(home: Path) -> None:
    row = next(row for row in rows_of(viewer(home).get("/limits").text) if "import" in row)
    assert "0 of 1 second" in row


@pytest.mark.usefixtures("works")
def test_the_next_start_of_a_rate_is_told_from_the_last_one(tmp_path: Path) -> None:
    ahead_s = time.time() - sagas.START - 1
    with journal_of(tmp_path / "home") as journal:
        began: dict[str, tuple[Entry, ...]] = {"calls": (sagas.started(0),), "would": ()}
        for saga_id, entries in began.items():
            first = limited(saga_id, rate=0.01)
            view = metadata_of(replay((first, *entries)))
            journal.append(saga_id, expected_seq=0, entries=(first, *entries), row=view, ahead_s=ahead_s)
    (row,) = rows_of(viewer(tmp_path / "home").get("/limits").text)
    assert re.search(r"would .* in 1 min( \d+ s)?$", row), row


@pytest.mark.usefixtures("works")
def test_a_saga_is_read_again_only_where_it_has_gone_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    stored = StoredHome(home)
    unpatched = running_module.RunningSagas._read

    def counted(self: running_module.RunningSagas, look: object, saga_id: str, *rest: object) -> object:
        read.append(saga_id)
        return unpatched(self, look, saga_id, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(running_module.RunningSagas, "_read", counted)
    with stored.look() as look:
        assert len(stored.running_sagas(look)[0]) == len(read) == 7
        assert len(stored.running_sagas(look)[0]) == len(read) == 7
    with journal_of(home) as journal:
        sagas.append(journal, "second", sagas.started(0))
    with stored.look() as look:
        used = {limit.name: limit.used for limit in limits_now(stored, look).shown}
        assert (used["import"], read[7:]) == (2, ["second"])
    monkeypatch.setattr(running_module, "READING_S", -1.0)
    late = StoredHome(home)
    with late.look() as look:
        assert limits_now(late, look).unread == 7
    assert "Of 7 running sagas it was not read yet" in text_of(viewer(home).get("/limits").text)


@pytest.mark.usefixtures("works")
def test_more_sagas_run_than_are_looked_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present_numbers, "LOOKED_AT", 2)
    (row,) = rows_of(viewer(home).get("/limits").text)
    assert row.startswith("saga name import 1 at a time 1 of 1 full first")


@pytest.mark.usefixtures("works")
def test_thousands_of_limits_are_a_bounded_page_and_each_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits_module, "MOST_LIMITS", 3)
    with journal_of(tmp_path / "home") as journal:
        for number in range(8):
            add(journal, limited(f"s{number}", f"name-{number}", 1), sagas.waits(TURN))
    client = viewer(tmp_path / "home")
    page = client.get("/limits").text
    assert len(rows_of(page)) == 3
    assert "5 more: look for them" in text_of(page)
    (row,) = rows_of(client.get("/limits?text=NAME-7").text)
    assert "name-7" in row
    assert "No limit with “ nothing ” in its name" in text_of(client.get("/limits?text=nothing").text)
    assert client.get(f"/limits?text={'x' * 3_000}").status_code == 400


def test_where_there_is_no_limit_the_page_says_so(tmp_path: Path) -> None:
    with journal_of(tmp_path / "home") as journal:
        sagas.run(journal, "done", *sagas.FORWARD)
    client = viewer(tmp_path / "home")
    assert "No limit is in use, and nobody waits for one." in text_of(client.get("/limits").text)
    assert "there are no hosts" in text_of(client.get("/hosts").text)
    page = client.get("/").text
    assert "Limits that somebody waits for" not in page
    assert 'href="/hosts"' not in page
    assert "there is no home at" in viewer(tmp_path / "none").get("/limits").text


@pytest.mark.usefixtures("works")
@pytest.mark.parametrize("name", [HOSTILE, "\u202e\u05d0\u05d1", "x" * 5_000, "<b>", "a\x00b"])
def test_a_strange_name_is_text(tmp_path: Path, name: str) -> None:
    with journal_of(tmp_path / "home") as journal:
        add(journal, limited("one", name, 1), sagas.started(0))
    page = viewer(tmp_path / "home").get("/limits").text
    assert "1 of 1 full" in rows_of(page)[0]
    assert len(page) < 20_000
    for never in ("<script>alert", "<b>", "\x00", "\u202e", "\x1b"):
        assert never not in page


# --- several hosts ------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(empty_postgres: str, tmp_path: Path) -> Iterator[Shared]:
    with shared_limits(empty_postgres, tmp_path / "no-home") as made:
        yield made


def test_hosts_are_named_that_use_a_limit_and_that_wait(shared: Shared) -> None:
    shared.settle("b1", CLASS, starts=3, rate=0.01)
    shared.settle("b1", CLASS, starts=3, rate=0.01)
    client = viewer(shared.home, journal=shared.url)
    of_name, of_class = rows_of(client.get("/limits").text)
    assert re.fullmatch(r"saga name import 1 at a time 1 of 1 full a1: 1 b1: 1 more \d+ s", of_name)
    assert re.fullmatch(r"step class \S+:Debit 1 every 1 min 40 s b1: \d starts \d+ s in 1 min( \d+ s)?", of_class)
    assert len(rows_of(client.get("/").text)) == 2
    assert rows_of(client.get("/limits?text=a%00b").text) == []
    (found,) = rows_of(client.get("/limits?text=DEBIT").text)
    assert found.startswith("step class")


def test_the_page_of_a_saga_names_the_hosts_that_have_its_permits(shared: Shared) -> None:
    sagas.append(shared.journal, "s", limited("s", "import", 1), sagas.waits(TURN))
    sagas.append(shared.journal, "other", limited("other"), sagas.waits("its turn: max_running_sagas lets 1 run"))
    client = viewer(shared.home, journal=shared.url)
    page = client.get("/sagas/s").text
    (row,) = rows_of(page)
    assert "1 of 1 full a1: 1 b1: 1 more" in row
    assert "No actor system runs" not in page, "two hosts do"
    assert rows_of(client.get("/sagas/other").text) == []
    assert "An order goes through the system of this home, and none ran here" in page, "the hosts are elsewhere"
    assert "there is no saga 'no' in postgresql:" in html.unescape(client.get("/logs?id=no").text)


def test_the_hosts_are_listed_with_what_is_wrong_among_them(shared: Shared) -> None:
    client = viewer(shared.home, journal=shared.url)
    assert "2 hosts" in text_of(client.get("/hosts").text)
    shared.database.execute("UPDATE antistrophe.hosts SET seen_at = seen_at - interval '1 hour' WHERE name = 'a1'")
    StoredHosts(shared.database).hand_over(shared.joined("c1"))
    text = text_of(viewer(shared.home, journal=shared.url).get("/hosts").text)
    assert "The lease of host a1 is over." in text
    assert re.search(r"a1 lease is over 0 0 1 h ago .* b1 live 0 0 .* c1 handed over 0 \d+ s ago", text)
    assert "1 host " in text
    overview = text_of(viewer(shared.home, journal=shared.url).get("/").text)
    assert "The lease of host a1 is over" in overview


def test_no_host_is_told_where_sagas_wait_for_one(shared: Shared) -> None:
    sagas.append(shared.journal, "s", limited("s"))
    client = viewer(shared.home, journal=shared.url)
    assert "No host is there" not in client.get("/").text
    for host in shared.hosts.values():
        StoredHosts(shared.database).hand_over(host)
    page = viewer(shared.home, journal=shared.url).get("/").text
    assert "No host is there" in page
    assert "1 unfinished saga goes on when a host is started" in text_of(page)
    assert 'class="pill off"' in page


def test_a_host_that_has_waited_for_long_needs_a_person(shared: Shared) -> None:
    shared.database.execute("UPDATE antistrophe.permits SET since = since - interval '10 minutes'")
    text = text_of(viewer(shared.home, journal=shared.url).get("/").text)
    assert "Host b1 waits for the limit of saga name import" in text
    assert "or let more be at work at once 10 min" in text


def test_a_database_that_is_away_is_told_and_the_page_stays(
    tmp_path: Path,
) -> None:
    client = viewer(tmp_path, journal=f"postgresql:///nothing?host={tmp_path}")
    for path in ("/limits", "/hosts", "/"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "The journal can't be read." in answer.text
        assert "hosts not known" in answer.text


def test_a_page_of_several_hosts_asks_in_a_few_questions(shared: Shared) -> None:
    keys = [key_of_class(f"m:Step{number}") for number in range(20)]
    for key in keys:
        shared.settle("a1", key, starts=9, rate=0.01)
    stored = StoredHome(shared.home, shared.url)
    with stored.look() as look:
        assert len(limits_now(stored, look, keys).shown) == 20
        assert limits_now(stored, look, ()).shown == ()
        few = limits_now(stored, look, most=2)
        assert (len(few.shown), few.number) == (2, 21)
        assert few.shown[0].name == key_of_name("import").partition(":")[2] == NAME.partition(":")[2]


def test_a_process_of_another_host_is_not_taken_for_one_of_this_home(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two machines may have processes of one number."""
    attempt = sagas.started(0)
    here = replace(attempt, lease=replace(attempt.lease, pid=os.getpid()))
    sagas.append(shared.journal, "s", limited("s"), here)
    shared.database.execute("UPDATE antistrophe.sagas SET host = ? WHERE id = 's'", (shared.hosts["b1"],))
    monkeypatch.setattr("antistrophe.dashboard.processes.processes_of_home", lambda _home: [os.getpid()])
    stored = StoredHome(shared.home, shared.url)
    with stored.look() as look:
        running = [
            replace(saga, work=replace(saga.work, host="b1")) for saga in stored.running_sagas(look)[0] if saga.work
        ]
    for host, number in (("a1", 0), ("b1", 1)):
        system = Ready(PROTOCOL, 1, "", 0, 0, 0, 0, pack_settings(Settings(host_name=host)))
        monkeypatch.setattr("antistrophe.dashboard.processes._asked", lambda _state: ())
        (process,) = processes(shared.home, running, system)
        assert len(process.work) == number
    (alone,) = processes(shared.home, running, None)
    assert alone.work == []
    assert "each host keeps what its own steps" in text_of(
        viewer(shared.home, journal=shared.url).get("/logs?id=s").text
    )
