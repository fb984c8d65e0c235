"""The bank of the tutorial: its one command tells what the page says, and the money is counted by others as well."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from antistrophe.cqrs import EventStore, RawEvent
from antistrophe.linux.termination import processes_of_home
from tests.acceptance.command import Caller
from tests.house.pages import agrees, blocks_of
from tests.house.tree import ROOT

FOLDER = ROOT / "docs" / "examples" / "bank"
BLOCKS = list(blocks_of((ROOT / "docs" / "tutorial" / "bank.md").read_text("utf-8")))
LIMIT_S = 150.0

pytestmark = pytest.mark.timeout(330)  # each run starts five actor systems, one after another


def run(*arguments: object, temporary: Path) -> subprocess.CompletedProcess[str]:
    """The one command, as a reader calls it, with a place for temporary files."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / "run.py"), *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def in_events(home: Path) -> Counter[str]:
    """Cents by account, from the events as they are stored: this program has no class of the bank's."""
    cents: Counter[str] = Counter()
    with EventStore(home / "journal.db") as store:
        for each in store.read():
            assert isinstance(each.event, RawEvent)
            amount = each.data["euros"] * 100 if each.type == "bank.opened" else each.data["cents"]
            cents[each.data["account"]] += int(-amount if each.type == "bank.debited" else amount)
    return cents


@contextmanager
def vault(folder: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(folder / "vault.db", isolation_level=None)) as database:
        yield database


def in_vault(folder: Path) -> Counter[str]:
    with vault(folder) as database:
        return Counter(dict(database.execute("SELECT account, sum(cents) FROM bookings GROUP BY account")))


def test_the_page_shows_the_files() -> None:
    shown = {block.option("file"): block.text for block in BLOCKS if block.language == "py"}
    written = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*.py") if path.name != "run.py"}
    assert shown == written


def test_the_command_says_what_the_page_says_and_leaves_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    temporary = tmp_path_factory.mktemp("t")  # short, because sockets lie below it
    ended = run(temporary=temporary)
    assert ended.returncode == 0, ended
    (expected,) = [block.text for block in BLOCKS if "output-of-the-bank" in block.words]
    assert agrees(expected, ended.stdout), ended.stdout
    assert list(temporary.iterdir()) == []


def test_the_money_is_there_in_the_file_and_a_forged_booking_is_told(tmp_path: Path) -> None:
    """Twice in one folder; between the two, somebody makes money."""
    folder = tmp_path / "bank"
    first = run(folder, temporary=tmp_path)
    assert first.returncode == 0, first
    home = folder / "home"
    assert processes_of_home(home) == []
    assert in_events(home) == in_vault(folder) == {"alice": 975_00, "bob": 75_00}
    with EventStore(home / "journal.db") as store:
        stored = [(each.type, each.type_version) for each in store.read()]
    assert stored[:2] == [("bank.opened", 1)] * 2, "from the older release, and still as it wrote them"
    assert Counter(stored[2:]) == {("bank.debited", 1): 2, ("bank.credited", 1): 1, ("bank.taken_back", 1): 1}
    with closing(Caller(home, folder)) as caller:
        sagas = {each["id"]: each["status"] for each in caller.ask("list", "--json").json()["sagas"]}
    assert sagas == {"transfer-rent-3": "completed", "transfer-gift-3": "compensated"}

    with vault(folder) as database:
        database.execute("INSERT INTO bookings VALUES ('forged', 'bob', 5)")
    second = run(folder, temporary=tmp_path)
    assert second.returncode == 1, second
    assert "MONEY WAS MADE OR LOST" in second.stderr
    assert "the vault: alice 950.00, bob 100.05" in second.stdout
    assert in_events(home) == {"alice": 950_00, "bob": 100_00}, "all the same, every transfer went by the rules"
