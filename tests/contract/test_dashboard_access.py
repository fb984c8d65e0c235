"""Who may see the dashboard, and whose orders count: tokens, cookies, forms, hosts and headers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from antistrophe.dashboard import app, orders
from antistrophe.dashboard.access import Access
from antistrophe.dashboard.addresses import order_path
from antistrophe.dashboard.application import application
from antistrophe.dashboard.orders import Order
from antistrophe.errors import RequestError, SystemUnavailableError
from antistrophe.launcher.control_protocol import PROTOCOL, Ready
from antistrophe.linux.termination import processes_of_home
from tests.contract.dashboard_home import fill, viewer

TOKEN = "a secret of this test"
POSTS = ("/sagas/runs/cancel", "/sagas/stuck/retry", "/sagas/stuck/resolve", "/bulk", "/logout")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("access") / "home"
    fill(made)
    return made


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Order]]:
    """The orders that were given; none reaches a system."""
    found: list[tuple[str, Order]] = []

    def give(_home: Path, saga_id: str, order: Order) -> bool:
        order.asked()
        found.append((saga_id, order))
        return True

    monkeypatch.setattr("antistrophe.dashboard.application.give", give)
    monkeypatch.setattr(
        "antistrophe.dashboard.application.give_all",
        lambda at, ids, order: [(each, "ordered") for each in ids if give(at, each, order)],
    )
    return found


def form_token(client: TestClient, path: str = "/sagas/runs") -> str:
    (token,) = set(re.findall(r'name="csrf_token" value="(\w+)"', client.get(path).text))
    return str(token)


@pytest.mark.parametrize("path", POSTS)
def test_a_bare_post_is_refused(home: Path, given: list[tuple[str, Order]], path: str) -> None:
    client = viewer(home)
    for sent in ({}, {"csrf_token": ""}, {"csrf_token": "0" * 64}):
        assert client.post(path, data={**sent, "note": "x"}).status_code == 403
    client.get("/")  # a cookie alone does not do
    assert client.post(path, data={"note": "x"}).status_code == 403
    assert not given


def test_an_order_with_the_token_of_the_page_is_given_once(home: Path, given: list[tuple[str, Order]]) -> None:
    client = viewer(home)
    sent = {"csrf_token": form_token(client), "note": " because "}
    answer = client.post("/sagas/runs/cancel", data=sent, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sagas/runs?done=cancel")
    assert [(saga_id, order.kind, order.note) for saga_id, order in given] == [("runs", "cancel", "because")]
    assert "The order is journaled" in client.get(answer.headers["location"]).text


@pytest.mark.parametrize("saga_id", ["a/b", "..", "x/cancel", "ü"])
def test_an_order_reaches_any_id(home: Path, given: list[tuple[str, Order]], saga_id: str) -> None:
    client = viewer(home)
    client.post(order_path(saga_id, "cancel"), data={"csrf_token": form_token(client)}, follow_redirects=False)
    assert [each for each, _ in given] == [saga_id]


def test_the_token_of_one_browser_does_not_do_for_another(home: Path, given: list[tuple[str, Order]]) -> None:
    made = app(home)
    first, second = (TestClient(made, base_url="http://127.0.0.1") for _ in range(2))
    token = form_token(first)
    second.get("/")
    assert second.post("/sagas/runs/cancel", data={"csrf_token": token}).status_code == 403
    assert not given


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://elsewhere"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_an_order_from_a_page_of_another_host_is_refused(
    home: Path, given: list[tuple[str, Order]], headers: dict[str, str]
) -> None:
    client = viewer(home)
    sent = {"csrf_token": form_token(client)}
    assert client.post("/sagas/runs/cancel", data=sent, headers=headers).status_code == 403
    assert not given
    own = {"Origin": "http://127.0.0.1", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/sagas/runs/cancel", data=sent, headers=own, follow_redirects=False).status_code == 303


def test_a_form_that_is_too_large_or_garbage_is_refused(home: Path, given: list[tuple[str, Order]]) -> None:
    client = viewer(home)
    token = form_token(client)
    for body in (b"x" * (2 << 20), b"&a=b" * 6_000, b"\xff\xfe\x00%zz&&=="):
        assert client.post("/sagas/runs/cancel", content=body).status_code == 403
    assert client.post("/sagas/runs/nonsense", data={"csrf_token": token}).status_code == 400
    assert client.post("/sagas/stuck/resolve", data={"csrf_token": token, "step": "Debit"}).status_code == 400
    assert not given


def test_who_acts_is_told_by_a_header_only_where_the_operator_trusts_one(
    home: Path, given: list[tuple[str, Order]]
) -> None:
    for options, by in (({}, None), ({"user_header": "X-User"}, "ann")):
        client = viewer(home, **options)
        sent = {"csrf_token": form_token(client), "note": "n"}
        client.post("/sagas/stuck/retry", data=sent, headers={"X-User": "ann"}, follow_redirects=False)
        assert (given[-1][1].by == "ann") == (by == "ann")


def test_read_only_has_no_orders(home: Path, given: list[tuple[str, Order]]) -> None:
    client = viewer(home, read_only=True)
    page = client.get("/sagas/stuck").text
    assert "Orders" not in page
    token = re.search(r'name="csrf-token" content="(\w+)"', page)
    assert token is not None
    answer = client.post("/sagas/stuck/retry", data={"csrf_token": token[1]})
    assert (answer.status_code, "read-only" in answer.text) == (403, True)
    assert not given


def test_without_a_system_an_order_is_refused_and_none_is_started(home: Path) -> None:
    client = viewer(home)
    answer = client.post("/sagas/stuck/retry", data={"csrf_token": form_token(client), "note": "x"})
    assert answer.status_code == 409
    assert "no actor system runs" in answer.text
    assert processes_of_home(home) == []
    with pytest.raises(SystemUnavailableError, match="antistrophe serve"):
        orders.give(home, "stuck", Order("retry", "ann"))


def test_an_order_to_many_shows_first_whom_it_hits(home: Path, given: list[tuple[str, Order]]) -> None:
    client = viewer(home)
    page = client.get("/bulk?order=cancel&text=wait").text
    assert re.findall(r'name="id" value="([^"]*)"', page) == ["waits"]
    sent = {"csrf_token": form_token(client), "order": "cancel", "note": "all", "id": ["waits", "runs", "waits"]}
    answer = client.post("/bulk", data=sent)
    assert answer.status_code == 200
    assert [(saga_id, order.note) for saga_id, order in given] == [("waits", "all"), ("runs", "all")]
    assert client.get("/bulk?order=retry&status=completed").text.count('name="id"') == 0
    for wrong in ({**sent, "order": "resolve"}, {**sent, "id": []}, {**sent, "order": ""}):
        assert client.post("/bulk", data=wrong).status_code == 400


# --- the token --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/sagas", "/sagas/stuck", "/series.json", "/live?view=overview", "/nowhere", "/static"]
)
def test_with_a_token_nothing_is_shown_without_it(home: Path, path: str) -> None:
    answer = viewer(home, token=TOKEN).get(path, follow_redirects=False)
    assert answer.status_code == 401
    assert "stuck" not in answer.text.replace("/sagas/stuck", "")
    wrong = {"Authorization": "Bearer wrong"}
    assert viewer(home, token=TOKEN).get(path, headers=wrong, follow_redirects=False).status_code == 401


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {TOKEN}"}, {"X-Antistrophe-Token": TOKEN}])
def test_the_token_is_taken_from_a_header(home: Path, headers: dict[str, str]) -> None:
    assert viewer(home, token=TOKEN).get("/sagas/stuck", headers=headers).status_code == 200
    assert viewer(home, token=TOKEN).post("/sagas/runs/cancel", headers=headers).status_code == 403


def test_a_login_sets_a_cookie_that_no_script_reads_and_leads_back(home: Path) -> None:
    client = viewer(home, token=TOKEN)
    asked = client.get("/sagas/stuck?x=1")
    (back,) = re.findall(r'name="back" value="([^"]*)"', asked.text)
    token = form_token(client, "/login")
    sent = {"csrf_token": token, "back": back}
    assert client.post("/login", data={**sent, "token": "wrong"}).status_code == 401
    answer = client.post("/login", data={**sent, "token": TOKEN}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sagas/stuck?x=1")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    assert client.get("/sagas/stuck").status_code == 200
    client.post("/logout", data={"csrf_token": token}, follow_redirects=False)
    assert client.get("/sagas/stuck").status_code == 401


@pytest.mark.parametrize("back", ["//evil.test", "https://evil.test", "/\\evil.test", "", "javascript:x"])
def test_a_login_leads_nowhere_else(home: Path, back: str) -> None:
    client = viewer(home, token=TOKEN)
    sent = {"csrf_token": form_token(client, "/login"), "back": back, "token": TOKEN}
    assert client.post("/login", data=sent, follow_redirects=False).headers["location"] == "/"


def test_a_cookie_that_was_made_up_or_is_old_is_none() -> None:
    access = Access(TOKEN)
    assert access.knows({}, {access.cookie: access.login()})
    until, _, signed = access.login().partition(".")
    made_up = [f"{int(until) + 9}.{signed}", f"{until}.", f".{signed}", "ü.ü", f"1.{access._signed('1')}", "9" * 20]
    assert not any(access.knows({}, {access.cookie: value}) for value in made_up)
    assert not Access("another").knows({}, {access.cookie: access.login()})


def test_every_answer_has_the_headers_that_keep_others_out(home: Path) -> None:
    for client, path in ((viewer(home), "/"), (viewer(home, token=TOKEN), "/"), (viewer(home), "/static/style.css")):
        headers = client.get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_where_it_has_no_token_of_its_own_only_names_of_this_machine_lead_to_it(home: Path) -> None:
    made = application(home, local_only=True)
    for host, status in (
        ("127.0.0.1:8420", 200),
        ("localhost", 200),
        ("[::1]:8420", 200),
        ("evil.test", 421),
        ("", 421),
    ):
        client = TestClient(made, base_url="http://127.0.0.1")
        assert client.get("/steps", headers={"Host": host}).status_code == status, host


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"journal": "shop.db"}, "journal must be a URL"),
        ({"token": ""}, "token must be"),
        ({"token": "  "}, "token must be"),
        ({"token": 5}, "token must be"),
        ({"user_header": ""}, "user_header must be"),
    ],
)
def test_arguments_that_can_not_be_used_say_what_to_do(home: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        app(home, **options)  # type: ignore[arg-type]


def test_without_the_extra_the_error_says_how_to_install_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(RequestError, match=r"pip install 'antistrophe\[dashboard\]'"):
        app(home)


def test_who_would_be_refused_is_told_before_the_order(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in ("/sagas/runs", "/bulk?order=retry"):
        assert "it would be refused" in viewer(home).get(path).text
    ready = Ready(PROTOCOL, 1, "", 0, 0, 0, 0, b"")
    monkeypatch.setattr("antistrophe.dashboard.stored.probe", lambda *_: ready)
    for path in ("/sagas/runs", "/bulk?order=retry"):
        assert "it would be refused" not in viewer(home).get(path).text
