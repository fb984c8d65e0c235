"""The bank of the transfers: a key is booked once, can be taken back in any case, and a dead caller leaves no half."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from docs.examples.transfers.bank import Audit, Bank, RefusedError, open_new_bank
from tests.house.tree import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A bank with two accounts."""
    file = tmp_path / "bank.db"
    open_new_bank(file, {"A": 100, "B": 0})
    return file


def balances(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute("SELECT name, balance FROM accounts"))


def book(path: Path, key: str, account: str, amount: int) -> bool:
    with closing(Bank(path)) as bank, bank.booking(key, "t", account, amount) as is_new:
        return is_new


def test_a_key_is_booked_once(path: Path) -> None:
    assert book(path, "k", "A", -30)
    assert not book(path, "k", "A", -30)
    assert balances(path) == {"A": 70, "B": 0}


def test_taking_back_works_whether_it_was_booked_or_not(path: Path) -> None:
    book(path, "k", "A", -30)
    with closing(Bank(path)) as bank:
        assert bank.take_back("u", undone_key="k") == 30
        assert bank.take_back("u", undone_key="k") == 0, "a second time does nothing"
        assert bank.take_back("v", undone_key="k") == 0, "nor does another one"
        assert bank.take_back("w", undone_key="never") == 0
    assert balances(path) == {"A": 100, "B": 0}


def test_what_is_refused_leaves_nothing(path: Path) -> None:
    for account, amount in (("A", -101), ("nobody", 5), ("nobody", -5)):
        with pytest.raises(RefusedError):
            book(path, "k", account, amount)
    assert balances(path) == {"A": 100, "B": 0}
    assert book(path, "k", "A", -100)


def test_who_dies_within_a_booking_leaves_no_half(path: Path) -> None:
    code = (
        "import os, signal\nfrom pathlib import Path\nfrom docs.examples.transfers.bank import Bank\n"
        f"with Bank(Path({str(path)!r})).booking('k', 't', 'A', -30):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env={**os.environ}, timeout=30, check=False)
    assert died.returncode == -signal.SIGKILL
    assert balances(path) == {"A": 100, "B": 0}
    assert book(path, "k", "A", -30)


def test_a_bank_is_opened_once_and_never_made_anew(path: Path, tmp_path: Path) -> None:
    open_new_bank(path, {"C": 5})
    assert balances(path) == {"A": 100, "B": 0}
    with pytest.raises(sqlite3.OperationalError):
        Bank(tmp_path / "lost.db")


def test_the_audit_tells_whole_from_half(path: Path) -> None:
    def move(transfer: str, *bookings: tuple[str, int]) -> None:
        with closing(Bank(path)) as bank:
            for number, (account, amount) in enumerate(bookings):
                with bank.booking(f"{transfer}/{number}", transfer, account, amount):
                    pass

    move("whole", ("A", -10), ("B", 10))
    move("half", ("A", -10))
    move("undone", ("A", -10))
    move("uneven", ("A", -10), ("B", 9))
    with closing(Bank(path)) as bank:
        bank.take_back("undone/back", undone_key="undone/0")
    audit = Audit(path)
    transfers = ("whole", "half", "undone", "uneven", "none")
    assert [each for each in transfers if audit.is_whole(each)] == ["whole"]
    assert [each for each in transfers if audit.is_nothing(each)] == ["undone", "none"]
    assert audit.in_transit(["whole", "half", "undone", "uneven"]) == 11
    assert audit.opening == audit.balance + 11
    assert audit.wrong_accounts == []
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE accounts SET balance = balance + 1 WHERE name = 'B'")
    assert Audit(path).wrong_accounts == ["B"]
