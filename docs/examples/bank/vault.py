"""The vault, where the money lies: a file of its own that knows nothing of sagas or events.

It books each key once. So a call may be repeated when its answer was lost, and be taken back by its key.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

BOOKINGS = "CREATE TABLE IF NOT EXISTS bookings (key TEXT PRIMARY KEY, account TEXT, cents INTEGER)"


class RefusedError(Exception):
    """The vault said no, and booked nothing."""


def book(vault: str, key: str, account: str, cents: int, *, opening: bool = False) -> None:
    """Change an account's balance, once for each key."""
    with closing(sqlite3.connect(vault, timeout=30, isolation_level=None)) as db:
        db.execute(BOOKINGS)
        db.execute("BEGIN IMMEDIATE")  # undone if this process dies before COMMIT
        if db.execute("SELECT 1 FROM bookings WHERE key = ?", (key,)).fetchone() is None:
            has = db.execute("SELECT sum(cents) FROM bookings WHERE account = ?", (account,)).fetchone()[0]
            if has is None and not opening:
                raise RefusedError(f"there is no account {account!r}")
            if (has or 0) + cents < 0:
                raise RefusedError(f"{account} has only {has} cents")
            db.execute("INSERT INTO bookings VALUES (?, ?, ?)", (key, account, cents))
        db.execute("COMMIT")
    while silenced(vault, account).exists():  # booked, but the answer does not come
        time.sleep(0.01)


def take_back(vault: str, key: str) -> None:
    """Undo what was booked under that key, if anything was."""
    with closing(sqlite3.connect(vault, timeout=30, isolation_level=None)) as db:
        db.execute("DELETE FROM bookings WHERE key = ?", (key,))


def balances(vault: str) -> dict[str, int]:
    """What every account has, in cents."""
    with closing(sqlite3.connect(vault, timeout=30)) as db:
        return dict(db.execute("SELECT account, sum(cents) FROM bookings GROUP BY account ORDER BY account"))


def silenced(vault: str, account: str) -> Path:
    """While this file is there, bookings of that account are made, but not answered."""
    return Path(vault).with_name(f"silence-{account}")
