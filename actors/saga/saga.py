"""The saga actor runs one saga: it decides, journals, and then performs. Nothing is true that is not in the journal.

The actor is not a process. A host gives it a mailbox and an alarm, and tells the supervisor where the actor fails. All
that it reaches of the world it reaches through the ports of ``actors/saga/ports.py``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from math import inf
from typing import Any

from antistrophe.actors.saga.commands import input_of
from antistrophe.actors.saga.execution import Change, Execution
from antistrophe.actors.saga.ports import EvidencePort, JournalPort, SagaHostPort
from antistrophe.actors.saga.process_requests import ProcessRequests
from antistrophe.actors.saga.waiters import Waiters
from antistrophe.errors import JournalError, RequestError, SagaExistsError
from antistrophe.journal import SeqConflictError
from antistrophe.messages import (
    AdoptProcess,
    BeginSaga,
    EndProcess,
    ProcessDead,
    ProcessGrant,
    ProcessRefusal,
    RequestLease,
    ResumeSaga,
    ReturnProcess,
    SagaEnded,
    SagaOrder,
    SagaSleeps,
    StepAnswer,
)
from antistrophe.saga import effects as effect
from antistrophe.saga.entries import Lease
from antistrophe.saga.inputs import Answered, Input, ProcessGranted, ProcessRefused
from antistrophe.saga.outcome import outcome_of

log = logging.getLogger("antistrophe")

SLEEP_FROM_S = 2.0
"""A saga that has to wait so long gives up its actor, and is resumed from the journal when it is due."""

LOOK_AGAIN_S = 0.1
"""How soon the actor looks again at an attempt that is past its limit but has written no start marker."""

JOURNAL_AGAIN_S = 0.5
"""How soon a saga tries again that the journal refuses (a full disk, a lock that another process holds)."""


class SagaActor:
    """Runs one saga, then leaves.

    ``_lease_asked``: the supervisor knows already that the saga needs a lease. ``_ask_at``: when to ask for a lease,
    where that is later. ``_look_at``: when to look again at the attempt that runs, where it seemed past its limit.
    ``_left``: the actor has said its last word.
    """

    def __init__(self, host: SagaHostPort, journal: JournalPort, evidence: EvidencePort, saga_id: str) -> None:
        self._host = host
        self._id = saga_id
        self._run = Execution(journal, evidence, host)
        self._requests = ProcessRequests(host)
        self._waiters = Waiters(host, saga_id)
        self._returned: ReturnProcess | None = None
        self._lease_asked = False
        self._ask_at: float | None = None
        self._look_at = 0.0
        self._left = False

    def copy(self) -> SagaActor:
        """This actor as it is now, for a host that may have to undo what comes next."""
        twin = SagaActor.__new__(SagaActor)
        twin.__dict__.update(self.__dict__)
        twin._run, twin._waiters, twin._requests = self._run.copy(), self._waiters.copy(), self._requests.copy()
        return twin

    def receive(self, message: Any) -> None:
        """Handle one message to this saga. What comes after the actor has left is too late."""
        handler = _HANDLERS.get(type(message))
        if handler is not None and not self._left:
            handler(self, message)

    def _on_begin(self, message: BeginSaga) -> None:
        if self._run.begun:
            return
        self._waiters.join(message.waiters)
        if message.grant is not None:
            self._requests.granted(message.grant)
        try:
            change = self._run.begin(message)
        except SeqConflictError:
            self._resume(ResumeSaga(message.spec.id))
            return
        except (JournalError, SagaExistsError) as error:
            if message.grant is not None:
                self._release(message.grant.lease, True)
            # The supervisor forgets the saga before it rejects the request: what is refused must not begin later.
            self._go(SagaEnded(message.spec.id, None, str(error), type(error).__name__))
            return
        if message.acknowledge is not None:
            self._waiters.accepted(message.acknowledge)
        if message.grant is not None:
            self._give_back_unless_used(message.grant.lease)
        self._lease_asked = message.asked
        self._follow(change)
        self._lease_asked = False

    def _on_resume(self, message: ResumeSaga) -> None:
        if not self._run.begun:
            self._waiters.join(message.waiters)
            self._resume(message)

    def _resume(self, message: ResumeSaga) -> None:
        self._run.load(message.saga_id, asked=bool(message.orders))
        for order in message.orders:
            self._carry_out(order)
        if not self._left:
            self._perform(effect.resume(self._run.saga))
            self._set_wake()

    # --- what comes in -----------------------------------------------------------------------------------------

    def _on_grant(self, message: ProcessGrant) -> None:
        if not self._run.begun:
            return
        saga = self._run.saga
        if message.adopted:
            if saga.current is not None and saga.current.lease == message.lease and not saga.ending:
                self._requests.granted(message)
                self._requests.run(self._run, saga.current)  # made once, however often it is told
            return
        self._requests.granted(message)
        change = self._decide(ProcessGranted(message.lease, not message.fresh, message.step_class))
        self._give_back_unless_used(message.lease)
        if change is not None:
            self._follow(change)
        self._ask_if_idle()

    def _on_refusal(self, message: ProcessRefusal) -> None:
        if self._run.begun and self._run.saga.current is None:
            self._requests.answered()
            change = self._decide(ProcessRefused(message.reason, message.found))
            if change is not None:
                self._follow(change)
            if change is None or message.found is None:
                self._sleep(None)

    def _on_dead(self, message: ProcessDead) -> None:
        if not self._run.begun:
            return
        current = self._run.saga.current
        if current is not None and current.lease == message.lease:
            self._requests.answered()
            self._tell(self._run.death(current, message))
        self._run.remove_evidence(message.lease.name)

    def _on_answer(self, message: StepAnswer) -> None:
        if not self._run.begun:
            return
        current = self._run.saga.current
        if current is not None and current.lease.name == message.lease_name:
            self._tell(Answered(message.step, message.action, message.attempt, message.answer))

    def _on_order(self, message: SagaOrder) -> None:
        change = self._carry_out(message) if self._run.begun else None
        if change is not None:
            self._follow(change)

    def _carry_out(self, message: SagaOrder) -> Change | None:
        """Carry out an order and answer it."""
        to = message.reply_to
        try:
            order = input_of(message, self._run.saga)
        except RequestError as error:
            self._waiters.rejected(to, "RequestError", str(error))
            return None
        change = self._decide(order)
        if change is None and not self._left and (why := self._run.refusal or self._run.unconfirmed()):
            self._waiters.rejected(to, type(why).__name__, str(why))
        elif not self._left:  # else another actor is at it, and whoever gave the order asks again
            self._waiters.done(to, effect=change is not None)
        return change

    def wake(self) -> None:
        """The alarm has gone off: try the journal again, ask again, or see whether an attempt is past its deadline."""
        if self._left or not self._run.begun:
            return
        if self._run.stuck:
            self._retry()
        if not self._left:
            self._do_what_is_due()
        self._set_wake()

    def _retry(self) -> None:
        try:
            for change in self._run.retry():
                self._follow(change)
        except SeqConflictError:
            self._go(None)

    def _do_what_is_due(self) -> None:
        now = self._host.now()
        if self._ask_at is not None and now >= self._ask_at and not self._run.stuck:
            self._ask()
        else:
            self._requests.ask_again_if_due(now)
        due = effect.wake_at(self._run.saga)
        if due is not None and now >= max(due, self._look_at):
            self._pass_time()
        self._ask_if_idle()

    def _pass_time(self) -> None:
        passed = self._run.time_passed(self._host.settings.start_timeout_s)
        current = self._run.saga.current
        began_at, now = passed.began_at, self._host.now()
        if current is not None and began_at is not None and began_at + current.limit_s > now:
            self._look_at = began_at + current.limit_s
        else:
            self._look_at = now + LOOK_AGAIN_S
        self._tell(passed)
        if self._run.keep_overdue(passed):  # the journal refuses: what it means is journaled later
            ended = effect.end(self._run.saga)
            self._requests.ask(EndProcess(self._id, ended.started.lease, ended.grace_s, overdue=True))

    # --- decide, journal, perform ------------------------------------------------------------------------------

    def _tell(self, said: Input) -> None:
        if (change := self._decide(said)) is not None:
            self._follow(change)

    def _decide(self, said: Input) -> Change | None:
        """Decide on an input and journal what it changes."""
        try:
            change = self._run.tell(said)
        except SeqConflictError:
            self._go(None)
            return None
        if self._run.stuck:
            self._set_wake()
        return change

    def _follow(self, change: Change) -> None:
        """Do what a change asks for, now that it is journaled."""
        self._perform(effect.effects_of(change.before, change.after))
        self._set_wake()

    def _perform(self, effects: tuple[effect.Effect, ...]) -> None:
        saga = self._run.saga
        for each in effects:
            match each:
                case effect.RunAttempt(started):
                    self._look_at = 0.0  # what was put off was the look at an earlier attempt
                    self._requests.run(self._run, started)
                case effect.ReleaseProcess(lease, reusable):
                    self._release(lease, reusable)
                case effect.RequestLease(not_before=not_before):
                    self._plan_to_ask(not_before)
                case effect.EndProcess(started, grace_s):
                    self._requests.ask(EndProcess(saga.id, started.lease, grace_s))
                case effect.AdoptAttempt(started):
                    self._requests.ask(AdoptProcess(saga.id, started.lease))
                case effect.TellOutcome():
                    self._tell_outcome()

    def _give_back_unless_used(self, lease: Lease) -> None:
        current = self._run.saga.current
        if current is None or current.lease != lease:
            self._release(lease, True)

    def _release(self, lease: Lease, reusable: bool) -> None:
        """Give a process back, even if this actor, which was resumed, has never heard its address."""
        self._requests.forget(lease.name)
        returned = ReturnProcess(self._id, lease.name, reusable)
        if not self._left and self._run.begun and self._run.saga.ended:
            self._returned = returned  # sent with SagaEnded, which comes next
        else:
            self._host.send(self._host.supervisor, returned)

    def _ask_if_idle(self) -> None:
        """Ask for what the saga needs next, where no attempt runs and nothing has been asked for: a grant came for an
        attempt that is not to be made any more, or the journal refused it."""
        waits = self._requests.again_at is not None or self._ask_at is not None
        if self._run.saga.current is None and not (waits or self._run.stuck or self._left):
            self._perform(effect.resume(self._run.saga))

    def _plan_to_ask(self, not_before: float | None) -> None:
        now = self._host.now()
        if self._host.draining:
            return
        if not_before is None or not_before <= now:
            self._ask()
        elif not_before - now < SLEEP_FROM_S:
            self._ask_at = not_before
        else:
            deadline = effect.wake_at(self._run.saga)
            self._sleep(not_before if deadline is None else min(not_before, deadline))

    def _ask(self) -> None:
        saga, self._ask_at = self._run.saga, None
        for each in effect.resume(saga):
            if isinstance(each, effect.RequestLease):
                self._requests.ask(RequestLease(saga.id, each.request), send=not self._lease_asked)

    def _tell_outcome(self) -> None:
        outcome = outcome_of(self._run.saga)
        assert outcome is not None, "only a saga that ended or is parked has an outcome"
        self._waiters.ended(outcome)
        self._go(SagaEnded(outcome.saga_id, outcome.status, returned=self._returned))

    def _sleep(self, until: float | None) -> None:
        self._go(SagaSleeps(self._id, until, effect.is_urgent(self._run.saga, until)))

    def _go(self, farewell: SagaEnded | SagaSleeps | None) -> None:
        """Tell the supervisor that this actor leaves, and leave, once. None: another one has gone on with the saga."""
        if not self._left:
            self._left = True
            if farewell is None:
                log.warning("saga %s is in other hands; this actor leaves", self._id, extra={"saga_id": self._id})
            else:
                self._host.send(self._host.supervisor, farewell)
            self._host.leave(self._id)

    def _set_wake(self) -> None:
        """Set the alarm for whatever comes first."""
        if self._left:
            return
        if self._run.stuck:
            self._host.wake_saga_at(self._host.now() + JOURNAL_AGAIN_S, self._id)
            return
        due = effect.wake_at(self._run.saga)
        first = inf if due is None else max(due, self._look_at)
        for moment in (self._ask_at, self._requests.again_at):
            if moment is not None and moment < first:
                first = moment
        if first < inf:
            self._host.wake_saga_at(first, self._id)


_HANDLERS: Mapping[type, Callable[[SagaActor, Any], None]] = {
    BeginSaga: SagaActor._on_begin,
    ResumeSaga: SagaActor._on_resume,
    ProcessGrant: SagaActor._on_grant,
    ProcessRefusal: SagaActor._on_refusal,
    ProcessDead: SagaActor._on_dead,
    StepAnswer: SagaActor._on_answer,
    SagaOrder: SagaActor._on_order,
}
