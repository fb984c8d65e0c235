"""The saga actor of a simulated world: the real loop (decide, append, fold, perform) around the real machine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from antistrophe.saga import effects, machine, state
from antistrophe.saga.entries import Lease, SagaAccepted
from antistrophe.saga.inputs import Answered, Fenced, Input, ProcessGranted, ProcessRefused, Resumed, TimePassed
from tests.simulation.effects_ledger import token_of
from tests.simulation.faults import Fault
from tests.simulation.simulated_supervisor import StillThere

if TYPE_CHECKING:
    from tests.simulation.world import World

ASK_AGAIN_S = 2.0
"""How soon a question that the supervisor did not answer is asked again."""

LOOK_AGAIN_S = 0.5
"""How soon an attempt past its limit is looked at again."""

ALLOWANCE_S = 3.0
"""How much longer an attempt may take that has left no start marker."""

SLEEP_FROM_S = 3.0
"""From this wait on, the actor leaves and is started again when it is due."""


class ActorKilledError(Exception):
    """The actor's process is killed at this point; what it had not journaled is lost."""


class SimulatedActor:
    """One life of a saga's actor. It holds no truth that is not in the journal."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.saga: state.Saga
        self.draining = False
        self._left = False
        self._question: effects.Effect | None = None
        self._asked = 0
        self._look_at = 0.0
        self._backlog: list[Input] = []

    # --- beginning ---------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Accept the saga; at times a process is at hand, and its first attempt starts in the same append."""
        world = self._world
        spec = world.scenario.spec
        throttle = spec.throttle(0) if spec.steps else None
        shared = bool(spec.steps) and spec.steps[0].shared
        grant = world.host.at_hand(throttle, shared=shared) if world.rng.random() < 0.3 else None
        accepted = SagaAccepted(world.now, "request", spec)
        said = Resumed() if grant is None else grant
        entries, self.saga = machine.transition(state.evolve(None, accepted), said, world.now)
        if world.chances.strikes(Fault.CRASH_BEFORE_APPEND):
            raise ActorKilledError
        world.journal.extend((accepted, *entries))
        if world.chances.strikes(Fault.CRASH_AFTER_APPEND):
            raise ActorKilledError
        if grant is not None and self.saga.current is None:
            world.host.give_back(grant.lease.name, reusable=True)
        self._perform(effects.effects_of(None, self.saga))
        if not self._left:
            self._set_timer()

    def resume(self, orders: tuple[Input, ...]) -> None:
        """Go on from the journal, after these orders."""
        self.saga = state.replay(self._world.journal)
        for said in (Resumed(), *orders):
            self._commit(said)
        self._perform(effects.resume(self.saga))
        self._set_timer()

    # --- decide, append, fold, perform -------------------------------------------------------------------------

    def receive(self, said: Input | StillThere) -> None:
        """Take one message."""
        if self._left:
            return
        if isinstance(said, ProcessRefused):
            self._refused(said)
            return
        if isinstance(said, ProcessGranted):
            self._granted(said)
        elif isinstance(said, StillThere):
            self._adopted(said)
        else:
            current = self.saga.current
            if isinstance(said, Fenced) and current is not None and token_of(current) == token_of(said):
                self._question = None
            self._tell(said)
        if not self._left:
            self._set_timer()

    def _adopted(self, said: StillThere) -> None:
        """Told again, the process makes the call only if it has not made it yet."""
        if isinstance(self._question, effects.AdoptAttempt):
            self._question = None
        current = self.saga.current
        if current is not None and current.lease == said.lease and not self.saga.ending:
            self._world.host.run(current)

    def _granted(self, said: ProcessGranted) -> None:
        if isinstance(self._question, effects.RequestLease):
            self._question = None
        change = self._commit(said)
        current = self.saga.current
        if current is None or current.lease != said.lease:
            self._world.host.give_back(said.lease.name, reusable=True)
        if change is not None:
            self._perform(effects.effects_of(*change))
        elif current is None:
            self._ask()

    def _refused(self, said: ProcessRefused) -> None:
        self._question = None
        if self.saga.current is None:
            self._commit(said)
            self._leave(self._world.rng.uniform(2.0, 20.0))

    def _tell(self, said: Input) -> None:
        change = self._commit(said)
        if change is not None:
            self._perform(effects.effects_of(*change))

    def _commit(self, said: Input) -> tuple[state.Saga, state.Saga] | None:
        world = self._world
        if self._backlog:
            self._keep(said)
            return None
        before = self.saga
        entries, after = machine.transition(before, said, world.now, dispatch=not self.draining)
        if not entries:
            return None
        if world.chances.strikes(Fault.JOURNAL_REFUSED):
            self._keep(said)
            world.after(0.5, self._guarded(self._try_backlog))
            return None
        if world.chances.strikes(Fault.CRASH_BEFORE_APPEND):
            raise ActorKilledError
        assert after == functools.reduce(state.evolve, entries, before), "the state is the fold of the entries"
        world.journal.extend(entries)
        self.saga = after
        if world.chances.strikes(Fault.CRASH_AFTER_APPEND):
            raise ActorKilledError
        return before, after

    def _keep(self, said: Input) -> None:
        """Decide it again when the journal takes entries; not what will not be true by then: a grant, whose process is
        given back, and the time."""
        if not isinstance(said, ProcessGranted | TimePassed):
            self._backlog.append(said)

    def _try_backlog(self) -> None:
        backlog, self._backlog = self._backlog, []
        for said in backlog or [Resumed()]:
            self._tell(said)
        if not self._left:
            self._set_timer()

    # --- effects -----------------------------------------------------------------------------------------------

    def _perform(self, todo: tuple[effects.Effect, ...]) -> None:
        for index, each in enumerate(todo):
            if index and self._world.chances.strikes(Fault.CRASH_BETWEEN_EFFECTS):
                raise ActorKilledError
            match each:
                case effects.RunAttempt(started):
                    self._world.host.run(started)
                case effects.ReleaseProcess(lease, reusable):
                    self._release(lease, reusable)
                case effects.RequestLease(_, not_before):
                    self._plan_to_ask(not_before)
                case effects.EndProcess() | effects.AdoptAttempt():
                    self._ask_host(each)
                case effects.TellOutcome():
                    self._world.outcome_told(self.saga)
                    self._leave(None)

    def _release(self, lease: Lease, reusable: bool) -> None:
        self._world.host.give_back(lease.name, reusable=reusable)

    def _plan_to_ask(self, not_before: float | None) -> None:
        world = self._world
        wait_s = 0.0 if not_before is None else not_before - world.now
        if self.draining:
            return
        if wait_s <= 0.0:
            self._ask()
        elif wait_s < SLEEP_FROM_S:
            world.after(wait_s, self._guarded(self._ask))
        else:
            due = effects.wake_at(self.saga)
            self._leave(wait_s if due is None else max(0.0, min(wait_s, due - world.now)))

    def _ask(self) -> None:
        for each in effects.resume(self.saga):
            if isinstance(each, effects.RequestLease):
                due = each.not_before is None or each.not_before <= self._world.now
                if due and not self.draining:
                    self._ask_host(each)

    def _ask_host(self, question: effects.Effect) -> None:
        self._question = question
        self._asked += 1
        number = self._asked
        match question:
            case effects.EndProcess(started, grace_s):
                self._world.host.end(started, grace_s)
            case effects.AdoptAttempt(started):
                self._world.host.adopt(started)
            case effects.RequestLease(request):
                self._world.host.request(request)
        self._world.after(ASK_AGAIN_S, self._guarded(lambda: self._ask_again(number)))

    def _ask_again(self, number: int) -> None:
        if self._question is not None and number == self._asked:
            self._ask_host(self._question)

    # --- time --------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        due = effects.wake_at(self.saga)
        if due is not None:
            world = self._world
            world.after(max(due, self._look_at) - world.now, self._guarded(self._wake))

    def _wake(self) -> None:
        due, now = effects.wake_at(self.saga), self._world.now
        if due is None or now < max(due, self._look_at):
            return
        self._look_at = now + LOOK_AGAIN_S
        current = self.saga.current
        began_at = None if current is None else self._world.host.began_at(current)
        self._tell(TimePassed(began_at, ALLOWANCE_S))
        if not self._left:
            self._set_timer()

    def _guarded(self, act: Callable[[], None]) -> Callable[[], None]:
        """``act``, where this life still lasts by then."""

        def later() -> None:
            if not self._left and self._world.actor is self:
                act()

        return later

    def _leave(self, again_in_s: float | None) -> None:
        if not self._left:
            self._left = True
            self._world.actor_left(again_in_s)


def is_reply(said: Input | StillThere) -> bool:
    """True for what a step process or a proof of death says."""
    return isinstance(said, Answered | Fenced)
