"""The supervisor and the step processes of a simulated world: leases, calls that run in virtual time, and fences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antistrophe.definition.spec import LeaseRequest, Throttle
from antistrophe.saga.entries import Action, AttemptStarted, Lease
from antistrophe.saga.inputs import Answer, Answered, Fenced, ProcessGranted, ProcessRefused, Refused
from tests.simulation.effects_ledger import Call, Token, token_of
from tests.simulation.faults import Fault
from tests.simulation.user_code import Plan, UserCode, returned

if TYPE_CHECKING:
    from tests.simulation.world import World

DELAY_S = 0.01
"""About how long a message takes, and a death."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended."""

    exit_code: int | None = None
    signal: int | None = None
    by_system: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """What a step process has written of its last attempt; it survives the process, but counts within one boot only."""

    token: Token
    began_at: float
    answer: Answer | None = None


@dataclass(frozen=True, slots=True)
class StillThere:
    """The answer to an adoption: the attempt's process lives, and is the saga's. No grant: what came late must not
    start anything in it."""

    lease: Lease


class StepProcess:
    """One step process: makes one call at a time, each attempt once, and can be killed at any moment."""

    def __init__(self, host: StepHost, lease: Lease) -> None:
        self.lease = lease
        self.death: Death | None = None
        self.mark: Mark | None = None
        self.used = False
        self.turn: str | None = None
        self._host = host
        self._world = host.world
        self._call: Call | None = None
        self._plan: Plan | None = None
        self._told: set[Token] = set()
        self._terminated = False

    def run(self, started: AttemptStarted) -> None:
        """Make this call, once; told again, it is answered with what it gave."""
        token = token_of(started)
        if self.death is not None:
            return
        if self.mark is not None and self.mark.token == token and self.mark.answer is not None:
            self._reply(token, self.mark.answer)
        if token in self._told:
            return
        self._told.add(token)
        chances = self._world.chances
        if chances.strikes(Fault.CALL_REFUSED):
            self._reply(token, Refused("the code can't be loaded"))
        elif chances.strikes(Fault.DEATH_BEFORE_CALL):
            self.die(Death(signal=9))
        else:
            self._begin(token)

    def _begin(self, token: Token) -> None:
        world = self._world
        self._call = Call(
            token, self.lease.name, self.used, world.now, len(world.journal), turn=self.turn, shared=self.lease.shared
        )
        self.turn = None
        world.ledger.calls.append(self._call)
        self.mark, self.used = Mark(token, world.now), True
        self._plan = plan = self._host.code.plan(token)
        call = self._call
        if plan.effect_after_s is not None:
            world.after(plan.effect_after_s, lambda: self._take_effect(call))
        if plan.ends_after_s is not None:
            world.after(plan.ends_after_s, lambda: self._end(call, plan))

    def _take_effect(self, call: Call) -> None:
        if self._call is call and self._plan is not None:
            call.effects_at.append(self._world.now)

    def _end(self, call: Call, plan: Plan) -> None:
        """The call returns, raises, or takes its process with it."""
        if self._call is not call or self._plan is not plan:
            return
        self._note(plan)
        if plan.answer is None:
            self.die(Death(exit_code=1))
            return
        answer = plan.answer()
        call.ended_at, call.answer = self._world.now, answer
        self._call = None
        self.mark = Mark(call.token, call.began_at, answer)
        if self._world.chances.strikes(Fault.DEATH_AFTER_OUTCOME):
            self.die(Death(signal=9))
        else:
            self._reply(call.token, answer)

    def _note(self, plan: Plan) -> None:
        if plan.fault is not None:
            self._world.chances.note(plan.fault)
        if plan.lasting:
            self._world.chances.note(Fault.UNDO_NEVER_WORKS)

    def _reply(self, token: Token, answer: Answer) -> None:
        if not self._world.chances.strikes(Fault.ANSWER_LOST):
            self._world.to_saga(Answered(token.step, token.action, token.attempt, answer))

    def terminate(self, grace_s: float) -> None:
        """SIGTERM, the grace, SIGKILL; told again, it changes nothing."""
        if self.death is not None or self._terminated:
            return
        self._terminated = True
        world, call, plan = self._world, self._call, self._plan
        if call is None or plan is None:
            world.after(DELAY_S, lambda: self.die(Death(signal=15)))
            return
        if plan.ends_after_s is None or plan.fault is Fault.HANG:
            self._note(plan)
        if world.rng.random() < 0.5:
            if world.rng.random() < 0.4 and not call.effects_at and call.token.action is not Action.VERIFY:
                world.chances.note(Fault.EFFECT_IN_GRACE)
                self._take_effect(call)
            self._plan = None
            world.after(min(grace_s, DELAY_S), lambda: self.die(Death(exit_code=143)))
            return
        world.chances.note(Fault.STUBBORN)
        world.after(grace_s, lambda: self.die(Death(signal=9)))
        if world.rng.random() < 0.5 and call.token.action is not Action.VERIFY:
            world.after(grace_s * world.rng.random(), lambda: self._finish_in_grace(call))

    def _finish_in_grace(self, call: Call) -> None:
        if self._call is not call:
            return
        self._world.chances.note(Fault.OUTCOME_IN_GRACE)
        if not call.effects_at:
            self._take_effect(call)
        self._plan = plan = Plan(None, 0.0, lambda: returned(call.token))
        self._end(call, plan)

    def die(self, death: Death) -> None:
        """The process and its whole group are gone; the supervisor sees it a little later."""
        if self.death is not None:
            return
        self.death = death
        if self._call is not None:
            self._call.ended_at, self._call.interrupted = self._world.now, death.by_system
            self._call = None
        if not death.by_system:
            self._world.after(DELAY_S * self._world.rng.random(), lambda: self._host.seen_dead(self))


class StepHost:
    """Lends step processes to the saga, tells it of their deaths, and ends them for it."""

    def __init__(self, world: World, code: UserCode) -> None:
        self.world = world
        self.code = code
        self.boot = 0
        self._made = 0
        self._processes: dict[str, StepProcess] = {}
        self._lent: dict[str, AttemptStarted | None] = {}
        self._delivered: set[str] = set()
        self._wanted: LeaseRequest | None = None

    def request(self, asked: LeaseRequest) -> None:
        """The saga wants a process; asked again, it is still one."""
        pending = self._wanted is not None
        self._wanted = asked
        if not pending:
            late = self.world.chances.strikes(Fault.GRANT_LATE)
            self.world.after(self.world.rng.uniform(1.0, 20.0) if late else DELAY_S, self._serve)

    def _serve(self) -> None:
        asked, self._wanted = self._wanted, None
        if asked is None:
            return
        if self.world.chances.strikes(Fault.GRANT_REFUSED):
            self.world.to_saga(ProcessRefused("no process can be started"), crosses=False)
            return
        self._grant(asked)
        if self.world.chances.strikes(Fault.GRANT_DOUBLED):
            self._grant(asked)

    def at_hand(self, throttle: Throttle | None, *, shared: bool) -> ProcessGranted:
        """A process that is lent without being asked for."""
        process = self._start(shared=shared)
        self._lent[process.lease.name] = None
        process.turn = _class_of(throttle)
        return ProcessGranted(process.lease, step_class=process.turn)

    def _grant(self, asked: LeaseRequest) -> None:
        idle = [
            process
            for name, process in self._processes.items()
            if process.death is None
            and name not in self._lent
            and process.lease.shared == asked.shared
            and not (asked.fresh and process.used)
        ]
        reused = idle and self.world.rng.random() < 0.8
        process = self.world.rng.choice(idle) if reused else self._start(shared=asked.shared)
        self._lent[process.lease.name] = None
        process.turn = _class_of(asked.throttle)
        self.world.to_saga(ProcessGranted(process.lease, process.used, process.turn), crosses=False)

    def _start(self, *, shared: bool) -> StepProcess:
        self._made += 1
        lease = Lease(f"process-{self._made}", 1000 + self._made, self._made, f"boot-{self.boot}", shared)
        process = StepProcess(self, lease)
        self._processes[lease.name] = process
        return process

    def run(self, started: AttemptStarted) -> None:
        """Hand the go message to the leased process."""
        process = self._processes[started.lease.name]
        self._lent[started.lease.name] = started
        chances, rng = self.world.chances, self.world.rng
        if chances.strikes(Fault.GO_LOST):
            return
        delay_s = rng.uniform(0.2, 2.0) if chances.strikes(Fault.GO_LATE) else DELAY_S * rng.random()
        self.world.after(delay_s, lambda: process.run(started))
        if chances.strikes(Fault.GO_DOUBLED):
            self.world.after(rng.uniform(0.0, 3.0), lambda: process.run(started))

    def adopt(self, started: AttemptStarted) -> None:
        """Say what became of that attempt's process: it is lent again, or proven dead."""
        process = self._processes.get(started.lease.name)
        if process is None or process.death is not None:
            self._tell_dead(started)
        else:
            self._lent[started.lease.name] = started
            self.world.to_saga(StillThere(process.lease), crosses=False)

    def end(self, started: AttemptStarted, grace_s: float) -> None:
        """Fence that attempt's process."""
        process = self._processes.get(started.lease.name)
        if process is None or process.death is not None:
            self._tell_dead(started)
        else:
            self._lent[started.lease.name] = started
            process.terminate(grace_s)

    def give_back(self, name: str, *, reusable: bool) -> None:
        """The saga needs that process no more."""
        process = self._processes.get(name)
        self._lent.pop(name, None)
        self._delivered.discard(name)
        if process is not None and not reusable:
            process.die(Death(signal=9))

    def reclaim(self) -> list[str]:
        """The saga's actor has left, and everything that is still lent to it is taken back. Returns what it had got and
        not given back."""
        kept = [name for name in self._lent if name in self._delivered and self._processes[name].death is None]
        for name, started in self._lent.items():
            if started is not None:
                # Nobody says any more whether others may have it.
                self._processes[name].die(Death(signal=9))
        self._forget()
        return kept

    def delivered(self, lease: Lease) -> None:
        """The saga has got that process."""
        self._delivered.add(lease.name)

    def _forget(self) -> None:
        self._lent.clear()
        self._delivered.clear()
        self._wanted = None

    def began_at(self, started: AttemptStarted) -> float | None:
        """The start marker of that attempt, as far as it counts."""
        mark = self._mark(started)
        return None if mark is None else mark.began_at

    def go_down(self, *, reboot: bool) -> None:
        """The whole system ends: every process of it is dead, and so is the supervisor's memory."""
        for process in self._processes.values():
            process.die(Death(by_system=True))
            process.death = Death(by_system=True)
        self._forget()
        self.boot += reboot

    def seen_dead(self, process: StepProcess) -> None:
        """The supervisor has reaped that process; the saga hears of it where an attempt of its ran there."""
        started = self._lent.pop(process.lease.name, None)
        if started is not None:
            self._tell_dead(started)

    def _tell_dead(self, started: AttemptStarted) -> None:
        if self.world.chances.strikes(Fault.FENCE_LOST):
            return
        process = self._processes.get(started.lease.name)
        same_boot = process is not None and process.lease.boot_id == f"boot-{self.boot}"
        death = process.death if process is not None else Death(by_system=True)
        assert death is not None, "only told of the dead"
        token, mark = token_of(started), self._mark(started)
        fenced = Fenced(
            token.step,
            token.action,
            token.attempt,
            (mark is not None) if same_boot else None,
            mark.answer if mark is not None else None,
            death.exit_code,
            death.signal,
            death.by_system,
        )
        self.world.to_saga(fenced)

    def _mark(self, started: AttemptStarted) -> Mark | None:
        process = self._processes.get(started.lease.name)
        if process is None or process.lease.boot_id != f"boot-{self.boot}" or process.mark is None:
            return None
        return process.mark if process.mark.token == token_of(started) else None


def _class_of(throttle: Throttle | None) -> str | None:
    return None if throttle is None else throttle.step_class
