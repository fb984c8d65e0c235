"""The supervisor's hold on the processes that sagas share: lends their slots, ends single calls, and proves them ended.

What ends a call is its event loop, which says so when nothing of the call is left. One that does not say so in time is
killed with its whole process, and seen dead: its neighbours hear of it as of any death.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable

from antistrophe.actors.base import log
from antistrophe.actors.step.async_step import AsyncStepActor
from antistrophe.actors.step.attempt_file import remove_attempt_files, stack_path
from antistrophe.actors.supervisor.child_process import (
    ChildProcess,
    Ending,
    end_previous_life,
    identity_of_lease,
    start_process,
)
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakes
from antistrophe.linux.process import ProcessIdentity
from antistrophe.messages import (
    Address,
    CallEnded,
    CodeLoaded,
    CodeNotLoaded,
    Configuration,
    EndCall,
    LoadCode,
    LoopBlocked,
    ProcessDead,
    ProcessGrant,
    StepReady,
)
from antistrophe.records import ProcessRecord
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.leases import GrantTo, LoadInto, Retire, StartProcess
from antistrophe.scheduling.slot_pool import CloseSlot, SharedOrder, SharedPool, carrier_of

CLOSE_GRACE_S = 1.0
"""How long a call may take to end that nobody waits for."""

STACK_S = 0.2
"""How long a process that is to be killed has for writing where its threads stand."""


class SlotKeeper:
    """Carries out the shared pool's orders, and reports the end of every call that did not end by itself."""

    def __init__(self, owner: SupervisorPort, base: Configuration, pool: SharedPool) -> None:
        self._owner = owner
        self._base = base
        self.pool = pool
        self._carriers: dict[str, ChildProcess] = {}
        self._endings: dict[str, Ending] = {}
        self._killed: set[str] = set()
        self._wakes = Wakes(owner)
        self._deaths: dict[str, ProcessDead] = {}
        self._dead_strangers: set[ProcessIdentity] = set()
        self.frozen = False

    def knows(self, name: str) -> bool:
        """Whether that is one of these processes, or a slot in one."""
        return name in self._carriers or carrier_of(name) in self._carriers

    # --- orders of the pool ------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do what the pool wants done now."""
        if not self.frozen:
            now = self._owner.now()
            self._carry_out(self.pool.plan(now))
            self._wakes.at_turn(self.pool.next_turn(), now)

    def _carry_out(self, orders: Iterable[SharedOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name):
                    self._start(name)
                case LoadInto(name, origin, class_refs):
                    self._owner.send(self._carriers[name].address, LoadCode(origin, class_refs))
                case GrantTo(lease_name, saga_id, step_class):
                    carrier = self._carriers[carrier_of(lease_name)]
                    lease = _slot(carrier, lease_name)
                    self._owner.granted(ProcessGrant(saga_id, lease, carrier.address, step_class))
                case CloseSlot(lease_name):
                    self._end(lease_name, CLOSE_GRACE_S, by_system=True)
                case Retire(name):
                    if name in self._carriers:
                        self._kill(self._carriers[name])

    def _start(self, name: str) -> None:
        try:
            self._carriers[name] = start_process(self._owner, AsyncStepActor, self._base, name)
        except OSError as error:
            log.error("a process for async steps can't be started (%s); it is tried again", error)
            self.pool.dead(name)

    # --- what the processes and their users say ----------------------------------------------------------------

    def on_ready(self, message: StepReady, sender: Address) -> None:
        carrier = self._carriers.get(message.lease.name)
        if carrier is not None:
            carrier.lease, carrier.address = message.lease, sender
            self.pool.ready(carrier.name, self._owner.now())
            self.serve()

    def on_loaded(self, message: CodeLoaded) -> None:
        self.pool.loaded(message.lease_name, message.class_refs, self._owner.now())
        self.serve()

    def on_not_loaded(self, message: CodeNotLoaded) -> None:
        self._refuse(message.lease_name, message.reason)
        self.serve()

    def _refuse(self, name: str, reason: str) -> None:
        saga_ids, orders = self.pool.not_loaded(name)
        self._carry_out(orders)
        for saga_id in saga_ids:
            self._owner.refused(saga_id, reason)

    def on_call_ended(self, message: CallEnded) -> None:
        """The loop's word that nothing of that call is left."""
        carrier = self._carriers.get(carrier_of(message.lease_name))
        ending = self._endings.pop(message.lease_name, None)
        saga_id, orders = self.pool.closed(message.lease_name, self._owner.now())
        if saga_id is not None and carrier is not None:
            lease = _slot(carrier, message.lease_name)
            by_system = ending is not None and ending.by_system
            self._report(ProcessDead(saga_id, lease, None, None, by_system))
        self._carry_out(orders)
        self.serve()

    def on_loop_blocked(self, message: LoopBlocked) -> None:
        """One of its calls keeps the loop of a process, and with it all others there."""
        name, carrier = message.lease_name, self._carriers.get(carrier_of(message.lease_name))
        if carrier is None or carrier.asked is not None or self.pool.saga_of(name) is None:
            return
        why = f"it blocked the event loop that it shared with others for {message.blocked_s:g} s"
        log.error("a call of saga %s is ended with its process: %s", self.pool.saga_of(name), why)
        self._endings.setdefault(name, Ending(self._owner.now(), False, why))
        self._kill_for_a_call(carrier)

    def give_back(self, saga_id: str, lease_name: str, *, reusable: bool) -> None:
        """A saga has settled what ran there."""
        self._deaths.pop(saga_id, None)
        self._carry_out(self.pool.returned(lease_name, saga_id, self._owner.now(), reusable=reusable))
        self.serve()

    def forget(self, saga_id: str) -> None:
        """The saga has ended or sleeps: it wants no slot, and no news of one."""
        self._deaths.pop(saga_id, None)
        self.pool.withdraw(saga_id)
        lease_name = self.pool.leased_to(saga_id)
        if lease_name is not None:
            self._carry_out(self.pool.returned(lease_name, saga_id, self._owner.now(), reusable=False))

    def adopt(self, saga_id: str, lease: Lease) -> None:
        """Say what became of a lease: its call may go on, or is over for good."""
        carrier = self._carriers.get(carrier_of(lease.name))
        if carrier is not None and self.pool.saga_of(lease.name) == saga_id:
            if lease.name not in self._endings and carrier.name not in self._killed:
                self._owner.granted(ProcessGrant(saga_id, lease, carrier.address))
            return
        death = self._deaths.get(saga_id)
        if death is not None and death.lease == lease:
            self._owner.died(death)
        elif carrier is None:
            self._reap_previous_life(saga_id, lease)
        elif not self.pool.has_slot(lease.name):
            self._owner.died(ProcessDead(saga_id, lease, None, None, True, "its call was ended with its saga's actor"))

    def _reap_previous_life(self, saga_id: str, lease: Lease) -> None:
        """A process of an earlier life of the system: swept before this one began, which is checked once for all."""
        identity = identity_of_lease(lease)
        if identity not in self._dead_strangers:
            left = end_previous_life(lease, carrier_of(lease.name), self._base.home)
            if left:
                # The saga asks again until it is told.
                log.error("saga %s can't go on before the processes of its last attempt have ended: %s", saga_id, left)
                return
            self._dead_strangers.add(identity)
        self._owner.died(ProcessDead(saga_id, lease, None, None, True, "the system that ran it was ended"))

    # --- ending ------------------------------------------------------------------------------------------------

    def end(self, saga_id: str, lease: Lease, grace_s: float, *, by_system: bool = False) -> None:
        """Cancel that call now; kill its process after the grace. Its end is reported when it is proven."""
        if carrier_of(lease.name) in self._carriers and self.pool.saga_of(lease.name) == saga_id:
            self._end(lease.name, grace_s, by_system=by_system)
        else:
            self.adopt(saga_id, lease)

    def _end(self, lease_name: str, grace_s: float, *, by_system: bool) -> None:
        if lease_name not in self._endings:
            self._endings[lease_name] = Ending(self._owner.now() + grace_s, by_system)
            self._owner.wake_in(grace_s)
        self._owner.send(self._carriers[carrier_of(lease_name)].address, EndCall(lease_name))

    def end_all_leased(self, grace_s: float) -> int:
        """Fence every call that runs. Returns how many."""
        names = self.pool.leased()
        for name in names:
            self._end(name, grace_s, by_system=True)
        return len(names)

    def _kill_for_a_call(self, carrier: ChildProcess) -> None:
        """End a process for the sake of one of its calls; where its threads stand is asked first."""
        if carrier.asked is None and carrier.lease is not None:
            carrier.ask_for_stacks()
            self._owner.wake_in(STACK_S)
            return
        self._kill(carrier)
        self._wakes.look_again()

    def _kill(self, carrier: ChildProcess) -> None:
        self._killed.add(carrier.name)
        carrier.kill()

    def on_exit(self, address: Address) -> bool:
        """A child of ours is gone; False where it was none of these."""
        carrier = next((each for each in self._carriers.values() if each.address == address), None)
        if carrier is not None:
            self._reap(carrier)
        return carrier is not None

    def look(self) -> None:
        """Kill what has had its grace, and notice what is dead, overdue or idle for long."""
        self._wakes.looking()
        now = self._owner.now()
        for lease_name, ending in list(self._endings.items()):
            carrier = self._carriers[carrier_of(lease_name)]
            if now >= ending.kill_at + (STACK_S if carrier.asked is not None else 0.0):
                self._kill_for_a_call(carrier)
        for carrier in list(self._carriers.values()):
            if not carrier.alive:
                self._reap(carrier)
        for name in self.pool.overdue(now, self._base.settings.start_timeout_s):
            self._give_up(self._carriers[name])
        self._carry_out(self.pool.retire_idle(now, self._base.settings.idle_process_s))
        self.serve()

    def _give_up(self, carrier: ChildProcess) -> None:
        limit_s = self._base.settings.start_timeout_s
        self._refuse(carrier.name, f"the step classes could not be imported within {limit_s:g} s")
        self._kill(carrier)

    def retire_client(self, client_id: str) -> None:
        """An attached process is gone, and with it the processes that run nothing for it."""
        self._carry_out(self.pool.retire_client(client_id))

    # --- death -------------------------------------------------------------------------------------------------

    def _reap(self, carrier: ChildProcess) -> None:
        """The leader is dead: end what is left of its group and what has left that, and only then report it."""
        if carrier.alive:
            return
        if not carrier.is_fenced():
            self._wakes.look_again()
            return
        self._carriers.pop(carrier.name, None)
        if self.pool.loading(carrier.name):
            ended = carrier.how_it_ended()
            self._refuse(carrier.name, f"the import of its step classes ended the process ({ended})")
        slots = self.pool.slot_names(carrier.name)
        lent = self.pool.dead(carrier.name)
        for lease_name in slots:
            if lease_name not in lent:
                self._endings.pop(lease_name, None)
                remove_attempt_files(self._base.home, lease_name)
        for lease_name, saga_id in lent.items():
            self._report(self._death(carrier, lease_name, saga_id))
        self._killed.discard(carrier.name)
        remove_attempt_files(self._base.home, carrier.name)
        self.serve()

    def _death(self, carrier: ChildProcess, lease_name: str, saga_id: str) -> ProcessDead:
        ending = self._endings.pop(lease_name, None)
        by_system, detail = (False, None) if ending is None else (ending.by_system, ending.why)
        if ending is None and carrier.asked is not None:
            by_system, detail = True, "its process was ended, because another call that ran there did not end in time"
        # What the process wrote of its threads is where each of its calls stood.
        with contextlib.suppress(OSError):
            os.link(stack_path(self._base.home, carrier.name), stack_path(self._base.home, lease_name))
        return carrier.death(saga_id, _slot(carrier, lease_name), by_system=by_system, detail=detail)

    def _report(self, dead: ProcessDead) -> None:
        self._deaths[dead.saga_id] = dead
        self._owner.died(dead)

    def records(self) -> list[ProcessRecord]:
        """The processes as monitoring shows them: once for each call."""
        rows, busy = [], set()
        for lease_name in self.pool.leased():
            carrier = self._carriers[carrier_of(lease_name)]
            if (pid := carrier.pid) is not None:
                rows.append(ProcessRecord(pid, "step", self.pool.saga_of(lease_name)))
                busy.add(carrier.name)
        idle = (carrier.pid for carrier in self._carriers.values() if carrier.name not in busy)
        return rows + [ProcessRecord(pid, "idle", None) for pid in idle if pid is not None]


def _slot(carrier: ChildProcess, lease_name: str) -> Lease:
    """The lease of one of its slots."""
    own = carrier.lease
    assert own is not None, "only a process that is ready is lent"
    return Lease(lease_name, own.pid, own.start_ticks, own.boot_id, shared=True)
