"""The pages of the dashboard, on a home whose system does not run: what they show, and that text stays text."""

from __future__ import annotations

import html
import re
import shutil
import time
from html.parser import HTMLParser
from pathlib import Path
from unittest.mock import Mock
from urllib.parse import quote

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from antistrophe.dashboard import app
from antistrophe.dashboard import stored as stored_module
from antistrophe.dashboard.addresses import saga_path
from antistrophe.dashboard.live import event
from antistrophe.dashboard.rendering import environment
from antistrophe.dashboard.stored import StoredHome
from antistrophe.dashboard.views import VIEWS, values_of
from antistrophe.errors import RequestError
from antistrophe.journal import growth, journal_path, open_store, statistics_follower
from antistrophe.linux.termination import processes_of_home
from antistrophe.logs.attempt_output import AttemptOutput
from antistrophe.logs.step_log import StepLog
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from tests.contract import journal_sagas as sagas
from tests.contract.dashboard_home import HOSTILE, fill, hostile_entries, journal_of, viewer

LONG = "?text=" + "x" * 3_000
PAGES = ("/", "/sagas", "/steps", "/limits", "/processes", "/bulk?order=cancel", "/login")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("dashboard") / "home"
    fill(made)
    return made


class _Parsed(HTMLParser):
    """The elements of a page and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def listed(home: Path, query: str = "") -> list[str]:
    """The ids of a list, in its order."""
    answer = viewer(home).get(f"/sagas{query}")
    assert answer.status_code == 200, answer.text
    return [html.unescape(each) for each in re.findall(r'class="id"><a href="[^"]*">(.*?)</a>', answer.text)]


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_there_and_starts_no_system(home: Path, path: str) -> None:
    answer = viewer(home).get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert processes_of_home(home) == []


@pytest.mark.parametrize("path", [*PAGES, "/sagas/stuck", "/nowhere"])
def test_nothing_in_a_page_comes_from_another_host_or_is_a_script_in_it(home: Path, path: str) -> None:
    page = _Parsed(viewer(home).get(path).text)
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "srcdoc")], (
            tag,
            attributes,
        )
        assert tag not in ("style", "iframe", "object", "base")
        assert tag != "script" or (attributes.get("src") or "").startswith("/static/")
        for name in ("href", "src", "action"):
            assert (attributes.get(name) or "/").startswith(("/", "#"))


@pytest.mark.parametrize("view", ["overview", "sagas", "steps"])
def test_a_page_opens_the_journal_once(home: Path, view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made anew each second for whoever looks."""
    opening = Mock(side_effect=open_store)
    for module in (stored_module, growth, statistics_follower):
        monkeypatch.setattr(module, "open_store", opening)
    assert values_of(view, StoredHome(home), {})["journal_problem"] is None
    assert opening.call_count == 1


def test_the_overview_shows_what_needs_a_person_first(home: Path) -> None:
    page = viewer(home).get("/").text
    text = _Parsed(page).text
    assert text.index("No actor system runs") < text.index("stuck is parked") < text.index("waits waits")
    assert "the undo of Debit failed: ValueError: no money" in text
    assert "module shop can't be imported: no such file" in text
    assert re.search(r'class="number">1</span><span class="word">failed: parked', page)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["waits", "runs", "back", "stuck", "undone", "done"]),
        ("?status=failed", ["stuck"]),
        ("?name=order", ["done"]),
        ("?text=tuc", ["stuck"]),
        ("?step=Credit&status=executing", ["waits", "runs"]),
        ("?step=Nothing", []),
        ("?waiting=1", ["waits"]),
        ("?why=IMPORTED", ["waits"]),
        ("?why=nothing", []),
        ("?doubt=1", []),
        ("?retrying=1", []),
        ("?older=1d", ["waits", "runs", "back", "stuck", "undone", "done"]),
        ("?older=40000d", []),
        ("?older=900000d", []),
        ("?status=completed&waiting=1", []),
    ],
)
def test_a_list_shows_the_sagas_that_were_chosen(home: Path, query: str, found: list[str]) -> None:
    assert listed(home, query) == found


@pytest.mark.parametrize(
    "query", ["?status=nonsense", "?older=soon", "?cursor=nonsense", "?older=9999999999999d", LONG]
)
def test_a_choice_that_makes_no_sense_says_so(home: Path, query: str) -> None:
    answer = viewer(home).get(f"/sagas{query}")
    assert answer.status_code == 400
    assert (
        "choose" in answer.text
        or "write days" in answer.text
        or "cursor" in answer.text
        or "too long" in answer.text
        or "may have" in answer.text
    )


def test_a_list_goes_on_where_the_page_before_has_ended(tmp_path: Path) -> None:
    with journal_of(tmp_path / "home") as journal:
        for number in range(120):
            sagas.append(journal, f"saga-{number:03}", sagas.accepted(f"saga-{number:03}"))
    seen: list[str] = []
    query = "?status=executing"
    for _ in range(3):
        page = viewer(tmp_path / "home").get(f"/sagas{query}").text
        seen += re.findall(r'class="id"><a href="[^"]*">(.*?)</a>', page)
        following = re.search(r'rel="next" href="/sagas(\?[^"]*)"', page)
        query = html.unescape(following[1]) if following else ""
    assert seen == [f"saga-{number:03}" for number in reversed(range(120))]
    assert query == ""


def test_a_sagas_page_tells_all_of_it(home: Path) -> None:
    page = viewer(home).get("/sagas/stuck")
    text = _Parsed(page.text).text
    assert page.status_code == 200
    for said in (
        "The saga is parked",
        "The undo of Debit",
        "Credit failed: ValueError: no money.",
        "the undo of Debit (it took effect); given up after it failed once",
        "antistrophe retry stuck",
        '"amount": 7',
        '"paid": true',
        "journal.debited",
        "tests.no_such_module:Debit",
        "CompensationGivenUp",
    ):
        assert said in text, said
    assert "<svg" in page.text
    assert 'data-orders="retry resolve"' in page.text


IDS = ["a/b", "a/b/cancel", "/", "..", ".", "a/../b", "ünï ❤", "q?x=1#y", "50%", " ", "a\nb", "+&=;", "live", 'x"><b>']


@pytest.fixture(scope="module")
def odd_ids(tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """Somebody who looks at a home whose sagas have odd ids."""
    made = tmp_path_factory.mktemp("odd") / "home"
    with journal_of(made) as journal:
        for saga_id in IDS:
            sagas.append(journal, saga_id, sagas.accepted(saga_id))
    return viewer(made)


def test_the_list_leads_to_any_id(odd_ids: TestClient) -> None:
    links = re.findall(r'class="id"><a href="([^"]*)">', odd_ids.get("/sagas").text)
    assert [html.unescape(link) for link in links] == [*map(saga_path, reversed(IDS))]


@pytest.mark.parametrize("saga_id", IDS)
def test_any_id_has_a_page(odd_ids: TestClient, saga_id: str) -> None:
    for answer in (odd_ids.get(saga_path(saga_id)), odd_ids.get("/saga", params={"id": saga_id})):
        assert answer.status_code == 200, answer.text
        assert (
            f"<title>{html.escape(saga_id, quote=True).replace('&#x27;', '&#39;').replace('&quot;', '&#34;')} –"
            in answer.text
        )


@pytest.mark.parametrize("path", ["/", "/sagas", "/sagas/hostile", "/bulk?order=retry", "/steps"])
def test_a_hostile_text_is_shown_as_text_in_every_field(tmp_path: Path, path: str) -> None:
    with journal_of(tmp_path / "home") as journal:
        sagas.append(journal, "hostile", *hostile_entries("hostile"))
    page = viewer(tmp_path / "home").get(path).text
    parsed = _Parsed(page)
    assert sum(tag == "script" for tag, _ in parsed.elements) == page.count("/static/") - 4
    assert "<script>alert" not in page
    for control in ("\x1b", "\x00", "\u202e"):
        assert control not in page
    if path != "/steps":
        assert "<script>alert('x')</script>" in parsed.text


def test_a_hostile_id_is_text_wherever_it_stands(tmp_path: Path) -> None:
    hostile = HOSTILE.replace("\x00", "")
    with journal_of(tmp_path / "home") as journal:
        sagas.append(journal, hostile, *hostile_entries(hostile))
    for path in ("/", "/sagas", f"/sagas/{quote(hostile, safe='')}", "/bulk?order=retry"):
        answer = viewer(tmp_path / "home").get(path)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text
        assert "\x1b" not in answer.text


def test_a_saga_that_is_not_there_says_so(home: Path) -> None:
    answer = viewer(home).get("/sagas/nobody")
    assert answer.status_code == 404
    assert "there is no saga" in html.unescape(answer.text)
    assert viewer(home).get("/nowhere").status_code == 404
    assert viewer(home).get("/static/../__init__.py").status_code == 404


def test_a_home_without_a_journal_is_told_and_comes_later(tmp_path: Path) -> None:
    client = viewer(tmp_path / "home")
    for path in ("/", "/steps", "/processes"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "there is no home at" in answer.text
    assert client.get("/sagas").status_code == 503
    assert not (tmp_path / "home").exists()
    fill(tmp_path / "home")
    assert "stuck is parked" in client.get("/").text


def test_a_journal_that_is_garbage_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home)
    journal_path(home).write_bytes(garbage := b"no database" * 200)
    answer = viewer(home).get("/")
    assert "is not a SQLite database" in answer.text
    assert viewer(home).get("/sagas/done").status_code == 503
    assert journal_path(home).read_bytes() == garbage


def test_another_file_under_the_journals_name_is_what_is_shown_then(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home)
    client = viewer(home)
    assert "stuck is parked" in client.get("/").text
    shutil.rmtree(home)
    with journal_of(home) as journal:
        sagas.run(journal, "other", *sagas.FORWARD)
    page = client.get("/").text
    assert "stuck" not in page
    assert re.search(r's-completed" href="[^"]*"><span class="number">1<', page)


def test_a_saga_too_large_for_a_page_shows_its_steps_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("antistrophe.dashboard.saga_page.MOST_BYTES", 100)
    answer = viewer(home).get("/sagas/stuck")
    assert answer.status_code == 200
    assert "too many for a page" in answer.text
    assert "compensation failed" in answer.text


def test_entries_that_make_no_sense_hide_the_story_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nonsense(*_: object) -> None:
        raise LookupError("no such step")

    monkeypatch.setattr("antistrophe.dashboard.saga_page.timeline_of", nonsense)
    answer = viewer(home).get("/sagas/stuck")
    assert answer.status_code == 200
    assert "make no sense" in answer.text
    assert "compensation failed" in answer.text


def test_a_live_page_that_can_not_be_made_says_so_and_hides_no_other(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = viewer(home).app.state.site  # type: ignore[attr-defined]
    assert "stuck is parked" in site._live_html("view=overview")
    assert "there is no saga" in site._live_html("view=saga&id=nobody")
    monkeypatch.setitem(VIEWS, "steps", lambda *_: 1 / 0)
    assert "this is a bug in antistrophe" in site._live_html("view=steps")
    assert "ZeroDivisionError" in caplog.text


def test_below_another_path_every_link_stays_there(home: Path) -> None:
    mounted = TestClient(Starlette(routes=[Mount("/ops/board", app(home))]), base_url="http://127.0.0.1")
    for path in ("/", "/sagas", "/sagas/stuck", "/steps"):
        parsed = _Parsed(mounted.get(f"/ops/board{path}").text)
        links = [
            attributes[name]
            for _, attributes in parsed.elements
            for name in ("href", "src", "action")
            if name in attributes
        ]
        assert not [link for link in links if link and not link.startswith(("/ops/board/", "#"))]
    assert mounted.get("/ops/board/static/style.css").status_code == 200


def test_metrics_are_served_where_their_extra_is_and_told_where_it_is_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = viewer(home)
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "antistrophe_up 0.0" in answer.text
    assert client.get("/metrics").status_code == 200
    monkeypatch.setattr("antistrophe.dashboard.site.collector", _not_installed)
    missing = viewer(home).get("/metrics")
    assert (missing.status_code, "antistrophe[metrics]" in missing.text) == (404, True)


def _not_installed(_home: Path, **_options: object) -> None:
    raise RequestError("pip install 'antistrophe[metrics]'")


def test_a_sagas_logs_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home)
    written = StepLog(home, 1 << 20)
    for text in ("reserving", HOSTILE):
        output = AttemptOutput(written.append, 1 << 20, "stuck", "Debit", "execute", 1)
        output.log("INFO", "log", "steps", text)
    client = viewer(home)
    for path in ("/logs?id=stuck", "/logs?id=stuck&part=1"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "reserving" in answer.text
        assert "<script>alert" not in answer.text
        assert "\x1b" not in answer.text
    assert "logged and printed nothing" in client.get("/logs?id=done").text
    assert client.get("/logs?id=nobody").status_code == 404


def test_an_event_has_its_lines_whatever_the_text_is() -> None:
    assert event("view", "a\r\nb\rc\nevent: x\n\ndata: y") == (
        "event: view\ndata: a\ndata: b\ndata: c\ndata: event: x\ndata: \ndata: data: y\n\n"
    )


def test_the_last_hour_is_read_from_the_file(tmp_path: Path) -> None:
    ahead_s = time.time() - 600 - sagas.START
    entries = (sagas.accepted("late"), *(entry for part in sagas.FORWARD for entry in part))
    with journal_of(tmp_path / "home") as journal:
        sagas.run(journal, "years-ago", *sagas.FORWARD)
        row = metadata_of(replay(entries))
        journal.append("late", expected_seq=0, entries=entries, row=row, ahead_s=ahead_s)
    series = viewer(tmp_path / "home").get("/series.json").json()
    assert {len(series[name]) for name in ("at", "rate", "p50", "p95")} == {60}
    assert [round(rate * 60) for rate in series["rate"] if rate] == [1]
    assert [took for took in series["p50"] if took is not None] == [4.0]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("try `retry` or `resolve` it", "try <code>retry</code> or <code>resolve</code> it"),
        ("a lone ` stays", "a lone ` stays"),
        ("`<b>` and <i>", "<code>&lt;b&gt;</code> and &lt;i&gt;"),
        ("`a` and `b", "<code>a</code> and `b"),
    ],
)
def test_what_stands_between_backticks_is_code_and_nothing_else_is_markup(text: str, html: str) -> None:
    assert environment().from_string("{{ text | with_code }}").render(text=text) == html


def test_who_waits_for_a_person_is_found_behind_any_number_that_wait_for_their_turn(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with journal_of(home) as journal:
        sagas.run(journal, "works", *sagas.FORWARD[:1])
        sagas.run(journal, "held-up", (sagas.waits("module shop can't be imported"),))
        for number in range(30):
            sagas.run(journal, f"turn-{number}", (sagas.waits("its turn: max_running_sagas lets 2 run"),))
    text = _Parsed(viewer(home).get("/").text).text
    attention, _, running = text.partition("Running now")
    assert "held-up waits" in attention
    assert "its turn" not in attention, "that comes by itself"
    assert running.index("works") < running.index("turn-29")
    assert "turn-1 " not in running


def test_where_the_journal_can_not_be_read_no_number_is_shown(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home)
    journal_path(home).write_bytes(b"no database" * 200)
    for path in ("/", "/steps", "/limits?text=abc"):
        text = _Parsed(viewer(home).get(path).text).text
        assert "can't be read" in text
        for said in ("Nothing needs a person", "No step was tried", "No limit is in use", "executing"):
            assert said not in text, path
    assert 'value="abc"' in viewer(home).get("/limits?text=abc").text
