"""The supervisor's hold on its step processes: starts them, lends them, ends them, and proves that they are dead."""

from __future__ import annotations

import signal
from collections.abc import Iterable

from antistrophe.actors.base import log
from antistrophe.actors.step.attempt_file import remove_attempt_files
from antistrophe.actors.step.step import StepActor
from antistrophe.actors.supervisor.child_process import (
    ChildProcess,
    Ending,
    end_previous_life,
    identity_of_lease,
    start_process,
)
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakes
from antistrophe.linux.process import send_signal
from antistrophe.messages import (
    Address,
    CodeLoaded,
    CodeNotLoaded,
    Configuration,
    LoadCode,
    ProcessDead,
    ProcessGrant,
    StepReady,
)
from antistrophe.records import ProcessRecord
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.scheduling.throttle import Turns
from antistrophe.settings import cores


class ProcessKeeper:
    """Carries out the pool's orders, and reports every death of a process that was lent."""

    def __init__(self, owner: SupervisorPort, base: Configuration, prefix: str, turns: Turns) -> None:
        self._owner = owner
        self._base = base
        settings = base.settings
        self.pool = ProcessPool(settings.step_processes, prefix, turns, spares=settings.spare_processes, cores=cores())
        self._steps: dict[str, ChildProcess] = {}
        self._endings: dict[str, Ending] = {}
        self._wakes = Wakes(owner)
        self._deaths: dict[str, ProcessDead] = {}
        self.frozen = False

    # --- orders of the pool ------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do what the pool wants done now."""
        if not self.frozen:
            now = self._owner.now()
            self._carry_out(self.pool.plan(now))
            self._wakes.at_turn(self.pool.next_turn(), now)
            if self.pool.unready(now):
                self._wakes.look_again(0.0)  # a fork takes its time, and what was lent just now is to go out first

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
                        self._steps[name].kill()

    def _start(self, name: str) -> None:
        try:
            self._steps[name] = start_process(self._owner, StepActor, self._base, name)
        except OSError as error:
            log.error("a step process can't be started (%s); it is tried again", error)
            self.pool.dead(name)

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
        self._deaths.pop(saga_id, None)
        self._carry_out(self.pool.returned(name, saga_id, self._owner.now(), reusable=reusable))
        self.serve()

    def forget(self, saga_id: str) -> None:
        """The saga has ended or sleeps: it wants no process, and no news of one."""
        self._deaths.pop(saga_id, None)
        self.pool.withdraw(saga_id)
        name = self.pool.leased_to(saga_id)
        if name is not None:
            self._carry_out(self.pool.returned(name, saga_id, self._owner.now(), reusable=False))

    def adopt(self, saga_id: str, lease: Lease) -> None:
        """Say what became of a lease: its process lives, or is dead."""
        step = self._steps.get(lease.name)
        if step is not None and self.pool.saga_of(lease.name) == saga_id:
            if lease.name not in self._endings:
                self._owner.granted(ProcessGrant(saga_id, lease, step.address))
            return
        death = self._deaths.get(saga_id)
        if death is not None and death.lease == lease:
            self._owner.died(death)
            return
        self._reap_previous_life(saga_id, lease)

    def _reap_previous_life(self, saga_id: str, lease: Lease) -> None:
        """A process of an earlier life of the system: swept before this one began, which is checked once more."""
        left = end_previous_life(lease, lease.name, self._base.home)
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
        if lease.name in self._endings:
            return
        self._endings[lease.name] = Ending(self._owner.now() + grace_s, by_system)
        # Its stacks first: SIGTERM may be all that it takes to end it.
        step.ask_for_stacks()
        send_signal(identity_of_lease(lease), signal.SIGTERM)
        self._owner.wake_in(grace_s)

    def end_all_leased(self, grace_s: float) -> int:
        """Fence every attempt that runs. Returns how many."""
        names = self.pool.leased()
        for name in names:
            step, saga_id = self._steps[name], self.pool.saga_of(name)
            if step.lease is not None and saga_id is not None:
                self.end(saga_id, step.lease, grace_s, by_system=True)
        return len(names)

    def on_exit(self, address: Address) -> bool:
        """A child of ours is gone; False where it was no step process."""
        step = next((step for step in self._steps.values() if step.address == address), None)
        if step is None:
            return False
        self._reap(step)
        return True

    def look(self) -> None:
        """Kill what has had its grace, and notice what is dead, overdue or idle for long."""
        self._wakes.looking()
        now = self._owner.now()
        for step in list(self._steps.values()):
            if not step.alive:
                self._reap(step)
            elif step.name in self._endings and now >= self._endings[step.name].kill_at:
                step.kill()
                self._wakes.look_again()
        for name in self.pool.overdue(now, self._base.settings.start_timeout_s):
            self._give_up(self._steps[name])
        self._carry_out(self.pool.retire_idle(now, self._base.settings.idle_process_s))
        if not self.frozen:
            self._carry_out(self.pool.make_ready(now))
        self.serve()

    def _give_up(self, step: ChildProcess) -> None:
        limit_s = self._base.settings.start_timeout_s
        self._refuse(step.name, f"the step classes could not be imported within {limit_s:g} s")
        step.kill()

    def retire_client(self, client_id: str) -> None:
        self._carry_out(self.pool.retire_client(client_id))

    def _reap(self, step: ChildProcess) -> None:
        """The leader is dead: end what is left of its group and what has left that, and only then report it."""
        if step.alive:
            return
        if not step.is_fenced():
            self._wakes.look_again()
            return
        self._steps.pop(step.name, None)
        ending = self._endings.pop(step.name, None)
        if self.pool.loading(step.name):
            self._refuse(step.name, f"the import of its step classes ended the process ({step.how_it_ended()})")
        saga_id = self.pool.dead(step.name)
        if saga_id is not None and step.lease is not None:
            dead = step.death(saga_id, step.lease, by_system=ending is not None and ending.by_system)
            self._deaths[saga_id] = dead
            self._owner.died(dead)
        else:
            remove_attempt_files(self._base.home, step.name)
        self.serve()

    def records(self) -> list[ProcessRecord]:
        """The step processes as monitoring shows them."""
        rows = []
        for step in self._steps.values():
            saga_id = self.pool.saga_of(step.name)
            if (pid := step.pid) is not None:
                rows.append(ProcessRecord(pid, "idle" if saga_id is None else "step", saga_id))
        return rows
