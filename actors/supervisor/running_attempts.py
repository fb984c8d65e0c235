"""Ends attempts, and proves that they have ended: the promise that a step never has two live attempts rests on this.

An owned process gets SIGTERM, has its grace, and is killed with its whole group. In an async worker the event loop ends
the single call, and says so when nothing of the call is left. If the loop does not say so in time, the whole process is
killed, and its other calls are reported dead too. A death is reported only once no process of the group, and no
descendant that left the group, is alive.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from math import inf

from antistrophe.actors.base import log
from antistrophe.actors.step.attempt_file import remove_attempt_files, stack_path
from antistrophe.actors.supervisor.child_process import (
    ChildProcess,
    Ending,
    end_earlier_process,
    identity_of_lease,
)
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakeups
from antistrophe.linux.process import ProcessIdentity
from antistrophe.messages import CallEnded, CallOver, EndCall, LoopBlocked, ProcessDead, ProcessGrant
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.leases import PoolOrder
from antistrophe.scheduling.pooled_process import process_of
from antistrophe.scheduling.process_pool import ProcessPool

CLOSE_GRACE_S = 1.0
"""How long a call may take to end for which no saga waits."""

STACK_S = 0.2
"""How long an async worker that is to be killed has for writing its stacks."""

_LEAVE_NOTHING = "join threads, wait for processes, or start both in a function under @on_worker_start"
_CHANGE_LESS = "put it back in the step, or change it while the module is imported"


class RunningAttempts:
    """The attempts that run in the processes of the pool, by the name of their lease."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        home: str,
        pool: ProcessPool,
        children: dict[str, ChildProcess],
        wakeups: Wakeups,
    ) -> None:
        self._supervisor = supervisor
        self._home = home
        self._pool = pool
        self._children = children
        self._wakeups = wakeups
        self._endings: dict[str, Ending] = {}
        self._told: set[str] = set()
        self._left: dict[str, set[str]] = {}
        self._deaths: dict[str, ProcessDead] = {}
        self._reaped_before: set[ProcessIdentity] = set()
        self.after_death = False

    def is_ending(self, lease_name: str) -> bool:
        """Whether the attempt of that lease is to end."""
        return lease_name in self._endings

    def settled(self, saga_id: str, lease_name: str | None = None) -> None:
        """The saga needs no news of its last attempt; or only of one that ran on another lease than that one."""
        death = self._deaths.get(saga_id)
        if death is not None and lease_name in (None, death.lease.name):
            del self._deaths[saga_id]

    def adopt(self, saga_id: str, lease: Lease) -> None:
        """Tell the saga what became of that lease: its attempt may go on, or is over for good. While its end is not
        proven, nothing is told; the saga asks again."""
        child = self._child(lease.name)
        if child is not None and self._pool.processes.saga_of(lease.name) == saga_id:
            if lease.name not in self._endings and not child.killed:
                self._supervisor.granted(ProcessGrant(saga_id, lease, child.address, adopted=True))
            return
        death = self._deaths.get(saga_id)
        if death is not None and death.lease == lease:
            self._supervisor.died(death)
        elif child is None or not lease.shared:
            self._reap_earlier_process(saga_id, lease)
        elif not self._pool.processes.has_slot(lease.name):
            why = "its call was ended with its saga's actor"
            self._supervisor.died(ProcessDead(saga_id, lease, None, None, True, why))

    def _reap_earlier_process(self, saga_id: str, lease: Lease) -> None:
        """The process of an earlier incarnation was swept before this one began. Check that once more."""
        identity = identity_of_lease(lease)
        if identity not in self._reaped_before:
            try:
                left: list[int] | str = end_earlier_process(lease, process_of(lease.name), self._home)
            except OSError as error:
                left = f"nobody can look for them ({error})"
            if left:
                # The saga asks again until it is told.
                text = "saga %s can't go on before the processes of its last attempt have ended: %s"
                log.error(text, saga_id, left, extra={"saga_id": saga_id})
                return
            self._reaped_before.add(identity)
        why = "the actor system that ran it died, or was ended before it came to its end"
        self._supervisor.died(ProcessDead(saga_id, lease, None, None, True, why, lost=self.after_death))

    # --- ending ------------------------------------------------------------------------------------------------

    def end(
        self, saga_id: str, lease: Lease, grace_s: float, *, by_system: bool = False, overdue: bool = False
    ) -> None:
        """End that attempt: its process, or only its call, is told now, and the process is killed after the grace. The
        end is reported when it is proven, and with it whether it was ``overdue``."""
        child = self._child(lease.name)
        if child is None or self._pool.processes.saga_of(lease.name) != saga_id:
            self.adopt(saga_id, lease)
        elif child.shared:
            self._end_call(child, lease.name, grace_s, by_system=by_system, overdue=overdue)
        elif lease.name not in self._endings:
            self._note_ending(lease.name, grace_s, by_system=by_system, overdue=overdue)
            # Its stacks first: SIGTERM may be all that it takes to end it.
            child.ask_for_stacks()
            child.terminate()

    def end_all(self, grace_s: float) -> int:
        """End every attempt that runs. Returns how many there are."""
        names = self._pool.processes.leased()
        for lease_name in names:
            child, saga_id = self._child(lease_name), self._pool.processes.saga_of(lease_name)
            if child is not None and saga_id is not None:
                self.end(saga_id, child.lease_named(lease_name), grace_s, by_system=True)
        return len(names)

    def close(self, lease_name: str) -> None:
        """End whatever still runs in that slot of an async worker."""
        self._end_call(self._children[process_of(lease_name)], lease_name, CLOSE_GRACE_S, by_system=True)

    def _end_call(
        self, worker: ChildProcess, lease_name: str, grace_s: float, *, by_system: bool, overdue: bool = False
    ) -> None:
        if lease_name in self._left.get(worker.name, ()):
            return  # it is over, and ends with its process
        if lease_name not in self._endings:
            self._note_ending(lease_name, grace_s, by_system=by_system, overdue=overdue)
        self._supervisor.send(worker.address, EndCall(lease_name))

    def _note_ending(self, lease_name: str, grace_s: float, *, by_system: bool, overdue: bool) -> None:
        self._endings[lease_name] = Ending(self._supervisor.now() + grace_s, by_system, overdue=overdue)
        self._supervisor.wake_in(grace_s)

    def kill_overdue(self) -> None:
        """Kill the processes of the attempts that have had their grace."""
        now = self._supervisor.now()
        for lease_name, ending in list(self._endings.items()):
            child = self._children[process_of(lease_name)]
            if not child.alive or now < ending.kill_at:
                continue
            if not child.shared:
                child.kill()
                self._wakeups.look_again()
            elif child.asked is None or now >= ending.kill_at + STACK_S:
                self._kill_worker(child)

    def _kill_worker(self, worker: ChildProcess) -> None:
        """Kill an async worker because of one of its calls, after it was asked for its stacks."""
        if worker.asked is None and worker.lease is not None:
            worker.ask_for_stacks()
            self._supervisor.wake_in(STACK_S)
            return
        worker.kill()
        self._wakeups.look_again()

    # --- what is reported --------------------------------------------------------------------------------------

    def loop_blocked(self, message: LoopBlocked) -> None:
        """One call keeps the event loop of its worker from running, and with it all other calls there."""
        lease_name, worker = message.lease_name, self._child(message.lease_name)
        saga_id = self._pool.processes.saga_of(lease_name)
        if worker is None or worker.asked is not None or saga_id is None:
            return
        why = f"it blocked the event loop that it shared with others for {message.blocked_s:g} s"
        log.error("a call of saga %s is ended with its process: %s", saga_id, why, extra={"saga_id": saga_id})
        self._endings.setdefault(lease_name, Ending(self._supervisor.now(), False, why))
        self._kill_worker(worker)

    def call_over(self, message: CallOver) -> None:
        """A call has ended that needs its process ended, too; the saga hears of the outcome after that."""
        lease_name, process = message.lease_name, self._child(message.lease_name)
        if process is None or process.killed or self._pool.processes.saga_of(lease_name) is None:
            return
        why = None
        if message.spoilt is not None:
            why = f"it changed {message.spoilt} of its process for good, so its process was ended"
            self.tell_spoilt(message.step_class, message.spoilt)
        elif message.left is not None:
            why = f"it left {message.left} behind, so its process was ended"
            self._tell_once(message.step_class, f"leave {message.left} behind", _LEAVE_NOTHING)
        if process.shared:
            # Its other calls come to their ends first.
            self._endings.setdefault(lease_name, Ending(inf, False, why))
            self._left.setdefault(process.name, set()).add(lease_name)
            self._pool.close(process.name)
            self.end_what_is_left()
            return
        self._endings.setdefault(lease_name, Ending(self._supervisor.now(), False, why))
        self._pool.ending(process.name)
        process.kill()
        self._wakeups.look_again()

    def end_what_is_left(self) -> None:
        """Kill the async workers in which nothing runs any more but what calls have left there."""
        for name, left in self._left.items():
            process = self._children.get(name)
            if process is not None and not process.killed and self._pool.processes.leases_in(name) <= left:
                self._pool.ending(name)
                process.kill()
                self._wakeups.look_again()

    def tell_spoilt(self, step_class: str, spoilt: str) -> None:
        """Say, once for each step class, that its calls change their process for good."""
        self._tell_once(step_class, f"change {spoilt} of their process for good", _CHANGE_LESS)

    def _tell_once(self, step_class: str, they_do: str, advice: str) -> None:
        if step_class not in self._told:
            self._told.add(step_class)
            log.warning(
                "calls of step class %s %s, so each of them costs a process: %s. This is said once",
                step_class,
                they_do,
                advice,
            )

    def call_ended(self, message: CallEnded) -> list[PoolOrder]:
        """The event loop says that nothing of that call is left."""
        worker = self._child(message.lease_name)
        ending = self._endings.pop(message.lease_name, None)
        saga_id, orders = self._pool.closed(message.lease_name, self._supervisor.now())
        if saga_id is not None and worker is not None:
            by_system, overdue = (False, False) if ending is None else (ending.by_system, ending.overdue)
            lease = worker.lease_named(message.lease_name)
            self._report(ProcessDead(saga_id, lease, None, None, by_system, overdue=overdue))
        if worker is not None:
            worker.slots.pop(message.lease_name, None)
        return orders

    def process_died(self, child: ChildProcess) -> None:
        """A process is proven dead, and with it all attempts that ran there."""
        names = [child.name, *self._pool.processes.slot_names(child.name)]
        self._left.pop(child.name, None)
        holders = self._pool.dead(child.name)
        for lease_name, saga_id in holders.items():
            self._report(self._death(child, lease_name, saga_id))
        for lease_name in names:
            if lease_name not in holders:
                self._endings.pop(lease_name, None)
                remove_attempt_files(self._home, lease_name)

    def _death(self, child: ChildProcess, lease_name: str, saga_id: str) -> ProcessDead:
        ending = self._endings.pop(lease_name, None)
        by_system, detail = (False, None) if ending is None else (ending.by_system, ending.why)
        if ending is None and child.asked is not None:
            by_system, detail = True, "its process was ended, because another call that ran there did not end in time"
        if child.shared:
            # The stacks that the worker wrote show where each of its calls stood.
            with contextlib.suppress(OSError):
                os.link(stack_path(self._home, child.name), stack_path(self._home, lease_name))
        dead = child.death(saga_id, child.lease_named(lease_name), by_system=by_system, detail=detail)
        return replace(dead, overdue=True) if ending is not None and ending.overdue else dead

    def _report(self, dead: ProcessDead) -> None:
        self._deaths[dead.saga_id] = dead
        self._supervisor.died(dead)

    def _child(self, lease_name: str) -> ChildProcess | None:
        return self._children.get(process_of(lease_name))
