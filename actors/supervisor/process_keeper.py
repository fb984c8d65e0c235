"""Keeps the step processes: starts them and grants leases as the pool orders, and notices what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from logging import INFO, WARNING

from antistrophe.actors.base import log
from antistrophe.actors.supervisor.child_process import ChildProcess, start_process
from antistrophe.actors.supervisor.code_watch import CodeWatch
from antistrophe.actors.supervisor.environments import Environments
from antistrophe.actors.supervisor.ports import SupervisorPort, Wakeups
from antistrophe.actors.supervisor.preload import step_actors
from antistrophe.actors.supervisor.running_attempts import RunningAttempts
from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.linux.control_groups import fence_in_words, group_folder
from antistrophe.linux.descendants import can_mark
from antistrophe.messages import (
    Address,
    CallEnded,
    CodeLoaded,
    CodeNotLoaded,
    Configuration,
    LoadCode,
    LoopBlocked,
    ProcessGrant,
    ProcessSpoilt,
    StepReady,
)
from antistrophe.records import ProcessRecord
from antistrophe.scheduling.leases import CloseSlot, GrantTo, LoadInto, PoolOrder, Retire, StartProcess
from antistrophe.scheduling.placement import why_not_here
from antistrophe.scheduling.pooled_process import process_of
from antistrophe.scheduling.process_pool import ProcessPool
from antistrophe.settings import cores


class ProcessKeeper:
    """Carries out the orders of the pool, and tells the pool what happened. ``attempts`` ends what runs. ``host_id``:
    this host among those that share the journal."""

    def __init__(
        self, supervisor: SupervisorPort, base: Configuration, prefix: str, environments: Environments | None = None
    ) -> None:
        self._supervisor = supervisor
        self._environments = environments or Environments(0.0)
        self._code = CodeWatch()
        self._base = base
        settings = base.settings
        self.pool = ProcessPool(
            settings.step_processes,
            prefix,
            async_limit=settings.async_processes,
            slots=settings.async_calls_per_process,
            prewarm=settings.spare_processes,
            cores=cores(),
            leave_places=True,
        )
        self._groups = group_folder()
        marks = can_mark()
        fence = fence_in_words(self._groups, marks=marks)
        log.log(INFO if marks or self._groups is not None else WARNING, "what attempts start is ended by %s", fence)
        self._children: dict[str, ChildProcess] = {}
        self._wakeups = Wakeups(supervisor)
        self.attempts = RunningAttempts(supervisor, base.home, self.pool, self._children, self._wakeups)
        self.attempts.after_death = base.after_death
        self._frozen = False
        self.host_id = ""

    # --- what sagas want ---------------------------------------------------------------------------------------

    def ask(self, saga_id: str, client_id: str, request: LeaseRequest, name: str, environment: str = "") -> bool:
        """A saga of that name wants a lease, in a process with that environment; where a slot is free, it is granted
        within this call. False where this host is none of those that the attempt may run on: the saga is told so."""
        settings = self._base.settings
        if (why := why_not_here(request.runs_on, settings.labels, settings.host)) is not None:
            self.withdraw(saga_id)
            self._supervisor.refused(saga_id, why)
            return False
        if self._code.changed(client_id, self._supervisor.now()):
            self._carry_out(self.pool.processes.outdate(client_id))
        self.pool.ask(saga_id, client_id, request, name, environment)
        self.serve()
        return True

    def withdraw(self, saga_id: str) -> None:
        """The saga wants no lease any more."""
        self.pool.withdraw(saga_id)

    def lease_of(self, saga_id: str) -> str | None:
        """The name of the lease that this saga holds, or None."""
        return next(iter(self.pool.processes.leased_to(saga_id)), None)

    def give_back(self, saga_id: str, lease_name: str, *, reusable: bool) -> None:
        """A saga has settled the attempt that ran there. A process that is being ended is for nobody else, even where
        its attempt has answered before it died."""
        self.attempts.settled(saga_id, lease_name)
        reusable = reusable and not self.attempts.is_ending(lease_name)
        self._carry_out(self.pool.returned(lease_name, saga_id, self._supervisor.now(), reusable=reusable))
        self.serve()

    def forget(self, saga_id: str) -> None:
        """The saga has ended or sleeps: it wants no lease, and no news of the last one."""
        self.attempts.settled(saga_id)
        self.withdraw(saga_id)
        for lease_name in self.pool.processes.leased_to(saga_id):
            self._carry_out(self.pool.returned(lease_name, saga_id, self._supervisor.now(), reusable=False))

    # --- orders of the pool ------------------------------------------------------------------------------------

    def serve(self) -> None:
        """Do what the pool wants done now."""
        self.attempts.end_what_is_left()
        if not self._frozen:
            now = self._supervisor.now()
            self._carry_out(self.pool.plan(now))
            self._wakeups.at_start(self.pool.next_start(), now)
            if self.pool.unready(now):
                self._wakeups.look_again(0.0)  # a fork takes time: first send the grants of this plan

    def freeze(self) -> None:
        """Grant nothing more."""
        self._frozen = True

    def thaw(self) -> None:
        """Grant again."""
        self._frozen = False
        self.serve()

    def _carry_out(self, orders: Iterable[PoolOrder]) -> None:
        for order in orders:
            match order:
                case StartProcess(name, shared):
                    self._start(name, shared=shared)
                case LoadInto(name, origin, class_refs):
                    load = LoadCode(origin, class_refs, self._environments.programs_beside(origin))
                    self._supervisor.send(self._children[name].address, load)
                case GrantTo():
                    self._grant(order)
                case CloseSlot(lease_name):
                    self.attempts.close(lease_name)
                case Retire(name):
                    if name in self._children:
                        self._retire(self._children[name])

    def _retire(self, child: ChildProcess) -> None:
        now = self._supervisor.now()
        child.retire(now)
        if child.kill_at is not None:
            self._supervisor.wake_in(child.kill_at - now)

    def close_all(self) -> bool:
        """Nothing runs any more: retire the processes that have something to close. False while any of them lives. None
        of them is lent again, even where the drain is called off."""
        closing = [child for child in self._children.values() if child.to_close and child.alive]
        for child in closing:
            self.pool.ending(child.name)
            self._retire(child)
        return not closing

    def kill_all(self) -> bool:
        """Kill every step process, with what runs there. True once none of them is left."""
        for child in list(self._children.values()):
            self.pool.ending(child.name)
            child.kill()
            self._reap(child)
        return not self._children

    def _start(self, name: str, *, shared: bool) -> None:
        step_actor, async_step_actor = step_actors()
        pooled = self.pool.processes.get(name)
        environment = None if pooled is None else self._environments.get(pooled.key.environment)
        try:
            self._children[name] = start_process(
                self._supervisor,
                self._base,
                async_step_actor if shared else step_actor,
                name,
                environment,
                shared=shared,
                groups=self._groups,
            )
        except OSError as error:
            kind = "async worker" if shared else "step process"
            log.error("the %s %s can't be started (%s); another start is tried", kind, name, error)
            self.pool.start_failed(name, self._supervisor.now())

    def _grant(self, order: GrantTo) -> None:
        child = self._children[process_of(order.lease_name)]
        # A lease that is ending is not granted again to a saga that missed the grant: the saga asks again after the
        # end.
        if not self.attempts.is_ending(order.lease_name):
            lease = child.lease_named(order.lease_name)
            self._supervisor.granted(
                ProcessGrant(
                    order.saga_id,
                    lease,
                    child.address,
                    order.step_class,
                    fresh=order.fresh,
                    host_id=self.host_id,
                )
            )

    # --- what the processes say --------------------------------------------------------------------------------

    def on_ready(self, message: StepReady, sender: Address) -> None:
        """A process can be used."""
        child = self._children.get(message.lease.name)
        if child is not None:
            child.lease, child.address = message.lease, sender
            self.pool.ready(child.name, self._supervisor.now())
            self.serve()

    def on_loaded(self, message: CodeLoaded) -> None:
        """A process has imported what it was told."""
        self._note_to_close(message)
        self.pool.loaded(message.lease_name, message.class_refs, self._supervisor.now())
        process = self.pool.processes.get(message.lease_name)
        if process is not None and self._code.loaded(process.key.client_id, message.files):
            self._carry_out(self.pool.processes.outdate(process.key.client_id, but=process.name))
        self.serve()

    def on_not_loaded(self, message: CodeNotLoaded) -> None:
        """A process could not import what it was told."""
        self._note_to_close(message)
        self._refuse(message.lease_name, message.reason, unguarded=message.unguarded, found=message.found)
        self.serve()

    def _note_to_close(self, message: CodeLoaded | CodeNotLoaded) -> None:
        child = self._children.get(message.lease_name)
        if child is not None:
            child.to_close = message.to_close

    def on_call_ended(self, message: CallEnded) -> None:
        """Nothing is left of a call in an async worker."""
        self._carry_out(self.attempts.call_ended(message))
        self.serve()

    def on_loop_blocked(self, message: LoopBlocked) -> None:
        """A call keeps the event loop of its async worker from running."""
        self.attempts.loop_blocked(message)

    def on_spoilt(self, message: ProcessSpoilt) -> None:
        """A call has changed its async worker for good."""
        if message.name in self._children:
            self.attempts.tell_spoilt(message.step_class, message.spoilt)
            self._carry_out(self.pool.close(message.name))
            self.serve()

    def reload(self) -> int:
        """Have no process go on that has loaded code. Returns how many there were."""
        count = sum(each.has_loaded for each in self.pool.processes.all())
        self._carry_out(self.pool.processes.outdate(None))
        self.serve()
        return count

    def _refuse(self, name: str, reason: str, *, unguarded: bool = False, found: Origin | None = None) -> None:
        saga_ids, orders = self.pool.not_loaded(name)
        self._carry_out(orders)
        for saga_id in saga_ids:
            self._supervisor.refused(saga_id, reason, unguarded=unguarded, found=found)

    # --- what became of the processes --------------------------------------------------------------------------

    def on_exit(self, address: Address) -> bool:
        """A child of the supervisor is gone; False where it was no step process."""
        child = next((child for child in self._children.values() if child.address == address), None)
        if child is not None:
            self._reap(child)
        return child is not None

    def look(self) -> None:
        """Notice what is dead, overdue or idle for long, kill what has had its grace, and prewarm."""
        self._wakeups.looking()
        self.attempts.kill_overdue()
        for child in list(self._children.values()):
            self._reap(child)
        now, settings = self._supervisor.now(), self._base.settings
        for child in self._children.values():
            if child.kill_at is not None and now >= child.kill_at:
                child.kill()
        for name in self.pool.processes.overdue(now, settings.start_timeout_s):
            limit_s = settings.start_timeout_s
            self._refuse(
                name,
                f"the step classes could not be imported, or what is under @on_worker_start has not returned, within "
                f"{limit_s:g} s",
            )
            self._children[name].kill()
        self._carry_out(self.pool.retire_idle(now, settings.idle_process_s))
        if not self._frozen:
            self._carry_out(self.pool.make_ready(now))
        self.serve()

    def retire_client(self, client_id: str) -> None:
        """An attached process is gone, and with it the processes that run nothing for it."""
        self._code.forget(client_id)
        self._carry_out(self.pool.retire_client(client_id))

    def _reap(self, child: ChildProcess) -> None:
        """Once the process is dead, end what is left of its group and its descendants, and only then report it."""
        if child.alive:
            return
        try:
            fenced = child.is_fenced()
        except OSError:  # no descriptor is free: whether all of it is dead can't be seen
            fenced = False
        if not fenced:
            self._wakeups.look_again()
            return
        self._children.pop(child.name, None)
        if self.pool.processes.loading(child.name):
            self._refuse(child.name, f"the import of its step classes ended the process ({child.how_it_ended()})")
        self.attempts.process_died(child)
        self.serve()

    @property
    def busy(self) -> bool:
        """Whether any saga holds a lease."""
        return bool(self.pool.processes.leased())

    @property
    def attempt_count(self) -> int:
        """How many leases sagas hold."""
        return len(self.pool.processes.leased())

    def records(self) -> list[ProcessRecord]:
        """The step processes as monitoring shows them: one that makes many calls is listed for each call."""
        rows = []
        for child in self._children.values():
            if (pid := child.pid) is not None:
                sagas = self.pool.processes.sagas_in(child.name)
                rows += [ProcessRecord(pid, "step", saga_id) for saga_id in sagas] or [ProcessRecord(pid, "idle")]
        return rows
