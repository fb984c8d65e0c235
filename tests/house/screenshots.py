"""Makes the pictures of the dashboard: ``python -m tests.house.screenshots [FOLDER]``.

All states are made in light and dark and for a narrow screen, so that somebody can look at each; those that the pages
of the docs show are put beside their other pictures.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import cast

from PIL import Image
from playwright.sync_api import Browser

from antistrophe import SagaError, SagaOrchestrator
from tests.acceptance.browser import chromium
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "pictures"
STATES = {
    "overview": "/",
    "sagas": "/sagas?name=order&text=order",
    "completed": "/sagas/order-1003",
    "killed": "/sagas/order-1007",
    "parked": "/sagas/order-1010",
    "limits": "/limits",
    "processes": "/processes",
}
LOOKS = {"light": (1280, "light"), "dark": (1280, "dark"), "narrow": (380, "light"), "narrow-dark": (380, "dark")}
SHOWN = ("light", "dark", "narrow")
"""The looks of each state that the docs show."""

COLOURS = 256
"""A picture keeps its most frequent ones, and takes a third of the room."""

ITEMS = {3: "drum", 7: "harp", 10: "flute", 12: "organ", 13: "organ"}
_HEIGHT = 800


@contextmanager
def shop(folder: Path, left: ExitStack) -> Iterator[str]:
    """A home whose sagas have come to every state, and the address of its dashboard. Its code stands in the folder too:
    a picture shows no path of the machine that it was made on."""
    shutil.copy(Path(__file__).with_name("steps_of_pictures.py"), folder / "shop.py")
    left.enter_context(contextlib.chdir(folder))
    sys.path.insert(0, str(folder))
    steps = import_module("shop")
    order = steps.order
    orchestrator = left.enter_context(SagaOrchestrator(folder / "home"))
    handles = [orchestrator.start(order(f"order-{1000 + each}", ITEMS.get(each, "lyre"))) for each in range(1, 14)]
    for number, handle in enumerate(handles, start=1):
        with contextlib.suppress(SagaError):
            if ITEMS.get(number) != "organ":
                handle.result(60)
    for number in range(1, 4):
        orchestrator.start(steps.stock(f"stock-{number}"))
        orchestrator.start(steps.report(f"report-{number}"))
    command = [sys.executable, "-m", "antistrophe", "--json", "dashboard", "--port", "0"]
    environment = {**os.environ, "ANTISTROPHE_HOME": str(folder / "home")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        yield json.loads(program.stdout.readline())["url"].rstrip("/")
        program.terminate()
    Path("go").touch()
    orchestrator.wait_idle(120)


def picture(browser: Browser, url: str, look: str, file: Path, *, whole: bool) -> None:
    """One page as somebody sees it: the whole of it, or what fits a screen."""
    width, scheme = LOOKS[look]
    context = browser.new_context(
        viewport={"width": width, "height": _HEIGHT}, color_scheme="dark" if scheme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("body[data-events]")
    if page.locator("[data-chart=rate]").count():
        page.locator("[data-chart=rate] canvas").wait_for()
    taken = Image.open(BytesIO(page.screenshot(full_page=whole, animations="disabled"))).convert("RGB")
    counted = cast("list[tuple[int, tuple[int, int, int]]]", taken.getcolors(taken.width * taken.height))
    frequent = sorted(counted, reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, colour in frequent for part in colour])
    taken.quantize(palette=palette, dither=Image.Dither.NONE).save(file, optimize=True)
    context.close()


def main(folder: Path | None = None) -> None:
    """Write the pictures of the docs, or all of them into another folder."""
    with tempfile.TemporaryDirectory(prefix="shop-") as place, ExitStack() as left:
        browser = left.enter_context(chromium(Path(place) / "home"))
        with shop(Path(place), left) as url:
            for look in LOOKS:
                for state, path in STATES.items():
                    name = f"{state}-{look}"
                    if folder is not None or look in SHOWN:
                        picture(
                            browser,
                            url + path,
                            look,
                            (folder or FOLDER) / f"dashboard-{name}.png",
                            whole=folder is not None,
                        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None)
