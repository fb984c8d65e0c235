"""A small bank in one SQLite file: it knows nothing of sagas, but it never books the same key twice.

Every booking is stored with its key in the transaction that changes the balance. So the caller may repeat a call
whose answer was lost, and may take a booking back without knowing whether it was ever made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

BUSY_TIMEOUT_S = 30.0

SCHEMA = """
CREATE TABLE accounts(
    name    TEXT PRIMARY KEY,
    opening INTEGER NOT NULL,
    balance INTEGER NOT NULL
) STRICT;
CREATE TABLE bookings(
    number   INTEGER PRIMARY KEY,
    key      TEXT NOT NULL UNIQUE,
    transfer TEXT NOT NULL,
    account  TEXT NOT NULL REFERENCES accounts(name),
    amount   INTEGER NOT NULL,
    undoes   TEXT UNIQUE REFERENCES bookings(key)
) STRICT;
CREATE INDEX bookings_by_transfer ON bookings(transfer);
"""


class RefusedError(Exception):
    """The bank said no, and nothing was booked."""


def open_new_bank(path: Path, opening: Mapping[str, int]) -> None:
    """Make the bank's file with these accounts and balances; one that is there already stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        with _transaction(database):
            if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'accounts'").fetchone():
                return
            for statement in filter(str.strip, SCHEMA.split(";")):
                database.execute(statement)
            rows = [(name, balance, balance) for name, balance in opening.items()]
            database.executemany("INSERT INTO accounts VALUES (?, ?, ?)", rows)


class Bank:
    """The bank's counter, for one process. Amounts are whole cents: below 0 leaves an account, above 0 goes into it."""

    def __init__(self, path: Path) -> None:
        # "rw" and not "rwc": a bank that was lost is an error, not a new and empty bank.
        self._database = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None
        )
        self._database.execute("PRAGMA synchronous = FULL")

    def close(self) -> None:
        """Leave the counter."""
        self._database.close()

    @contextmanager
    def booking(self, key: str, transfer: str, account: str, amount: int) -> Iterator[bool]:
        """Book under that key, once and for all: at the end of the ``with`` block it is done, before it is not.

        Yields False where that key was booked already. Raises RefusedError for an account that does not exist, or has
        not enough money.
        """
        with _transaction(self._database):
            if self._database.execute("SELECT 1 FROM bookings WHERE key = ?", (key,)).fetchone():
                yield False
                return
            found = self._database.execute("SELECT balance FROM accounts WHERE name = ?", (account,)).fetchone()
            if found is None:
                raise RefusedError(f"there is no account {account!r}")
            if found[0] + amount < 0:
                raise RefusedError(f"account {account!r} has {found[0]}, which is less than {-amount}")
            self._write(key, transfer, account, amount, None)
            yield True

    def take_back(self, key: str, undone_key: str) -> int:
        """Undo, under ``key``, what was booked under ``undone_key``, if anything was. Returns the amount that this
        books: 0 where there was nothing to undo, or it was undone before."""
        with _transaction(self._database):
            booked = self._database.execute(
                "SELECT transfer, account, amount FROM bookings AS b WHERE key = ?"
                " AND NOT EXISTS (SELECT 1 FROM bookings WHERE undoes = b.key)",
                (undone_key,),
            ).fetchone()
            if booked is None:
                return 0
            transfer, account, amount = booked
            self._write(key, transfer, account, -amount, undone_key)
            return -int(amount)

    def _write(self, key: str, transfer: str, account: str, amount: int, undoes: str | None) -> None:
        self._database.execute(
            "INSERT INTO bookings(key, transfer, account, amount, undoes) VALUES (?, ?, ?, ?, ?)",
            (key, transfer, account, amount, undoes),
        )
        self._database.execute("UPDATE accounts SET balance = balance + ? WHERE name = ?", (amount, account))


class Audit:
    """What the bank's own books say, read at one moment."""

    def __init__(self, path: Path) -> None:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("BEGIN")
            self.opening, self.balance = database.execute("SELECT sum(opening), sum(balance) FROM accounts").fetchone()
            self.wrong_accounts: list[str] = [
                name
                for (name,) in database.execute(
                    "SELECT name FROM accounts WHERE balance <>"
                    " opening + (SELECT coalesce(sum(amount), 0) FROM bookings WHERE account = name)"
                )
            ]
            self.bookings: dict[str, list[tuple[str, int, bool]]] = {}
            for transfer, account, amount, undoes in database.execute(
                "SELECT transfer, account, amount, undoes FROM bookings"
            ):
                self.bookings.setdefault(transfer, []).append((account, amount, undoes is not None))

    def is_whole(self, transfer: str) -> bool:
        """True where one debit and one credit of the same amount were booked, and neither was undone."""
        amounts = sorted(amount for _, amount, _ in self.bookings.get(transfer, ()))
        undone = any(undoes for _, _, undoes in self.bookings.get(transfer, ()))
        return len(amounts) == 2 and amounts[0] < 0 < amounts[1] and sum(amounts) == 0 and not undone

    def is_nothing(self, transfer: str) -> bool:
        """True where every account is as if the transfer had never been: nothing was booked, or all of it undone."""
        left: dict[str, int] = {}
        for account, amount, _ in self.bookings.get(transfer, ()):
            left[account] = left.get(account, 0) + amount
        return not any(left.values())

    def in_transit(self, transfers: Iterable[str]) -> int:
        """The money that these transfers have taken and not given, or given and not taken (then below 0)."""
        return -sum(amount for each in transfers for _, amount, _ in self.bookings.get(each, ()))


@contextmanager
def _transaction(database: sqlite3.Connection) -> Iterator[None]:
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
