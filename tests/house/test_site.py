"""The documentation site builds without a warning, can be searched, and each of its links leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from tests.house.tree import ROOT

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run(
        [*command, "-d", str(folder / "doctrees"), str(ROOT / "docs"), str(folder / "html")],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_the_site_can_be_searched(site: Path) -> None:
    assert (site / "search.html").exists()
    assert "compensat" in (site / "searchindex.js").read_text("utf-8")


def test_a_block_that_is_a_file_shows_its_name(site: Path) -> None:
    shown = (site / "how-to" / "use-with-fastapi.html").read_text("utf-8")
    assert re.findall(r'code-block-caption"><span class="caption-text">(.*?)</span>', shown) == ["orders.py", "shop.py"]
    assert "file=" not in shown


def test_every_link_of_the_site_leads_to_a_place_that_is_there(site: Path) -> None:
    pages = {path: _Page.of(path) for path in site.rglob("*.html")}
    lost = []
    for path, page in pages.items():
        for link in page.links:
            file, anchor = urldefrag(link)
            target = (path.parent / unquote(file)).resolve() if file else path
            known = pages.get(target)
            if not target.exists() or (anchor and known is not None and unquote(anchor) not in known.anchors):
                lost.append(f"{path.relative_to(site)}: {link}")
    assert not lost


class _Page(HTMLParser):
    """The links of one page of the site, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()

    @classmethod
    def of(cls, path: Path) -> _Page:
        page = cls()
        page.feed(path.read_text("utf-8"))
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if (anchor := found.get("id") or found.get("name")) is not None:
            self.anchors.add(anchor)
        href = found.get("href")
        if tag == "a" and href and not re.match(r"[a-z]+:", href):
            self.links.append(href)
