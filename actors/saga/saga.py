"""The saga actor: one execution. It decides, journals and performs, and holds no truth that is not in the journal.

It is no process of its own: a host gives it a mailbox, wakeups and, should it fail, a notice to the supervisor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.saga.commands import input_of
from antistrophe.actors.saga.execution import Change, Execution
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.ports import SagaHostPort
from antistrophe.actors.saga.run_step import run_step
from antistrophe.actors.saga.waiters import Waiters
from antistrophe.actors.step.attempt_file import remove_attempt_files
from antistrophe.errors import JournalError, RequestError
from antistrophe.journal import SeqConflictError
from antistrophe.messages import (
    Address,
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
    WaitForSaga,
)
from antistrophe.saga import effects as effect
from antistrophe.saga.entries import AttemptStarted, Lease
from antistrophe.saga.inputs import Answered, Input, ProcessGranted, ProcessRefused
from antistrophe.saga.outcome import outcome_of

SLEEP_FROM_S = 2.0
"""From this wait on, a saga gives its actor back and is resumed from the journal when it is due."""

ASK_AGAIN_S = 2.0
"""How soon a question that the supervisor did not answer is asked again, in case it was lost; doubled up to
ASK_AGAIN_MAX_S, for most wait because others have what they ask for."""

ASK_AGAIN_MAX_S = 30.0

LOOK_AGAIN_S = 0.1
"""How soon an attempt is looked at again that is past its limit but has not left its start marker."""

JOURNAL_AGAIN_S = 0.5
"""How soon a saga that the journal refuses (a full disk) tries again."""


class SagaActor:
    """Runs one saga, then leaves."""

    def __init__(self, host: SagaHostPort, ledger: JournalAccess, saga_id: str) -> None:
        self._host = host
        self._id = saga_id
        self._run = Execution(ledger, host)
        self._address_of: dict[str, Address] = {}
        self._audience = Waiters(host, saga_id)
        self._returned: ReturnProcess | None = None
        self._spoken_for = False
        self._question: Any = None
        self._ask_again_at = 0.0
        self._ask_again_s = ASK_AGAIN_S
        self._ask_at: float | None = None
        self._look_at = 0.0
        self._wakes_at: float | None = None
        self._left = False

    def __copy__(self) -> SagaActor:
        """This actor as it is now, for a host that may have to undo what comes next."""
        twin = SagaActor.__new__(SagaActor)
        now = {"_run": copy(self._run), "_audience": copy(self._audience), "_address_of": self._address_of.copy()}
        twin.__dict__.update(self.__dict__ | now)
        return twin

    def receive(self, message: Any) -> None:
        """Handle one message to this saga; those that come after it has left are too late."""
        handler = _HANDLERS.get(type(message))
        if handler is not None and not self._left:
            handler(self, message)

    # --- beginning ---------------------------------------------------------------------------------------------

    def _on_begin(self, message: BeginSaga) -> None:
        if self._run.begun:
            return
        self._audience.join(message.waiters)
        if message.grant is not None:
            self._address_of[message.grant.lease.name] = message.grant.address
        try:
            change = self._run.begin(message)
        except SeqConflictError:
            self._resume(ResumeSaga(message.spec.id))
            return
        except JournalError as error:
            if message.grant is not None:
                self._give_back(message.grant.lease, True)
            # Told by the supervisor once it has let go of the saga: what is refused must not begin later.
            self._go(SagaEnded(message.spec.id, None, str(error)))
            return
        if message.acknowledge is not None:
            self._audience.accepted(message.acknowledge, change.position)
        self._spoken_for = message.asked
        self._follow(change)
        self._spoken_for = False
        if message.grant is not None:
            self._give_back_unless_used(message.grant.lease)

    def _on_resume(self, message: ResumeSaga) -> None:
        if not self._run.begun:
            self._audience.join(message.waiters)
            self._resume(message)

    def _resume(self, message: ResumeSaga) -> None:
        self._run.load(message.saga_id)
        for order in message.orders:
            self._obey(order)
        self._perform(effect.resume(self._run.saga))
        self._set_wake()

    # --- what comes in -----------------------------------------------------------------------------------------

    def _on_grant(self, message: ProcessGrant) -> None:
        if not self._run.begun:
            return
        self._question = None
        lease, current = message.lease, self._run.saga.current
        self._address_of[lease.name] = message.address
        if current is not None and current.lease == lease:
            # Adopted: told again, its process makes the call only if it has not made it yet.
            self._start(current)
            return
        self._tell(ProcessGranted(lease, step_class=message.step_class))
        self._give_back_unless_used(lease)
        if self._run.saga.current is None and self._ask_at is None and not self._run.stuck and not self._left:
            # Lent for what is not to be done any more: ask for what is.
            self._perform(effect.resume(self._run.saga))

    def _on_refusal(self, message: ProcessRefusal) -> None:
        if self._run.begun and self._run.saga.current is None:
            self._question = None
            self._run.tell(ProcessRefused(message.reason))
            self._sleep(None)

    def _on_dead(self, message: ProcessDead) -> None:
        if not self._run.begun:
            return
        current = self._run.saga.current
        if current is not None and current.lease == message.lease:
            self._question = None
            self._tell(self._run.death(current, message))
        if not self._run.stuck:
            self._host.once_durable(lambda: remove_attempt_files(self._host.home, message.lease.name))

    def _on_answer(self, message: StepAnswer) -> None:
        if not self._run.begun:
            return
        current = self._run.saga.current
        if current is not None and current.lease.name == message.lease_name:
            self._tell(Answered(message.step, message.action, message.attempt, message.answer))

    def _on_order(self, message: SagaOrder) -> None:
        change = self._obey(message) if self._run.begun else None
        if change is not None:
            self._follow(change)

    def _obey(self, message: SagaOrder) -> Change | None:
        """Carry out an order and answer it."""
        to = message.reply_to
        try:
            order = input_of(message, self._run.saga)
        except RequestError as error:
            self._audience.rejected(to, "RequestError", str(error))
            return None
        change = self._run.tell(order)
        self._audience.done(to, self._run.position, effect=change is not None)
        return change

    def _on_waiter(self, message: WaitForSaga) -> None:
        self._audience.join((message.waiter,))

    def wake(self) -> None:
        """It is time: for what was refused, for a question, for the deadline of an attempt."""
        self._wakes_at = None
        if self._left or not self._run.begun:
            return
        for said in self._run.take_backlog():
            self._tell(said)
        now = self._host.now()
        if self._ask_at is not None and now >= self._ask_at:
            self._ask()
        elif self._question is not None and now >= self._ask_again_at:
            self._ask_supervisor(self._question, again=True)
        due = effect.wake_at(self._run.saga)
        if due is not None and now >= max(due, self._look_at):
            self._pass_time()
        self._set_wake()

    def _pass_time(self) -> None:
        passed = self._run.time_passed(self._host.settings.start_timeout_s)
        current = self._run.saga.current
        began_at, now = passed.began_at, self._host.now()
        if current is not None and began_at is not None and began_at + current.limit_s > now:
            self._look_at = began_at + current.limit_s
        else:
            self._look_at = now + LOOK_AGAIN_S
        self._tell(passed)

    # --- decide, journal, perform ------------------------------------------------------------------------------

    def _tell(self, said: Input) -> None:
        if self._left:
            return
        try:
            change = self._run.tell(said)
        except SeqConflictError:
            log.warning("saga %s is in other hands; this actor leaves", self._run.saga.id)
            self._left = True
            self._host.leave(self._id)
            return
        if change is not None:
            self._follow(change)
        elif self._run.stuck:
            log.error("saga %s waits for its journal", self._run.saga.id)
            self._set_wake()

    def _follow(self, change: Change) -> None:
        """What is to be done now that a change is durable."""
        self._perform(effect.effects_of(change.before, change.after))
        self._set_wake()

    def _perform(self, effects: tuple[effect.Effect, ...]) -> None:
        saga = self._run.saga
        for each in effects:
            match each:
                case effect.RunAttempt(started):
                    self._start(started)
                case effect.ReleaseProcess(lease, reusable):
                    self._give_back(lease, reusable)
                case effect.RequestLease(not_before=not_before):
                    self._plan_to_ask(not_before)
                case effect.EndProcess(started, grace_s):
                    self._ask_supervisor(EndProcess(saga.id, started.lease, grace_s))
                case effect.AdoptAttempt(started):
                    self._ask_supervisor(AdoptProcess(saga.id, started.lease))
                case effect.TellOutcome():
                    self._tell_outcome()

    def _start(self, started: AttemptStarted) -> None:
        address = self._address_of.get(started.lease.name)
        if address is not None:
            self._host.send(address, run_step(self._run.saga, started))

    def _give_back_unless_used(self, lease: Lease) -> None:
        current = self._run.saga.current
        if current is None or current.lease != lease:
            self._give_back(lease, True)

    def _give_back(self, lease: Lease, reusable: bool) -> None:
        if self._address_of.pop(lease.name, None) is not None:
            returned = ReturnProcess(self._id, lease.name, reusable)
            if not self._left and self._run.begun and self._run.saga.ended:
                self._returned = returned  # it goes with the word of the end, which comes next
            else:
                self._host.send(self._host.supervisor, returned)

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
                self._ask_supervisor(RequestLease(saga.id, each.request))

    def _ask_supervisor(self, question: Any, *, again: bool = False) -> None:
        self._ask_again_s = min(2.0 * self._ask_again_s, ASK_AGAIN_MAX_S) if again else ASK_AGAIN_S
        self._question, self._ask_again_at = question, self._host.now() + self._ask_again_s
        if not self._spoken_for:  # else the supervisor knows; it is asked all the same where it does not answer
            self._host.send(self._host.supervisor, question)

    def _tell_outcome(self) -> None:
        outcome = outcome_of(self._run.saga)
        assert outcome is not None, "only told of sagas that ended or are parked"
        self._audience.ended(outcome, self._run.position)
        self._go(SagaEnded(outcome.saga_id, outcome.status, returned=self._returned))

    def _sleep(self, until: float | None) -> None:
        self._go(SagaSleeps(self._id, until, self._audience.waiters, self._run.saga.backward))

    def _go(self, farewell: SagaEnded | SagaSleeps) -> None:
        """Say the last word to the supervisor and leave, once."""
        if not self._left:
            self._left = True
            self._host.send(self._host.supervisor, farewell)
            self._host.leave(self._id)

    # --- small things ------------------------------------------------------------------------------------------

    def _set_wake(self) -> None:
        """Have one wakeup pending for whatever comes first."""
        if self._left:
            return
        now = self._host.now()
        due = effect.wake_at(self._run.saga)
        moments = [] if due is None else [max(due, self._look_at)]
        moments += [] if self._ask_at is None else [self._ask_at]
        moments += [] if self._question is None else [self._ask_again_at]
        moments += [now + JOURNAL_AGAIN_S] if self._run.stuck else []
        first = min(moments, default=None)
        if first is not None and (self._wakes_at is None or first < self._wakes_at):
            self._wakes_at = first
            self._host.wake_saga_at(first, self._id)


_HANDLERS: Mapping[type, Callable[[SagaActor, Any], None]] = {
    BeginSaga: SagaActor._on_begin,
    ResumeSaga: SagaActor._on_resume,
    ProcessGrant: SagaActor._on_grant,
    ProcessRefusal: SagaActor._on_refusal,
    ProcessDead: SagaActor._on_dead,
    StepAnswer: SagaActor._on_answer,
    SagaOrder: SagaActor._on_order,
    WaitForSaga: SagaActor._on_waiter,
}
