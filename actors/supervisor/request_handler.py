"""Handles the requests of applications: to start a saga or join it, to wait for its end, to give it an order."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.definition.validation import is_text, problem_with
from antistrophe.errors import JournalError, SagaExistsError
from antistrophe.messages import (
    Accepted,
    Address,
    AwaitSaga,
    BeginSaga,
    Done,
    HeldSagas,
    HoldSagas,
    OrderSaga,
    Rejected,
    ResolveStep,
    SagaEnded,
    SagaOrder,
    StartSaga,
    StopWaiting,
    Waiter,
    rejection,
)
from antistrophe.records import SagaStatus
from antistrophe.saga.inputs import CancelAsked, RelocateAsked, RetryAsked
from antistrophe.scheduling.admission import rank_of

if TYPE_CHECKING:
    from antistrophe.actors.supervisor.holders import Holders

LONGEST_TEXT = 10_000
"""How many characters each text of an order may have. The texts are journaled, and shown with the saga."""

_OPTIONAL = {(CancelAsked, "reason"), (RetryAsked, "note"), (RelocateAsked, "note")}
"""The texts of orders that may be left out."""


class Elsewhere(Protocol):
    """What reaches the hosts that share the journal with this one."""

    @property
    def holders(self) -> Holders: ...
    def await_end(self, saga_id: str, waiter: Waiter) -> None: ...
    def stop_waiting(self, message: StopWaiting) -> None: ...
    def order(self, order: SagaOrder) -> None: ...


class RequestHandler:
    """Answers each request, and gives the same answer when the same request is sent again."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        sagas: LiveSagas,
        journal: JournalAccess,
        clients: Clients,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        """``elsewhere``: what reaches the other hosts of the journal, where there may be some."""
        self._supervisor = supervisor
        self._elsewhere = elsewhere
        self._sagas = sagas
        self._journal = journal
        self._clients = clients

    # --- start -------------------------------------------------------------------------------------------------

    def start(self, message: StartSaga, sender: Address) -> None:
        """Start a saga, or join the one of that id."""
        to = Waiter(sender, message.correlation, message.client_id)
        wrong = problem_with(message.spec)
        if wrong is None and not is_text(message.request_id):
            wrong = "the request's id can't be journaled"
        if wrong is not None:
            self._reject(to, "InvalidDefinitionError", wrong)
            return
        self._clients.heard(message.client_id)
        live = self._sagas.get(message.spec.id)
        if live is not None:
            self._start_live(message, to, live)
        elif self._journal.request_id(message.spec.id) is not None:
            self._start_known(message, to)
        else:  # or it was purged: the journal says so where it refuses the acceptance
            self._start_new(message, to)

    def _start_live(self, message: StartSaga, to: Waiter, live: LiveSaga) -> None:
        again = message.request_id in live.request_ids
        if not again and self._has_ended(live.id):
            self._start_known(message, to)
            return
        if not again and not self._may_join(message, to, live):
            return
        self._join(message, live)
        if message.wait:
            self._wait_for(live, to)
        # A saga that is not durable yet is acknowledged by its actor, or when this request is sent again.
        if self._journal.knows(live.id):
            self._journal.confirm()
            self._supervisor.send(to.address, Accepted(to.correlation, live.id, self._journal.position, not again))

    def _may_join(self, message: StartSaga, to: Waiter, live: LiveSaga) -> bool:
        """Whether the request joins that saga. Where it does not, the sender is told why; but while a client may still
        say that it holds the saga, nothing is told, and the request comes again."""
        if not message.join and any(map(self._clients.lives, live.holders)):
            text = (
                f"saga {live.id!r} is live, and an application that is attached has started or joined it: join it too,"
                ' with if_live="join", or choose another id'
            )
            self._reject(to, "AlreadyExecutingError", text)
        elif not message.join and not self._clients.all_announced(self._supervisor.now()):
            pass
        elif not self._spec_of(live).same_definition(message.spec):
            self._reject(to, "SagaExistsError", f"saga {live.id!r} is live with another definition; choose another id")
        else:
            return message.join or self._takes_over(message, to)
        return False

    def _takes_over(self, message: StartSaga, to: Waiter) -> bool:
        """Whether no client on another host holds a saga that none here does. Else the sender is told. Of several
        hosts that ask, one is the first."""
        saga_id = message.spec.id
        if self._elsewhere is None or self._elsewhere.holders.take_over(saga_id, to.client_id, message.request_id):
            return True
        text = (
            f"saga {saga_id!r} is live, and an application of another host of this journal has started or joined it:"
            ' join it too, with if_live="join", or choose another id'
        )
        self._reject(to, "AlreadyExecutingError", text)
        return False

    def _join(self, message: StartSaga, live: LiveSaga) -> None:
        """From now on the client of that request holds the saga. A saga whose clients are gone is taken over."""
        if not message.join:
            live.request_ids.add(message.request_id)
        if not self._clients.lives(live.client_id):
            live.client_id = message.client_id
            self._sagas.try_again(live)
        self._hold(live, message.client_id)

    def _hold(self, live: LiveSaga, client_id: str) -> None:
        live.holders.add(client_id)
        if self._elsewhere is not None:
            self._elsewhere.holders.holds(live.id, client_id)

    def hold(self, message: HoldSagas, sender: Address) -> None:
        """A client says which sagas it holds."""
        self._clients.heard(message.client_id)
        found = [live for saga_id in message.saga_ids if (live := self._sagas.get(saga_id)) is not None]
        ids, host = [live.id for live in found], ""
        if self._elsewhere is not None:
            holders, others = self._elsewhere.holders, set(message.saga_ids).difference(ids)
            come = holders.expects if message.to_come else holders.announced
            ids, host = ids + come(others, message.client_id), holders.host_id
        for live in found:
            self._hold(live, message.client_id)
        if message.last:
            self._clients.announced(message.client_id)
        self._supervisor.send(sender, HeldSagas(message.correlation, tuple(ids), host))

    def _has_ended(self, saga_id: str) -> bool:
        """Whether the saga is final (it may be purged by now) although it still counts as live: the word of its actor
        is on the way here."""
        status = self._journal.status(saga_id)
        return not status.running if status is not None else self._journal.purged(saga_id) is not None

    def _spec_of(self, live: LiveSaga) -> SagaSpec:
        return live.begin.spec if live.begin is not None else self._journal.load(live.id).spec

    def _start_known(self, message: StartSaga, to: Waiter) -> None:
        saga = self._journal.load(message.spec.id)
        if not saga.spec.same_definition(message.spec):
            text = f"a saga {saga.id!r} of another definition ({saga.spec.name!r}) has finished; choose another id"
            self._reject(to, "SagaExistsError", text)
            return
        if self._refuse_elsewhere(message, to):
            return
        self._journal.confirm()
        self._supervisor.send(to.address, Accepted(to.correlation, saga.id, self._journal.position))
        if message.wait:
            self._tell_outcome(saga.id, to)

    def _refuse_elsewhere(self, message: StartSaga, to: Waiter) -> bool:
        """Whether the saga is live on another host, and the client does not hold it with this request: then it was told
        so, or has to ask again."""
        saga_id = message.spec.id
        if self._elsewhere is None or self._has_ended(saga_id):
            return False
        if message.join or self._journal.request_id(saga_id) == message.request_id:
            self._elsewhere.holders.holds(saga_id, message.client_id, None if message.join else message.request_id)
            return False
        return not self._clients.all_announced(self._supervisor.now()) or not self._takes_over(message, to)

    def _start_new(self, message: StartSaga, to: Waiter) -> None:
        spec = message.spec
        why = self._sagas.full(spec)
        if why is not None:
            try:
                position = self._journal.accept_waiting(message.request_id, spec, self._supervisor.now(), why)
            except JournalError as error:
                self._reject(to, type(error).__name__, str(error))
                return
            live = self._sagas.add(spec.id, rank_of(spec), message.request_id, message.client_id)
            live.holders.add(message.client_id)
            self._sagas.enqueue(live)
            self._supervisor.send(to.address, Accepted(to.correlation, spec.id, position))
            if message.wait:
                self._wait_for(live, to)
            return
        live = self._sagas.add(spec.id, rank_of(spec), message.request_id, message.client_id)
        live.holders.add(message.client_id)
        if message.wait:
            live.waiters[to.correlation] = to
        self._sagas.begin(live, BeginSaga(message.request_id, spec, None, None if message.wait else to))

    # --- wait --------------------------------------------------------------------------------------------------

    def wait(self, message: AwaitSaga, sender: Address) -> None:
        """Have the sender told of the saga's end."""
        to = Waiter(sender, message.correlation, message.client_id)
        self._clients.heard(message.client_id)
        live = self._sagas.get(message.saga_id)
        if live is not None:
            self._hold(live, message.client_id)
            self._wait_for(live, to)
        elif self._journal.knows(message.saga_id):
            self._tell_outcome(message.saga_id, to)
        else:
            self._reject(to, "SagaNotFoundError", f"there is no saga {message.saga_id!r}")

    def stop_waiting(self, message: StopWaiting) -> None:
        """Somebody has given up."""
        live = self._sagas.get(message.saga_id)
        if live is not None:
            live.stop_waiting(message.correlation)
        elif self._elsewhere is not None:
            self._elsewhere.stop_waiting(message)

    def _wait_for(self, live: LiveSaga, to: Waiter) -> None:
        if live.unguarded is not None and live.host is None:
            self._reject(to, "SystemStateError", live.why_refused)
        elif live.knows(to.correlation) and self._has_ended(live.id):
            self._tell_outcome(live.id, to)  # the word of its actor that it has ended may be lost
        elif not to.client_id or self._clients.lives(to.client_id):  # else that client has left meanwhile
            live.wait(to)

    def ended(self, message: SagaEnded) -> None:
        """A saga is final or parked, or the journal refused it.

        The actor of a saga that ended has told the waiters that it knew; who came later is told here. Nobody has been
        told of a saga that was refused."""
        live = self._sagas.remove(message.saga_id)
        if live is None:
            return
        if message.status is not None:
            for to in live.late.values():
                self._tell_outcome(message.saga_id, to, durable=True)
            return
        starter = None if live.begin is None else live.begin.acknowledge
        purged = None
        if message.error == SagaExistsError.__name__:
            with contextlib.suppress(JournalError):  # the refusal says it too
                purged = self._journal.purged(message.saga_id)
        for to in [*live.waiters.values(), *live.late.values(), *([] if starter is None else [starter])]:
            self._supervisor.send(to.address, Rejected(to.correlation, message.error, message.refusal, purged))

    def _tell_outcome(self, saga_id: str, to: Waiter, *, durable: bool = False) -> None:
        try:
            told = self._journal.end_of(saga_id, to.correlation, durable=durable)
        except JournalError as error:
            told = rejection(to.correlation, error)
        if told is not None:
            self._supervisor.send(to.address, told)
        elif self._elsewhere is not None:
            self._elsewhere.await_end(saga_id, to)

    # --- order -------------------------------------------------------------------------------------------------

    def order(self, message: OrderSaga, sender: Address) -> None:
        """Cancel, retry or resolve a saga."""
        to = Waiter(sender, message.correlation)
        order = SagaOrder(message.saga_id, message.order, to)
        wrong = _wrong_in(message.order)
        if wrong is not None:
            self._reject(to, "RequestError", wrong)
            return
        live = self._sagas.get(message.saga_id)
        if live is not None:
            self._order_live(live, order)
            return
        purged = self._journal.purged(message.saga_id)
        status = self._journal.status(message.saga_id) if purged is None else purged.status
        if status is None:
            self._reject(to, "SagaNotFoundError", f"there is no saga {message.saga_id!r}")
        elif self._elsewhere is not None and not status.final and self._journal.is_elsewhere(message.saga_id):
            self._elsewhere.order(order)
        elif isinstance(message.order, CancelAsked):
            self._journal.confirm()
            self._supervisor.send(to.address, Done(to.correlation, self._journal.position, effect=False))
        elif status is not SagaStatus.FAILED:
            may = "it has ended, and owes nothing to retry or resolve (a saga that is parked or being compensated may)"
            if isinstance(message.order, RelocateAsked):
                may = "it needs no code any more"
            self._reject(to, "RequestError", f"saga {message.saga_id!r} is {status.value}: {may}")
        else:
            request_id = self._journal.request_id(message.saga_id) or ""
            live = self._sagas.add(message.saga_id, self._journal.rank(message.saga_id), request_id, message.client_id)
            live.urgent = True
            if self._elsewhere is not None:
                self._elsewhere.holders.came(live)
            self._order_live(live, order)

    def _order_live(self, live: LiveSaga, order: SagaOrder) -> None:
        if live.host is not None:
            self._supervisor.send(live.host.address, order)
        else:
            live.orders = [each for each in live.orders if each.reply_to.correlation != order.reply_to.correlation]
            live.orders.append(order)
            self._sagas.wake(live)

    def _reject(self, to: Waiter, error: str, text: str) -> None:
        self._supervisor.send(to.address, Rejected(to.correlation, error, text))


def _wrong_in(order: CancelAsked | RetryAsked | ResolveStep | RelocateAsked) -> str | None:
    """Why an order can't be journaled as it is, or None."""
    for part in fields(order):
        value = getattr(order, part.name)
        if isinstance(value, Origin):
            if not all(map(is_text, (value.script or "", value.cwd, *value.sys_path))):
                return "the paths of an origin must be texts"
            continue
        if not is_text(value) and not (value is None and (type(order), part.name) in _OPTIONAL):
            return f"the {part.name} of an order must be a text, not {value!a:.200}"
        if value is not None and len(value) > LONGEST_TEXT:
            return f"the {part.name} of an order may have {LONGEST_TEXT:,} characters, not {len(value):,}"
    if isinstance(order, ResolveStep) and not order.note.strip():
        return "the note of a resolve must say how the step was settled: it is journaled"
    return None
