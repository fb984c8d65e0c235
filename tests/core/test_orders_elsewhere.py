"""What one host does for the others, and has them do: orders are handed on until they are answered, and then forgotten;
one question tells the ends of many sagas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from antistrophe.actors.membership.elsewhere import GIVES_UP_S, Elsewhere
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.hosts.stored_orders import StoredOrder, StoredOrders
from antistrophe.messages import AwaitElsewhere, Done, OrderSaga, SagaOutcome, StopWaiting, Waiter
from antistrophe.records import SagaStatus
from antistrophe.saga.inputs import CancelAsked
from antistrophe.saga.outcome import Outcome
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


class Journal:
    """A journal in which some sagas run; it counts its questions."""

    def __init__(self, running: set[str]) -> None:
        self.running = running
        self.questions = 0
        self.confirmed = 0

    def holders(self) -> Journal:
        return self

    def unfinished(self, saga_ids: Sequence[str]) -> set[str]:
        self.questions += 1
        return self.running & set(saga_ids)

    def confirm(self) -> None:
        self.confirmed += 1

    def end_of(self, saga_id: str, correlation: str, *, durable: bool) -> SagaOutcome:
        assert durable
        return SagaOutcome(correlation, Outcome(saga_id, SagaStatus.COMPLETED), 1)


class Host:
    def __init__(self, orders: Orders, journal: Journal | None = None) -> None:
        self.now = 0.0
        self.told: list[str] = []
        self.sent: list[tuple[str, str]] = []
        self.elsewhere = Elsewhere(
            cast(JournalAccess, journal),
            cast(StoredOrders, orders),
            lambda to, message: self.sent.append((to, message.correlation)),
            self._tell,
            lambda: self.now,
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


def test_the_ends_of_many_sagas_are_one_question_for_each_500() -> None:
    journal = Journal({f"s{number}" for number in range(1_000)})
    host = Host(Orders(), journal)
    for number in range(2_000):
        host.elsewhere.await_end(AwaitElsewhere(f"s{number % 1_000}", Waiter("me", f"c{number}")))
    host.elsewhere.look_for_ends()
    assert (journal.questions, journal.confirmed, host.sent) == (2, 0, [])
    journal.running -= {"s3", "s998"}
    host.elsewhere.stop_waiting(StopWaiting("c998", "s998"))
    host.elsewhere.look_for_ends()
    assert sorted(host.sent) == [("me", "c1003"), ("me", "c1998"), ("me", "c3")]
    assert (journal.questions, journal.confirmed) == (4, 1)
    host.elsewhere.look_for_ends()
    assert len(host.sent) == 3
    assert host.elsewhere.waits
