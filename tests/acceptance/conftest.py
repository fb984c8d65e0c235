"""The shop of the tests of the command line: a folder with its code, and a home beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.acceptance.command import Caller, write_lines

CODE = Path(__file__).with_name("steps_of_a_shop.py")
BUSY_S = 240
"""The time of a test here that names none: each call starts a program, on a machine that may have other work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == CODE.parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BUSY_S))


def open_shop(folder: Path) -> Caller:
    """A folder with `shop.py`, and settings under which a stop does not take long."""
    shutil.copy(CODE, folder / "shop.py")
    (folder / "quick.toml").write_text("drain_s = 0.2\n", "utf-8")
    return Caller(folder / "home", folder)


def three_orders(shop: Caller) -> Caller:
    """Run three orders, one after the other: `good` completes, `bad` is compensated, `stuck` is parked."""
    orders = [{"id": "good", "item": "lyre"}, {"id": "bad", "item": "drum"}, {"id": "stuck", "item": "flute"}]
    write_lines(shop.folder / "orders.jsonl", orders)
    ended = shop("run", "shop.py:order", "--input", "orders.jsonl", "--concurrency", "1")
    assert ended.code == 1, ended
    return shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Caller]:
    """A shop that has not opened yet."""
    with closing(open_shop(tmp_path)) as caller:
        yield caller


@pytest.fixture
def ran(shop: Caller) -> Caller:
    """One after its three orders."""
    return three_orders(shop)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """The same for the tests of one module, who only look."""
    with closing(three_orders(open_shop(tmp_path_factory.mktemp("history")))) as caller:
        yield caller
