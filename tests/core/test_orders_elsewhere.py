"""The orders of other hosts as one host carries them out: handed on until they are answered, and then forgotten."""

from __future__ import annotations

from typing import Any, cast

from antistrophe.actors.membership.elsewhere import GIVES_UP_S, Elsewhere
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.hosts.stored_orders import StoredOrder, StoredOrders
from antistrophe.messages import Done, OrderSaga
from antistrophe.saga.inputs import CancelAsked
from antistrophe.serialization.payload import pack_record


class Orders:
    """The rows of orders for one host."""

    def __init__(self, *ids: str) -> None:
        self.open = [StoredOrder(each, "s", pack_record(CancelAsked("why", "me"))) for each in ids]
        self.answers: dict[str, bytes] = {}

    def for_host(self, _host_id: str) -> list[StoredOrder]:
        return [each for each in self.open if each.id not in self.answers]

    def answer(self, order_id: str, answer: bytes, _host_id: str) -> None:
        self.answers[order_id] = answer


class Host:
    def __init__(self, orders: Orders) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self.elsewhere = Elsewhere(
            cast(JournalAccess, None), cast(StoredOrders, orders), lambda *_: None, self._tell, lambda: self.now
        )

    def _tell(self, message: Any) -> None:
        assert isinstance(message, OrderSaga)
        self.told.append(message.correlation)

    def look(self, after_s: float) -> None:
        self.now += after_s
        self.elsewhere.take_orders("h")


def test_an_order_is_handed_on_again_until_it_is_answered() -> None:
    orders = Orders("o-1", "o-2")
    host = Host(orders)
    for after_s in (0.0, 0.4, 4.0, 1.0):
        host.look(after_s)
    assert host.told == ["o-1", "o-2", "o-1", "o-2"]
    for _ in range(2):
        host.elsewhere.answered(Done("o-1", 7, effect=True))
    host.look(6.0)
    assert host.told[4:] == ["o-2"]
    assert list(orders.answers) == ["o-1"]


def test_what_is_answered_elsewhere_is_forgotten() -> None:
    orders = Orders("o-1", "o-2", "o-3")
    host = Host(orders)
    host.look(0.0)
    del orders.open[0]  # its saga went to another host
    host.look(GIVES_UP_S + 6.0)
    assert sorted(host.elsewhere._handled) == ["o-2", "o-3"]
    host.elsewhere.answered(Done("o-1", 7, effect=True))
    assert orders.answers == {}, "an answer that comes so late is that host's to give"
