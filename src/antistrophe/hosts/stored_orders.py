"""Orders that one host leaves in the database for another: to cancel, retry or resolve a saga that is the other's.

An order is a row until its answer is fetched. It goes to whoever owns the saga when it is read, so one that is on its
way while the saga changes hands reaches the new owner. Carried out twice, an order changes nothing the second time: the
saga itself says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.portable_sql import SCHEMA

KEPT_S = 3_600.0
"""How long an order, or its answer, waits for whoever is to fetch it."""


_ANSWER = f"""
    UPDATE {SCHEMA}.orders AS given SET answer = ? WHERE id = ? AND answer IS NULL
    AND EXISTS (SELECT FROM {SCHEMA}.sagas AS its WHERE its.id = given.saga_id AND its.host = ?)"""


@dataclass(frozen=True, slots=True)
class StoredOrder:
    """An order for the saga, packed. ``id`` names it for ever."""

    id: str
    saga_id: str
    order: bytes


class StoredOrders:
    """The orders in the database."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def leave(self, order: StoredOrder) -> None:
        """Leave an order for the owner of its saga. Left twice, it is one."""
        self._database.execute(
            f'INSERT INTO {SCHEMA}.orders(id, saga_id, "order") VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING',
            (order.id, order.saga_id, order.order),
        )

    def for_host(self, host_id: str, limit: int = 100) -> list[StoredOrder]:
        """The orders for the sagas of that host that have no answer yet, in the order in which they came."""
        rows = self._database.rows(
            f'SELECT o.id, o.saga_id, o."order" FROM {SCHEMA}.orders o JOIN {SCHEMA}.sagas s ON s.id = o.saga_id'
            " WHERE o.answer IS NULL AND s.host = ? ORDER BY o.at, o.id LIMIT ?",
            (host_id, limit),
        )
        return [StoredOrder(*row) for row in rows]

    def answer(self, order_id: str, answer: bytes, host_id: str) -> None:
        """Leave the answer to an order, as the host that owns its saga. The first one counts; that of a host which has
        lost the saga does not, for the next owner is given the order, too."""
        self._database.execute(_ANSWER, (answer, order_id, host_id))

    def answers(self, order_ids: Sequence[str]) -> dict[str, bytes]:
        """The answers that are there, by the id of their order."""
        if not order_ids:
            return {}
        rows = self._database.rows(
            f"SELECT id, answer FROM {SCHEMA}.orders WHERE id = ANY(?) AND answer IS NOT NULL", ([*order_ids],)
        )
        return dict(rows)

    def forget(self, order_ids: Sequence[str]) -> None:
        """These orders have been answered to whoever gave them. Beside them go those that nobody has fetched."""
        self._database.execute(
            f"DELETE FROM {SCHEMA}.orders WHERE id = ANY(?) OR at < clock_timestamp() - make_interval(secs => ?)",
            ([*order_ids], KEPT_S),
        )
