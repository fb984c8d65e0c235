"""The pictures of the README can be made again, and are there."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.house.pictures import FOLDER, course, main, picture, shortened
from tests.house.tree import ROOT

LARGEST_BYTES = 150_000
PICTURES = ("course.svg", "demo.svg")

pytestmark = pytest.mark.timeout(300)


def words_of(file: Path) -> str:
    return "".join(ElementTree.parse(file).getroot().itertext()).replace("\xa0", " ")


def test_the_pictures_can_be_made_from_a_run_of_the_demo(tmp_path: Path) -> None:
    main(tmp_path)
    assert "no coin was lost, and none was made" in words_of(tmp_path / "demo.svg")
    assert "compensated (was in doubt)" in words_of(tmp_path / "course.svg")


@pytest.mark.parametrize("name", PICTURES)
def test_the_pictures_of_the_readme_are_there_and_can_be_read(name: str) -> None:
    assert f"(docs/pictures/{name})" in (ROOT / "README.md").read_text("utf-8")
    assert "compensated" in words_of(FOLDER / name)
    assert not re.search(r"(href|src)=", (FOLDER / name).read_text("utf-8"))


def test_the_docs_show_the_pictures_of_the_dashboard_that_are_there_and_small() -> None:
    pages = "".join((ROOT / page).read_text("utf-8") for page in ("README.md", "docs/how-to/use-the-dashboard.md"))
    assert set(re.findall(r"pictures/(dashboard-[\w-]+\.png)", pages)) == {path.name for path in FOLDER.glob("*.png")}
    assert all(path.stat().st_size < LARGEST_BYTES for path in FOLDER.glob("*.png"))


def test_most_of_what_went_well_is_left_out() -> None:
    said = "\n".join(
        ["the beginning", "", *(f"  21:18:47.299  transfer-{each:02} completed" for each in range(9)), "", "end"]
    )
    assert shortened(said).splitlines()[-3:] == ["  …", "", "end"]
    assert shortened(said).count("completed") == 4


def test_a_picture_is_well_formed_whatever_it_shows() -> None:
    ElementTree.fromstring(picture("<b>&amp; \u2020 ✗", "a <title> & more"))
    assert "Credit" in course("  x\n          0 s  1 s\nDebit\nCredit\nlegend\n")
