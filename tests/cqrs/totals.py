"""A projection in each of its three kinds: totals of payments by account, with every position that was taken in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

from antistrophe.cqrs.projection import ProjectionConnection, Tables
from antistrophe.definition.events import event
from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.store import EventStore


@event("totals.paid")
@dataclass(frozen=True)
class Paid:
    account: str
    amount: int


class Totals(Protocol):
    """What the tests ask of each kind."""

    def total(self, account: str) -> int: ...

    def positions(self) -> list[int]:
        """The positions taken in, in the order in which they were."""


class MemoryTotals:
    def __init__(self) -> None:
        self.totals: dict[str, int] = defaultdict(int)
        self.seen: list[int] = []

    def apply(self, recorded_event: RecordedEvent) -> None:
        paid = recorded_event.event
        if isinstance(paid, Paid):
            self.totals[paid.account] += paid.amount
        self.seen.append(recorded_event.position)

    def total(self, account: str) -> int:
        return self.totals[account]

    def positions(self) -> list[int]:
        return list(self.seen)


class SavedTotals(MemoryTotals):
    def save(self) -> Any:
        return {"totals": dict(self.totals), "seen": self.seen}

    def load(self, state: Any) -> None:
        self.totals.update(state["totals"])
        self.seen = state["seen"]


class SqlTotals:
    tables: Tables

    def create_in(self, connection: ProjectionConnection, tables: Tables) -> None:
        self.tables = tables
        self.totals, self.seen = tables.name("totals"), tables.name("seen")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {self.totals}(account TEXT PRIMARY KEY, total INTEGER)")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {self.seen}(turn INTEGER PRIMARY KEY, position INTEGER)")

    def apply_in(self, connection: ProjectionConnection, recorded_event: RecordedEvent) -> None:
        paid = recorded_event.event
        if isinstance(paid, Paid):
            connection.execute(
                f"INSERT INTO {self.totals} AS kept VALUES (?, ?)"
                " ON CONFLICT(account) DO UPDATE SET total = kept.total + excluded.total",
                (paid.account, paid.amount),
            )
        connection.executemany(
            f"INSERT INTO {self.seen}(turn, position) SELECT coalesce(max(turn), 0) + 1, ? FROM {self.seen}",
            [(recorded_event.position,)],
        )

    def total(self, account: str) -> int:
        rows = self.tables.query(f"SELECT total FROM {self.totals} WHERE account = ?", (account,))
        return int(rows[0][0]) if rows else 0

    def positions(self) -> list[int]:
        return [row[0] for row in self.tables.query(f"SELECT position FROM {self.seen} ORDER BY turn")]


KINDS = [MemoryTotals, SavedTotals, SqlTotals]


def pay(store: EventStore, count: int, account: str = "A", amount: int = 1) -> int:
    """Append payments, and answer with the position of the last."""
    store.append("payments", [Paid(account, amount)] * count)
    return store.head()
