"""The dashboard in headless Chromium, beside a system that runs: each page, each order, live, and after a kill."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("playwright", reason="THE DASHBOARD WAS NOT TRIED IN A BROWSER: playwright is not installed")

from playwright.sync_api import Browser, expect

from antistrophe import SagaError, SagaOrchestrator, SagaStatus
from antistrophe.dashboard.addresses import saga_path
from antistrophe.linux.termination import processes_of_home
from tests.acceptance.browser import Watched, chromium
from tests.acceptance.steps_of_the_board import order
from tests.killing import kill_all
from tests.waiting import until

HOSTILE = '<img src=x onerror=alert(1)>/../"%2e 50%25'
PAGES = ("/", "/sagas", "/steps", "/limits", "/processes", "/bulk?order=cancel", "/sagas/killed", "/sagas/parked")

expect.set_options(timeout=30_000)


@dataclass(slots=True)
class Shop:
    """A system that runs, its dashboard, and a browser."""

    orchestrator: SagaOrchestrator
    url: str
    browser: Browser
    folder: Path

    def start(self, saga_id: str, item: str) -> None:
        self.orchestrator.start(order(saga_id, item, self.folder))

    def ends(self, saga_id: str, status: SagaStatus) -> None:
        with suppress(SagaError):
            self.orchestrator.handle(saga_id).result(60)
        assert self.orchestrator.handle(saga_id).status() is status


@pytest.fixture(scope="module")
def shop(shared_home: Path) -> Iterator[Shop]:
    with ExitStack() as left:
        browser = left.enter_context(chromium(shared_home))
        orchestrator = left.enter_context(SagaOrchestrator(shared_home))
        program = subprocess.Popen(
            [sys.executable, "-m", "antistrophe", "--json", "dashboard", "--port", "0"],
            env={**os.environ, "ANTISTROPHE_HOME": str(shared_home)},
            stdout=subprocess.PIPE,
            text=True,
        )
        left.callback(program.communicate)
        left.callback(program.terminate)
        assert program.stdout is not None
        made = Shop(orchestrator, json.loads(program.stdout.readline())["url"], browser, shared_home.parent)
        for saga_id, item in (("done", "lyre"), ("killed", "harp"), ("parked", "flute"), ("settled", "flute")):
            made.start(saga_id, item)
        made.ends("done", SagaStatus.COMPLETED)
        made.ends("killed", SagaStatus.COMPENSATED)
        made.ends("parked", SagaStatus.FAILED)
        made.ends("settled", SagaStatus.FAILED)
        yield made


@pytest.fixture
def seen(shop: Shop) -> Iterator[Watched]:
    watched = Watched(shop.browser, shop.url)
    yield watched
    watched.close()


def test_every_page_is_quiet_asks_nobody_else_and_fits_a_narrow_screen(shop: Shop) -> None:
    for width in (380, 1600):
        watched = Watched(shop.browser, shop.url, width)
        for path in PAGES:
            page = watched.open(path, live=not path.startswith("/bulk"))
            expect(page.locator("h1").first).to_be_attached()
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width, path
        watched.close()


def test_the_overview_and_a_page_of_a_killed_attempt_say_what_happened(seen: Watched) -> None:
    page = seen.open("/")
    expect(page.locator(".attention")).to_contain_text("parked is parked")
    expect(page.locator(".attention")).to_contain_text("OSError: <b>the bank</b> is closed")
    expect(page.locator("[data-chart=rate] canvas")).to_be_visible()
    page = seen.open("/sagas/killed")
    expect(page.locator("svg.timeline")).to_contain_text("killed after 0.3 s")
    expect(page.locator("svg .tl-cross").first).to_be_attached()
    page.get_by_text("stack", exact=True).click()
    expect(page.locator("#step-2 pre", has_text="in execute")).to_be_visible()
    page.locator("#logs summary").click()
    expect(page.locator("#logs")).to_contain_text("reserving harp")


def test_a_list_grows_while_it_is_looked_at_and_what_is_open_stays_open(shop: Shop, seen: Watched) -> None:
    page = seen.open("/sagas")
    shop.start("while-looked-at", "lyre")
    expect(page.get_by_role("link", name="while-looked-at")).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.type("looked")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=looked*")
    assert page.locator("tbody tr").count() == 1


def test_any_id_can_be_opened_and_nothing_in_it_is_run(shop: Shop, seen: Watched) -> None:
    for saga_id in (HOSTILE, "..", "a/b"):
        shop.start(saga_id, "lyre")
        shop.ends(saga_id, SagaStatus.COMPLETED)
        page = seen.open("/sagas")
        page.locator(f"a[href={json.dumps(saga_path(saga_id))}]").click()
        expect(page.locator("h1")).to_have_text(saga_id)


def test_a_running_saga_is_cancelled_on_its_page_which_shows_its_end(shop: Shop, seen: Watched) -> None:
    shop.start("slow", "slow")
    page = seen.open("/sagas/slow")
    step = page.locator("#step-2")
    expect(step).to_contain_text("running")
    step.locator("summary").first.focus()
    page.keyboard.press("Enter")
    shop.start("beside", "lyre")  # what is journaled makes each page anew
    page.wait_for_function("() => document.body.dataset.events > 1")
    expect(step.locator("summary").first).to_be_focused()
    expect(step).to_have_attribute("open", "")
    page.get_by_text("Cancel the saga…").click()
    page.get_by_label("Reason").first.fill("no longer wanted")
    page.get_by_role("button", name="Cancel the saga").click()
    expect(page.get_by_role("status").filter(has_text="The order is journaled")).to_be_visible()
    expect(page.locator(".saga-head .badge")).to_have_text("compensated")
    expect(page.locator(".story")).to_contain_text("asked to cancel the saga: no longer wanted")
    expect(page.locator("#orders")).to_be_hidden()


def test_parked_sagas_are_retried_and_settled(shop: Shop, seen: Watched) -> None:
    page = seen.open("/sagas/settled")
    page.get_by_text("Settle a step by other means…").click()
    expect(page.locator("select[name=step]")).to_have_value("Charge")
    page.get_by_label("How it was settled").fill("refunded by hand")
    page.get_by_role("button", name="Settle the step").click()
    expect(page.locator(".saga-head .badge")).to_have_text("compensated")
    expect(page.locator(".story")).to_contain_text("settled the undo of Charge by other means: refunded by hand")
    (shop.folder / "open").touch()
    page = seen.open("/sagas/parked")
    page.get_by_text("Try the undo again…").click()
    page.locator("[data-order=retry] input[name=note]").fill("the bank is open")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".saga-head .badge")).to_have_text("compensated")
    expect(page.locator(".story")).to_contain_text("ordered a retry of the undo: the bank is open")


def test_an_order_to_many_hits_those_that_were_left_in_the_list(shop: Shop, seen: Watched) -> None:
    for saga_id in ("bulk-1", "bulk-2", "bulk-3"):
        shop.start(saga_id, "slow")
    page = seen.open("/sagas?text=bulk")
    page.get_by_role("link", name="Cancel…").click()
    expect(page.locator("h1")).to_have_text("Cancel 3 sagas")
    page.get_by_label("bulk-2", exact=True).uncheck()
    page.get_by_label("Reason").fill("the shop is closed")
    page.get_by_role("button", name="Cancel them").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    shop.ends("bulk-1", SagaStatus.COMPENSATED)
    shop.ends("bulk-3", SagaStatus.COMPENSATED)
    assert shop.orchestrator.handle("bulk-2").status() is SagaStatus.EXECUTING
    page = seen.open("/processes")
    expect(page.locator("tbody")).to_contain_text(re.compile("execute Ship of bulk-2"))
    for role in ("launcher", "supervisor", "registry", "saga"):
        expect(page.get_by_role("cell", name=role, exact=True).first).to_be_visible()
    (shop.folder / "go").touch()
    shop.ends("bulk-2", SagaStatus.COMPLETED)


def test_a_page_goes_on_after_the_whole_system_was_killed_and_came_back(shop: Shop, seen: Watched) -> None:
    page = seen.open("/sagas")
    before = page.evaluate("() => performance.timeOrigin")
    killed = processes_of_home(shop.orchestrator.home)
    kill_all(shop.orchestrator.home)
    until(lambda: not set(killed) & set(processes_of_home(shop.orchestrator.home)), "the system is dead")
    shop.start("after-the-kill", "lyre")
    shop.ends("after-the-kill", SagaStatus.COMPLETED)
    expect(page.get_by_role("link", name="after-the-kill")).to_be_visible()
    expect(page.locator("#system")).to_have_text("system runs")
    assert page.evaluate("() => performance.timeOrigin") == before, "it was loaded anew"
