"""Makes the pictures of the dashboard: ``python -m tests.house.screenshots [FOLDER]``.

All states are made in light and dark and for a narrow screen, so that somebody can look at each; those that the pages
of the docs show are put beside their other pictures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from playwright.sync_api import Browser

from antistrophe import SagaError, SagaOrchestrator
from tests.acceptance.browser import chromium
from tests.acceptance.steps_of_the_board import order
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
STATES = {
    "overview": "/",
    "sagas": "/sagas?name=order&text=order",
    "completed": "/sagas/order-1003",
    "killed": "/sagas/order-1007",
    "parked": "/sagas/order-1010",
    "processes": "/processes",
}
LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "narrow": (380, "light"), "narrow-dark": (380, "dark")}
SHOWN = {"overview-light", "overview-dark", "sagas-light", "killed-light", "parked-light", "killed-narrow"}
"""Those that the docs show."""

ITEMS = {7: "harp", 10: "flute", 14: "slow", 15: "slow"}
_HEIGHT = 800


@contextmanager
def shop(home: Path, left: ExitStack) -> Iterator[str]:
    """A home whose sagas have come to every state, and the address of its dashboard."""
    orchestrator = left.enter_context(SagaOrchestrator(home))
    for number in range(1, 16):
        item = ITEMS.get(number, "lyre")
        handle = orchestrator.start(order(f"order-{1000 + number}", item, home.parent))
        if item != "slow":
            try:
                handle.result(60)
            except SagaError:
                continue
    command = [sys.executable, "-m", "antistrophe", "--json", "dashboard", "--port", "0"]
    environment = {**os.environ, "ANTISTROPHE_HOME": str(home)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        yield json.loads(program.stdout.readline())["url"].rstrip("/")
        program.terminate()
    (home.parent / "go").touch()
    orchestrator.wait_idle(60)


def picture(browser: Browser, url: str, look: str, file: Path) -> None:
    """One page as somebody sees it."""
    width, scheme = LOOKS[look]
    context = browser.new_context(
        viewport={"width": width, "height": _HEIGHT}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-events]")
    if page.locator("[data-chart=rate]").count():
        page.locator("[data-chart=rate] canvas").wait_for()
    page.screenshot(path=file, full_page=True, animations="disabled")
    context.close()


def main(folder: Path | None = None) -> None:
    """Write the pictures of the docs, or all of them into another folder."""
    with tempfile.TemporaryDirectory(prefix="antistrophe-") as place, ExitStack() as left:
        home = Path(place) / "shop-home"
        browser = left.enter_context(chromium(home))
        with shop(home, left) as url:
            for look in LOOKS:
                for state, path in STATES.items():
                    name = f"{state}-{look}"
                    if folder is not None or name in SHOWN:
                        picture(browser, url + path, look, (folder or FOLDER) / f"dashboard-{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
