"""A real browser for the tests of the dashboard: headless Chromium, what it said on its console, and whom it asked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT_MS = 30_000


def require_chromium() -> str:
    """The browser. Where there is none a test is skipped; where everything is to be checked (CI), it fails."""
    if CHROMIUM is None:
        text = "THE DASHBOARD WAS NOT TRIED IN A BROWSER: there is no chromium (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(text)
        pytest.skip(text)
    return CHROMIUM


@contextmanager
def chromium(home: Path) -> Iterator[Browser]:
    """A browser that counts as one of the processes of that home for who looks for what tests leave behind."""
    program = require_chromium()
    before = os.environ.get("ANTISTROPHE_HOME")
    os.environ["ANTISTROPHE_HOME"] = str(home)
    try:
        playing = sync_playwright().start()
        browser = playing.chromium.launch(executable_path=program, args=ARGUMENTS)
    finally:
        if before is None:
            del os.environ["ANTISTROPHE_HOME"]
        else:
            os.environ["ANTISTROPHE_HOME"] = before
    try:
        yield browser
    finally:
        browser.close()
        playing.stop()


class Watched:
    """A page of the browser, and what must not happen on it."""

    def __init__(self, browser: Browser, url: str, width: int = 1280) -> None:
        self.url = url.rstrip("/")
        self.problems: list[str] = []
        self._context = browser.new_context(viewport={"width": width, "height": 800})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(LIMIT_MS)
        self.page.on("console", lambda said: self._note(said.type in ("error", "warning"), f"console: {said.text}"))
        self.page.on("pageerror", lambda error: self._note(True, f"script: {error}"))
        self.page.on("dialog", self._dismiss)
        host = urlsplit(url).netloc
        self.page.on("request", lambda asked: self._note(urlsplit(asked.url).netloc != host, f"asked {asked.url}"))

    def _dismiss(self, dialog: Dialog) -> None:
        self._note(True, f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, wrong: bool, text: str) -> None:
        if wrong:
            self.problems.append(text)

    def open(self, path: str, *, live: bool = True) -> Page:
        """Go to a page, and wait until its first live event has come."""
        self.page.goto(f"{self.url}{path}")
        if live:
            self.page.wait_for_selector("body[data-events]")
        return self.page

    def close(self) -> None:
        """Close it. Fails where something happened that must not."""
        self._context.close()
        assert not self.problems, self.problems
