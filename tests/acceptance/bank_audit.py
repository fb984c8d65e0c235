"""Judges the bank of the transfers by its own books and the input, with nothing of the example's code."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

OPENING = 1_000_000
ACCOUNTS = {f"ACC-{number:02}" for number in range(1, 41)}
HANGING, DYING, DYING_ONCE = {1313, 1331}, {6666}, {6699}


def fate_of(line: Mapping[str, Any]) -> str:
    """What has to become of a line, whatever happens on the way."""
    if line["from"] not in ACCOUNTS or line["to"] not in ACCOUNTS or line["amount"] > OPENING:
        return "compensated"
    return "compensated" if line["amount"] in HANGING | DYING else "completed"


def bookings(bank: Path) -> list[tuple[str, str, int, bool]]:
    """Every booking: transfer, account, amount, and whether it undoes another one."""
    if not bank.exists():
        return []
    with closing(sqlite3.connect(bank)) as database:
        if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'bookings'").fetchone():
            return []
        rows = database.execute("SELECT transfer, account, amount, undoes IS NOT NULL FROM bookings").fetchall()
    return [(transfer, account, amount, bool(undoes)) for transfer, account, amount, undoes in rows]


def judge(bank: Path, lines: Sequence[Mapping[str, Any]], statuses: Mapping[str, str]) -> None:
    """Raise AssertionError unless the bank's books are exactly what these outcomes of these lines say."""
    assert set(statuses) == {line["id"] for line in lines}, "every line is accounted for, and nothing else"
    done: dict[str, list[tuple[str, int, bool]]] = {line["id"]: [] for line in lines}
    for transfer, account, amount, undoes in bookings(bank):
        done[transfer].append((account, amount, undoes))
    expected = Counter(dict.fromkeys(ACCOUNTS, OPENING))
    for line in lines:
        amount, booked = line["amount"], done[line["id"]]
        if statuses[line["id"]] == "completed":
            assert sorted(booked) == sorted([(line["from"], -amount, False), (line["to"], amount, False)]), line
            expected[line["from"]] -= amount
            expected[line["to"]] += amount
        else:
            assert statuses[line["id"]] == "compensated", line
            forward = sorted((account, amount) for account, amount, undoes in booked if not undoes)
            back = sorted((account, -amount) for account, amount, undoes in booked if undoes)
            assert forward == back, line
            assert len(set(forward)) == len(forward) <= 2, line
    with closing(sqlite3.connect(bank)) as database:
        balances = dict(database.execute("SELECT name, balance FROM accounts"))
    assert balances == expected
    assert sum(balances.values()) == OPENING * len(ACCOUNTS)
