"""What concerns the sagas of other hosts: waits for their ends, and orders, which travel as rows of the database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.errors import RequestError, UnreadableDataError, UnreadableEntryError
from antistrophe.hosts.stored_orders import StoredOrder, StoredOrders
from antistrophe.journal.saga_owner import Ownership
from antistrophe.messages import (
    Address,
    AwaitElsewhere,
    Done,
    OrderSaga,
    Rejected,
    ResolveStep,
    SagaOrder,
    SagaOutcome,
    StopWaiting,
    Waiter,
    rejection,
)
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked
from antistrophe.serialization.payload import pack_record, unpack_record

_ORDERS = (CancelAsked, RetryAsked, ResolveStep, RelocateAsked)
_ANSWERS = (Done, Rejected)
_UPGRADE = "upgrade the hosts that share the journal to one release (antistrophe hosts tells theirs)"

GIVES_UP_S = 600.0
"""How long an order, or a wait, is kept that nobody asks for again: who still wants it asks every few seconds. An order
of another host is known for as long after it was last handed on."""

_HAND_ON_AGAIN_S = 5.0

_AT_ONCE = 500
"""How many sagas one question names."""


@dataclass(slots=True)
class _Asked:
    """What somebody waits for: the end of a saga, or the answer to an order. ``at``: when that was last asked."""

    saga_id: str
    waiter: Waiter
    at: float


class Elsewhere:
    """Hands orders to other hosts, carries out theirs, and tells of the ends of sagas that are not here.

    ``tell_supervisor`` sends a message to this host's supervisor, whose answer comes back to this actor.
    """

    def __init__(
        self,
        journal: JournalAccess,
        orders: StoredOrders,
        send: Callable[[Address, Any], None],
        tell_supervisor: Callable[[Any], None],
        now: Callable[[], float],
    ) -> None:
        self._journal = journal
        self._orders = orders
        self._send = send
        self._tell_supervisor = tell_supervisor
        self._now = now
        self._ends: dict[str, _Asked] = {}
        self._given: dict[str, _Asked] = {}
        self._handled: dict[str, float] = {}
        self._host_id = ""

    @property
    def waits(self) -> bool:
        """Whether somebody here waits for something."""
        return bool(self._ends or self._given)

    # --- what this host wants ------------------------------------------------------------------------------------

    def await_end(self, message: AwaitElsewhere) -> None:
        """Somebody waits for the end of a saga."""
        self._ends[message.waiter.correlation] = _Asked(message.saga_id, message.waiter, self._now())

    def stop_waiting(self, message: StopWaiting) -> None:
        """Nobody waits with that correlation any more."""
        self._ends.pop(message.correlation, None)

    def order(self, message: SagaOrder) -> None:
        """Somebody here has an order for a saga that is not here. Asked again, it is the same order."""
        to = message.reply_to
        order_id = str(uuid.uuid5(uuid.NAMESPACE_OID, to.correlation))
        if order_id not in self._given:
            self._orders.leave(StoredOrder(order_id, message.saga_id, pack_record(message.order)))
        self._given[order_id] = _Asked(message.saga_id, to, self._now())

    def look_for_ends(self) -> None:
        """Tell those whose saga has ended, or is parked."""
        waiters: dict[str, list[Waiter]] = {}
        for asked in self._ends.values():
            waiters.setdefault(asked.saga_id, []).append(asked.waiter)
        ended = self._ended([*waiters])
        if ended:
            self._journal.confirm()
        for saga_id in ended:
            for to in waiters[saga_id]:
                told = self._end_of(saga_id, to.correlation)
                if told is not None:
                    self._send(to.address, told)
                self._ends.pop(to.correlation, None)

    def _ended(self, saga_ids: list[str]) -> list[str]:
        """Those of these sagas that do not run, in one question for many of them."""
        running: set[str] = set()
        for first in range(0, len(saga_ids), _AT_ONCE):
            running |= self._journal.holders().unfinished(saga_ids[first : first + _AT_ONCE])
        return [each for each in saga_ids if each not in running]

    def _end_of(self, saga_id: str, correlation: str) -> SagaOutcome | Rejected | None:
        try:
            return self._journal.end_of(saga_id, correlation, durable=True)
        except UnreadableEntryError as error:  # that of a newer release keeps nobody else waiting
            return rejection(correlation, error)

    def look_for_answers(self) -> None:
        """Hand on the answers of other hosts, and drop what nobody asks for any more."""
        found = self._orders.answers([*self._given])
        for order_id, answer in found.items():
            to = self._given.pop(order_id).waiter
            try:
                said: Any = unpack_record(answer, _ANSWERS)
            except UnreadableDataError as error:
                why = f"the host that has the saga has answered, and the answer can't be read: {error}; {_UPGRADE}"
                said = Rejected("", RequestError.__name__, why)
            self._send(to.address, _for(to.correlation, said))
        if found:
            self._orders.forget([*found])
        long_ago = self._now() - GIVES_UP_S
        for asked in (self._ends, self._given):
            for key in [key for key, each in asked.items() if each.at < long_ago]:
                del asked[key]

    def owned_here(self, saga_id: str, host_id: str) -> Ownership | None:
        """How that host owns the saga; None where it does not."""
        owned = self._journal.ownership(saga_id)
        return owned if owned is not None and owned.host == host_id else None

    # --- what other hosts want -------------------------------------------------------------------------------------

    def take_orders(self, host_id: str) -> None:
        """Hand the orders for sagas of this host to its supervisor. One that is not answered in time is handed on
        again."""
        now, self._host_id = self._now(), host_id
        for each in self._orders.for_host(host_id):
            if self._handled.get(each.id, 0.0) > now:
                continue
            self._handled[each.id] = now + _HAND_ON_AGAIN_S
            try:
                order: Any = unpack_record(each.order, _ORDERS)
            except UnreadableDataError as error:
                log.error("an order of another host can't be read: %s", error, extra={"saga_id": each.saga_id})
                why = f"the host that has the saga can't read this order: {error}; {_UPGRADE}"
                said = Rejected("", RequestError.__name__, why)
                self._orders.answer(each.id, pack_record(said), host_id)
                continue
            self._tell_supervisor(OrderSaga(each.id, each.saga_id, order))
        for order_id in [each for each, again_at in self._handled.items() if again_at < now - GIVES_UP_S]:
            del self._handled[order_id]  # its saga went to another host, or who gave it asks no more

    def answered(self, message: Done | Rejected) -> None:
        """The supervisor, or the saga, has answered an order of another host."""
        if self._handled.pop(message.correlation, None) is not None:
            self._orders.answer(message.correlation, pack_record(message), self._host_id)


def _for(correlation: str, answer: Done | Rejected) -> Done | Rejected:
    if isinstance(answer, Done):
        return Done(correlation, answer.position, answer.effect)
    return Rejected(correlation, answer.error, answer.text, answer.purged)
