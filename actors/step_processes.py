"""The supervisor's hold on its step processes: starts them, lends them, ends them, and proves that they are dead."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

from antistrophe.marks import remove_marks
from antistrophe.messages import (
    Address,
    CodeLoaded,
    CodeNotLoaded,
    Configuration,
    LoadCode,
    ProcessDead,
    ProcessGrant,
    StepConfiguration,
    StepReady,
)
from antistrophe.offspring import end_offspring
from antistrophe.policy import GrantTo, LoadInto, Pool, PoolOrder, Retire, StartProcess
from antistrophe.process import ProcessIdentity, kill_group, live_group_members, send_signal, signal_main_thread
from antistrophe.records import ProcessRecord
from antistrophe.saga.entries import Lease
from antistrophe.turns import Turns

from .base import log
from .children import child_process
from .stacks import STACK_SIGNAL, how_found
from .step import StepActor

LOOK_AGAIN_S = 0.02
"""How soon a process that should be dead is looked at again."""


class Owner(Protocol):
    """The supervisor, as the keeper of the step processes needs it."""

    def createActor(self, actor_class: type) -> Address: ...  # noqa: N802 - Thespian's name
    def send(self, to: Address, message: Any) -> None: ...
    def now(self) -> float: ...
    def wake_in(self, seconds: float, payload: Any = None) -> None: ...
    def granted(self, grant: ProcessGrant) -> None: ...
    def refused(self, saga_id: str, reason: str) -> None: ...
    def died(self, dead: ProcessDead) -> None: ...


@dataclass(slots=True)
class _Step:
    name: str
    address: Address
    process: BaseProcess | None
    lease: Lease | None = None
    kill_at: float | None = None
    ended_by_system: bool = False
    why: str | None = None
    asked: str | None = None

    @property
    def alive(self) -> bool:
        """False once it has been reaped; and where its fork failed, there never was one."""
        return self.process is not None and self.process.is_alive()


class StepProcesses:
    """Carries out the pool's orders, and reports every death of a process that was lent."""

    def __init__(self, owner: Owner, base: Configuration, prefix: str, turns: Turns) -> None:
        self._owner = owner
        self._base = base
        self.pool = Pool(base.settings.step_processes, prefix, turns)
        self._steps: dict[str, _Step] = {}
        self._graves: dict[str, ProcessDead] = {}
        self._looks_again = False
        self._turn: float | None = None
        self.frozen = False

    # --- orders of the pool ------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do what the pool wants done now."""
        if not self.frozen:
            now = self._owner.now()
            self._carry_out(self.pool.plan(now))
            turn = self.pool.next_turn()
            if turn is not None and turn > now and (self._turn is None or not now < self._turn <= turn):
                self._turn = turn
                self._owner.wake_in(turn - now)

    def _carry_out(self, orders: Iterable[PoolOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name):
                    self._start(name)
                case LoadInto(name, origin, class_refs):
                    self._owner.send(self._steps[name].address, LoadCode(origin, class_refs))
                case GrantTo(name, saga_id, step_class):
                    step = self._steps[name]
                    assert step.lease is not None, "only a process that is ready is lent"
                    self._owner.granted(ProcessGrant(saga_id, step.lease, step.address, step_class))
                case Retire(name):
                    if name in self._steps:
                        self._kill(self._steps[name])

    def _start(self, name: str) -> None:
        try:
            address = self._owner.createActor(StepActor)
        except OSError as error:
            log.error("a step process can't be started (%s); it is tried again", error)
            self.pool.dead(name)
            return
        self._steps[name] = _Step(name, address, child_process(self._owner, address))
        self._owner.send(address, StepConfiguration(self._base, name))

    # --- what the processes and their users say ----------------------------------------------------------------

    def on_ready(self, message: StepReady, sender: Address) -> None:
        step = self._steps.get(message.lease.name)
        if step is not None:
            step.lease, step.address = message.lease, sender
            self.pool.ready(step.name, self._owner.now())
            self.serve()

    def on_loaded(self, message: CodeLoaded) -> None:
        self.pool.loaded(message.lease_name, message.class_refs, self._owner.now())
        self.serve()

    def on_not_loaded(self, message: CodeNotLoaded) -> None:
        self._refuse(message.lease_name, message.reason)

    def _refuse(self, name: str, reason: str) -> None:
        saga_id, orders = self.pool.not_loaded(name)
        self._carry_out(orders)
        if saga_id is not None:
            self._owner.refused(saga_id, reason)

    def give_back(self, saga_id: str, name: str, *, reusable: bool) -> None:
        """A saga has settled what ran there."""
        self._graves.pop(saga_id, None)
        self._carry_out(self.pool.returned(name, saga_id, self._owner.now(), reusable=reusable))
        self.serve()

    def forget(self, saga_id: str) -> None:
        """The saga has ended or sleeps: it wants no process, and no news of one."""
        self._graves.pop(saga_id, None)
        self.pool.withdraw(saga_id)
        name = self.pool.leased_to(saga_id)
        if name is not None:
            self._carry_out(self.pool.returned(name, saga_id, self._owner.now(), reusable=False))

    def adopt(self, saga_id: str, lease: Lease) -> None:
        """Say what became of a lease: its process lives, or is dead."""
        step = self._steps.get(lease.name)
        if step is not None and self.pool.saga_of(lease.name) == saga_id:
            if step.kill_at is None:
                self._owner.granted(ProcessGrant(saga_id, lease, step.address))
            return
        grave = self._graves.get(saga_id)
        if grave is not None and grave.lease == lease:
            self._owner.died(grave)
            return
        self._bury_stranger(saga_id, lease)

    def _bury_stranger(self, saga_id: str, lease: Lease) -> None:
        """A process of an earlier life of the system: swept before this one began, which is checked once more."""
        left = kill_group(identity_of_lease(lease), home=self._base.home) or end_offspring(lease.name)
        if left:
            # The saga asks again until it is told.
            log.error("saga %s can't go on before the processes of its last attempt have ended: %s", saga_id, left)
        else:
            self._owner.died(ProcessDead(saga_id, lease, None, None, True, "the system that ran it was ended"))

    # --- ending ------------------------------------------------------------------------------------------------

    def end(self, saga_id: str, lease: Lease, grace_s: float, *, by_system: bool = False) -> None:
        """SIGTERM now, SIGKILL to the group after the grace; the death is reported when it is proven."""
        step = self._steps.get(lease.name)
        if step is None or self.pool.saga_of(lease.name) != saga_id:
            self.adopt(saga_id, lease)
            return
        if step.kill_at is not None:
            return
        step.kill_at = self._owner.now() + grace_s
        step.ended_by_system = by_system
        if step.lease is not None:
            # Its stacks first: SIGTERM may be all that it takes to end it.
            step.asked = how_found(step.lease.pid)
            # To the thread that makes the call: another might take it after that one has left the call for SIGTERM.
            signal_main_thread(identity_of_lease(step.lease), STACK_SIGNAL)
            send_signal(identity_of_lease(step.lease), signal.SIGTERM)
        self._owner.wake_in(grace_s)

    def end_all_leased(self, grace_s: float) -> int:
        """Fence every attempt that runs. Returns how many."""
        names = self.pool.leased()
        for name in names:
            step, saga_id = self._steps[name], self.pool.saga_of(name)
            if step.lease is not None and saga_id is not None:
                self.end(saga_id, step.lease, grace_s, by_system=True)
        return len(names)

    def _kill(self, step: _Step) -> None:
        if step.lease is not None:
            kill_group(identity_of_lease(step.lease), home=self._base.home)
        elif step.process is not None and step.process.pid is not None and step.alive:
            # It has not said who it is, but it is our child: its pid can't be anybody else's before we have reaped it.
            os.kill(step.process.pid, signal.SIGKILL)

    def on_exit(self, address: Address) -> bool:
        """A child of ours is gone; False where it was no step process."""
        step = next((step for step in self._steps.values() if step.address == address), None)
        if step is None:
            return False
        self._bury(step)
        return True

    def look(self) -> None:
        """Kill what has had its grace, and notice what is dead, overdue or idle for long."""
        self._looks_again = False
        now = self._owner.now()
        for step in list(self._steps.values()):
            if not step.alive:
                self._bury(step)
            elif step.kill_at is not None and now >= step.kill_at:
                self._kill(step)
                self._look_again()
        for name in self.pool.overdue(now, self._base.settings.start_timeout_s):
            self._give_up(self._steps[name])
        self._carry_out(self.pool.retire_idle(now, self._base.settings.idle_process_s))
        self.serve()

    def _look_again(self) -> None:
        """Soon, and once, however many there are to look at: each look may ask for the next."""
        if not self._looks_again:
            self._looks_again = True
            self._owner.wake_in(LOOK_AGAIN_S)

    def _give_up(self, step: _Step) -> None:
        limit_s = self._base.settings.start_timeout_s
        self._refuse(step.name, f"the step classes could not be imported within {limit_s:g} s")
        self._kill(step)

    def retire_client(self, client_id: str) -> None:
        self._carry_out(self.pool.retire_client(client_id))

    def _bury(self, step: _Step) -> None:
        """The leader is dead: end what is left of its group and what has left that, and only then report it."""
        if step.alive:
            return
        if step.lease is not None and live_group_members(step.lease.pid):
            kill_group(identity_of_lease(step.lease), home=self._base.home)
            if live_group_members(step.lease.pid):
                self._look_again()
                return
        if step.lease is not None and end_offspring(step.name):
            self._look_again()
            return
        self._steps.pop(step.name, None)
        if self.pool.loading(step.name):
            self._refuse(step.name, f"the import of its step classes ended the process ({how_it_ended(step.process)})")
        saga_id = self.pool.dead(step.name)
        if saga_id is not None and step.lease is not None:
            code = None if step.process is None else step.process.exitcode
            dead = ProcessDead(
                saga_id,
                step.lease,
                code if code is not None and code >= 0 else None,
                -code if code is not None and code < 0 else None,
                step.ended_by_system,
                step.why,
                step.asked,
            )
            self._graves[saga_id] = dead
            self._owner.died(dead)
        else:
            remove_marks(self._base.home, step.name)
        self.serve()

    def records(self) -> list[ProcessRecord]:
        """The step processes as monitoring shows them."""
        rows = []
        for step in self._steps.values():
            saga_id = self.pool.saga_of(step.name)
            if step.process is not None and step.process.pid is not None and step.alive:
                rows.append(ProcessRecord(step.process.pid, "idle" if saga_id is None else "step", saga_id))
        return rows


def how_it_ended(process: BaseProcess | None) -> str:
    """In words, for a process that is dead."""
    code = None if process is None else process.exitcode
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def identity_of_lease(lease: Lease) -> ProcessIdentity:
    """Who the process of that lease is."""
    return ProcessIdentity(lease.pid, lease.start_ticks, lease.boot_id)
