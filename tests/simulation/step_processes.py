"""The step processes of a simulated world: calls that run in virtual time, and the evidence that they leave behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord
from antistrophe.messages import ProcessDead, RunStep, StepAnswer
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Answer, Refused
from tests.simulation.effects_ledger import Call, Token
from tests.simulation.faults import Fault
from tests.simulation.user_code import Plan, returned

if TYPE_CHECKING:
    from tests.simulation.world import World

DELAY_S = 0.01
"""About how long a message takes, and a death."""

BOOT_AFTER_A_PREFIX = 1_000
"""The boot of a world that goes on from a journal: the machine was started anew."""


@dataclass(frozen=True, slots=True)
class Death:
    """How a process ended."""

    exit_code: int | None = None
    signal: int | None = None
    by_system: bool = False


class StepProcess:
    """One step process: makes one call at a time, each attempt once, and can be killed at any moment."""

    def __init__(self, world: World, lease: Lease) -> None:
        self.lease = lease
        self.death: Death | None = None
        self.used = False
        self.turn: str | None = None
        self._world = world
        self._call: Call | None = None
        self._plan: Plan | None = None
        self._answers: dict[Token, Answer | None] = {}
        self._ending = False
        self._by_system = False

    def run(self, message: RunStep) -> None:
        """Make this call, once; told again, the process answers with what the call gave."""
        token = Token(message.step, message.action, message.attempt)
        if self.death is not None:
            return
        if token in self._answers:
            answer = self._answers[token]
            if answer is not None:
                self._reply(token, answer)
            return
        self._answers[token] = None
        chances = self._world.chances
        if chances.strikes(Fault.CALL_REFUSED):
            self._reply(token, Refused("the code can't be loaded"))
        elif chances.strikes(Fault.DEATH_BEFORE_CALL):
            self.die(Death(signal=9))
        else:
            self._begin(token)

    def _begin(self, token: Token) -> None:
        world = self._world
        self._call = call = Call(
            token,
            self.lease.name,
            self.used,
            world.now,
            len(world.journal),
            turn=self.turn,
            shared=self.lease.shared,
            held=world.supervisor.has_lent(self.lease.name),
        )
        self.turn, self.used = None, True
        world.ledger.calls.append(call)
        world.processes.write(self.lease.name, token, AttemptRecord(world.now))
        self._plan = plan = world.code.plan(token)
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
        self._answers[call.token] = answer
        self._world.processes.write(self.lease.name, call.token, AttemptRecord(call.began_at, answer))
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
        world = self._world
        if not world.chances.strikes(Fault.ANSWER_LOST):
            name = self.lease.name
            world.to_host(
                StepAnswer(world.scenario.spec.id, token.step, token.action, token.attempt, name, answer), crosses=True
            )

    def terminate(self, grace_s: float, *, by_system: bool = False) -> None:
        """SIGTERM, the grace, SIGKILL; told again, it changes nothing."""
        if self.death is not None or self._ending:
            return
        self._ending, self._by_system = True, by_system
        world, call, plan = self._world, self._call, self._plan
        if call is not None:
            call.told_to_end_at = world.now
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
        if self.end(Death(death.exit_code, death.signal, self._by_system)):
            self._world.after(DELAY_S * self._world.rng.random(), lambda: self._world.supervisor.seen_dead(self))

    def end(self, death: Death) -> bool:
        """The process is gone, and nobody hears of it. False where it was before."""
        if self.death is not None:
            return False
        self.death = death
        if self._call is not None:
            self._call.ended_at, self._call.interrupted = self._world.now, death.by_system
            self._call = None
        return True


class StepProcesses:
    """Every step process that was ever started, and the shipped ``EvidencePort``: what they wrote."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._boot = BOOT_AFTER_A_PREFIX if world.journal else 0
        self._records: dict[str, tuple[Token, AttemptRecord]] = {}
        self._laid_down: set[str] = set()
        self._all: dict[str, StepProcess] = {}

    def start(self, *, shared: bool) -> StepProcess:
        """A new process."""
        number = len(self._all) + 1
        process = StepProcess(self._world, Lease(f"process-{number}", 1000 + number, number, self.boot_id(), shared))
        self._all[process.lease.name] = process
        self._laid_down.add(process.lease.name)
        return process

    def get(self, name: str) -> StepProcess | None:
        """The process of that lease, dead or alive."""
        return self._all.get(name)

    def alive(self) -> list[StepProcess]:
        """The processes that live."""
        return [process for process in self._all.values() if process.death is None]

    def go_down(self, *, reboot: bool) -> None:
        """The whole system ends, and every process with it. What they wrote may survive a reboot, and may not."""
        for process in self._all.values():
            process.end(Death(by_system=True))
        if reboot:
            self._boot += 1
            for name in [name for name in self._records if self._world.rng.random() < 0.5]:
                del self._records[name]

    def write(self, name: str, token: Token, record: AttemptRecord) -> None:
        """The process writes its start marker or its outcome."""
        self._records[name] = (token, record)

    # --- evidence ------------------------------------------------------------------------------------------------

    def boot_id(self) -> str:
        """See ``EvidencePort``."""
        return f"boot-{self._boot}"

    def read(self, lease: Lease, attempt_id: AttemptId) -> AttemptRecord:
        """See ``EvidencePort``."""
        if self._world.chances.strikes(Fault.EVIDENCE_REMOVED):
            self.remove(lease.name)
        if lease.name not in self._laid_down or self._world.chances.strikes(Fault.EVIDENCE_UNREADABLE):
            return AttemptRecord()
        token, record = self._records.get(lease.name, (None, AttemptRecord()))
        asked = Token(attempt_id.step, attempt_id.action, attempt_id.attempt)
        return record if token == asked else AttemptRecord(never_began=True)

    def stack(self, lease_name: str) -> str | None:
        """See ``EvidencePort``."""
        return None

    def why_no_stack(self, dead: ProcessDead) -> str | None:
        """See ``EvidencePort``."""
        return "simulated processes have no stack"

    def remove(self, lease_name: str) -> None:
        """See ``EvidencePort``."""
        self._records.pop(lease_name, None)
        self._laid_down.discard(lease_name)
