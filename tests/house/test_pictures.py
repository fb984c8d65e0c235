"""The pictures of the README can be made again, and are there."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.house.pictures import FOLDER, WIDTH, main, picture, shortened
from tests.house.tree import ROOT

LARGEST_BYTES = 150_000
PICTURES = ("course.svg", "demo.svg")

pytestmark = pytest.mark.timeout(300)


def words_of(file: Path) -> str:
    return "".join(ElementTree.parse(file).getroot().itertext()).replace("\xa0", " ")


def test_the_pictures_can_be_made_from_a_run_of_the_demo(tmp_path: Path) -> None:
    main(tmp_path)
    assert "no coin was lost, and none was made" in words_of(tmp_path / "demo.svg")
    assert "compensated (was in doubt)" in words_of(tmp_path / "demo.svg")
    for word in ("Debit", "Credit", "killed after 1.5 s", "turned back: step timed out", "compensated"):
        assert word in words_of(tmp_path / "course.svg")


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


def test_of_what_was_interrupted_two_are_shown_and_long_lines_are_folded_below_their_beginning() -> None:
    why = "step 1 (Credit) was interrupted: the actor system that ran it died, or was ended before it came to its end"
    said = "\n".join(f"  21:18:47.299  transfer-{each:02} compensated: {why}" for each in range(5))
    lines = shortened(said).splitlines()
    assert [line[:27] for line in lines[::2]] == ["  21:18:47.299  transfer-00", "  21:18:47.299  transfer-01", "  …"]
    assert lines[1].startswith(" " * 16 + "it died")
    assert all(len(line) <= WIDTH for line in lines)


def test_a_picture_is_well_formed_whatever_it_shows() -> None:
    ElementTree.fromstring(picture("<b>&amp; \u2020 ✗", "a <title> & more"))
