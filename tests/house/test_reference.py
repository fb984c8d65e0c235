"""The reference says what the code says: pages made from it are up to date, and name all of it."""

from __future__ import annotations

import pytest

from tests.house.reference import FOLDER, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_up_to_date(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8") == PAGES[name](), "make it again: python -m tests.house.reference"
