"""The supervisor of a simulated world: it gives the saga an actor, grants it leases, and proves their deaths.

It answers each message of the shipped saga actor as the shipped supervisor does (``LiveSagas``, ``LeaseRouter``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from antistrophe.definition.spec import LeaseRequest
from antistrophe.messages import (
    AdoptProcess,
    BeginSaga,
    Done,
    DrainSagas,
    EndProcess,
    ProcessDead,
    ProcessGrant,
    ProcessRefusal,
    Rejected,
    RequestLease,
    ResumeSaga,
    ReturnProcess,
    SagaActorFailed,
    SagaEnded,
    SagaOrder,
    SagaSleeps,
    Waiter,
)
from antistrophe.saga.entries import Lease
from antistrophe.saga.inputs import CancelAsked
from antistrophe.saga.state import replay
from tests.simulation.faults import Fault
from tests.simulation.simulated_host import SimulatedHost
from tests.simulation.step_processes import DELAY_S, Death, StepProcess

if TYPE_CHECKING:
    from tests.simulation.world import World

CLIENT = Waiter("client", "outcome")

TELL_AGAIN_S = 5.0
"""How soon an actor is told again what it was told first; doubled up to TELL_AGAIN_MAX_S."""

TELL_AGAIN_MAX_S = 60.0


class SimulatedSupervisor:
    """One life of the supervisor. ``live``: the saga is neither final nor parked, as far as the supervisor knows;
    ``placed``: the saga has an actor, or is about to have one; ``actors`` counts them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._id = world.scenario.spec.id
        self.host = SimulatedHost(world)
        self.live = False
        self.placed = False
        self.draining = False
        self.actors = 0
        self._begin: BeginSaga | None = None
        self._orders: dict[str, SagaOrder] = {}
        self._sleeps = 0
        self._orphan: str | None = None
        self._clean = True
        self._wanted: LeaseRequest | None = None
        self._lent: dict[str, StepProcess] = {}
        self._delivered: set[str] = set()
        self._taken_in_flight: set[str] = set()
        self._endings: set[str] = set()
        self._overdue: set[str] = set()
        self._deaths: dict[str, ProcessDead] = {}

    def receive(self, message: Any) -> None:
        """A message of the saga's actor, or of its host."""
        _HANDLERS[type(message)](self, message)

    # --- the saga's actors ---------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Run the saga, which is new; at times a process is free at once, and its first attempt is part of the first
        commit."""
        spec, rng = self._world.scenario.spec, self._world.rng
        self.live = True
        grant = None
        if spec.steps:
            request = spec.lease_request(0)
            if rng.random() < 0.3:
                grant = self._lend(self._world.processes.start(shared=request.shared), request)
                self._delivered.add(grant.lease.name)
            else:
                self._want(request)
        self._begin = BeginSaga("request", spec, grant, Waiter("client", "start"), (CLIENT,), asked=grant is None)
        self._spawn()

    def resume(self) -> None:
        """Go on with the saga, which an earlier life left unfinished."""
        self.live = True
        self._spawn()

    def _spawn(self) -> None:
        if self.placed or not self.live:
            return
        self.placed = True
        self.actors += 1
        self._tell_first(TELL_AGAIN_S)

    def _tell_first(self, again_in_s: float) -> None:
        """Tell the actor what it is for; one that has heard it ignores it."""
        begin, actors = self._begin, self.actors
        if begin is not None and not self._world.journal:
            self._world.to_host(begin, first=True)
            self._begin = BeginSaga("request", begin.spec, None, begin.acknowledge, begin.waiters)
        else:
            self._world.to_host(ResumeSaga(self._id, (CLIENT,), tuple(self._orders.values())), first=True)
            self._orders.clear()
        self._world.after(again_in_s, lambda: self._tell_again(actors, again_in_s))

    def _tell_again(self, actors: int, again_in_s: float) -> None:
        if self.live and self.placed and self.actors == actors and not self.draining:
            self._tell_first(min(2.0 * again_in_s, TELL_AGAIN_MAX_S))

    def _tell(self, message: Any) -> None:
        if self.live and self.placed:
            self._world.to_host(message, crosses=isinstance(message, ProcessDead))

    def host_died(self) -> None:
        """The host's process is gone, and with it the saga's actor."""
        self.host = SimulatedHost(self._world)
        self.host.sagas.draining = self.draining
        self._actor_failed(None)

    def _actor_failed(self, _message: SagaActorFailed | None) -> None:
        if not (self.live and self.placed) or self.draining:
            return
        self.placed, self._clean, self._wanted = False, False, None
        self._orphan = next(iter(self._lent), None)
        self._world.after(self._world.rng.uniform(0.0, 3.0), self._spawn)

    def _saga_sleeps(self, message: SagaSleeps) -> None:
        if not self.live:
            return
        self._take_back()
        self.placed, self._begin = False, None
        now, rng = self._world.now, self._world.rng
        until = now + rng.uniform(2.0, 20.0) if message.until is None else message.until
        self._sleeps += 1
        number = self._sleeps
        self._world.after(until - now, lambda: self._wake_up(number))
        if self._orders:
            self._wake_up(number)

    def _wake_up(self, number: int) -> None:
        if self._sleeps == number and not self.draining:
            self._spawn()

    def _saga_ended(self, message: SagaEnded) -> None:
        if message.returned is not None:
            self._return(message.returned)
        if not self.live:
            return
        self._clean = self._clean and message.error != "SagaNotFoundError"  # with the saga its leases are gone
        self._take_back()
        self.live = self.placed = False
        if self._world.scenario.on_server:
            self._world.look_soon()
        if message.status is None:
            self._world.client_was_refused()

    # --- orders --------------------------------------------------------------------------------------------------

    def order(self, order: SagaOrder) -> None:
        """Hand an order to the saga, or answer it where the saga has ended."""
        saga = replay(self._world.journal) if self._world.journal else None
        to = order.reply_to.correlation
        if not self.live and saga is None:
            self._world.route("client", Rejected(to, "SagaNotFoundError", "there is no such saga"))
        elif not self.live and isinstance(order.order, CancelAsked):
            self._world.replicate()
            self._world.route("client", Done(to, len(self._world.journal), False))
        elif not self.live and saga is not None and not saga.parked:
            self._world.route("client", Rejected(to, "RequestError", "only a parked saga can be retried or resolved"))
        elif self.placed:
            self._world.to_host(order, crosses=True)
        else:
            self.live = True
            self._orders[to] = order
            if not self.draining:
                self._sleeps += 1
                self._spawn()

    # --- leases --------------------------------------------------------------------------------------------------

    def has_lent(self, name: str) -> bool:
        """Whether the saga holds the lease of that process."""
        return name in self._lent

    def may_run(self, name: str) -> bool:
        """Whether the saga holds the lease of that process, or did until the process died. A lease that was taken back
        before its grant was delivered is one of those: its process was killed, and nobody else gets it."""
        process = self._world.processes.get(name)
        return name in self._lent or name in self._deaths or name in self._taken_in_flight or process is None

    def delivered(self, lease: Lease, *, has_actor: bool) -> None:
        """The saga's actor has heard of that grant; or nobody has, for there is none."""
        if has_actor:
            self._delivered.add(lease.name)
        else:
            self._delivered.discard(lease.name)

    def _request(self, message: RequestLease) -> None:
        if not (self.live and self.placed) or self.draining:
            return
        if self._orphan is not None:
            self._give_back(self._orphan, reusable=False)
            self._orphan = None
        self._want(message.request)

    def _want(self, request: LeaseRequest) -> None:
        pending, self._wanted = self._wanted is not None, request
        if not pending:
            late = self._world.chances.strikes(Fault.GRANT_LATE)
            self._world.after(self._world.rng.uniform(1.0, 20.0) if late else DELAY_S, self._serve)

    def _serve(self) -> None:
        request, self._wanted = self._wanted, None
        if request is None or self.draining:
            return
        if self._world.chances.strikes(Fault.GRANT_REFUSED):
            self._tell(ProcessRefusal(self._id, "no process can be started"))
            return
        for _ in range(2 if self._world.chances.strikes(Fault.GRANT_DOUBLED) else 1):
            idle = [
                process
                for process in self._world.processes.alive()
                if process.lease.name not in self._lent
                and process.lease.shared == request.shared
                and not (request.fresh and process.used)
            ]
            reused = idle and self._world.rng.random() < 0.8
            process = self._world.rng.choice(idle) if reused else self._world.processes.start(shared=request.shared)
            self._tell(self._lend(process, request))

    def _lend(self, process: StepProcess, request: LeaseRequest) -> ProcessGrant:
        self._lent[process.lease.name] = process
        process.turn = None if request.throttle is None else request.throttle.step_class
        return ProcessGrant(self._id, process.lease, process, process.turn, fresh=request.fresh)

    def _return(self, message: ReturnProcess) -> None:
        self._give_back(message.lease_name, reusable=message.reusable)

    def _give_back(self, name: str, *, reusable: bool) -> None:
        process = self._lent.pop(name, None)
        self._delivered.discard(name)
        if process is not None and (not reusable or name in self._endings):
            process.die(Death(signal=9))

    def _take_back(self) -> None:
        """The actor has left in order: it holds no lease any more. Notes what it had got and not given back."""
        kept = [name for name, process in self._lent.items() if name in self._delivered and process.death is None]
        if self._clean:
            self._world.history.leaked += kept
        self._clean, self._wanted, self._orphan = True, None, None
        for name in list(self._lent):
            if name not in self._delivered:
                self._taken_in_flight.add(name)
            self._give_back(name, reusable=False)

    def _adopt(self, message: AdoptProcess) -> None:
        if self._orphan == message.lease.name:
            self._orphan = None
        self._say_what_became_of(message.lease)

    def _say_what_became_of(self, lease: Lease) -> None:
        process = self._world.processes.get(lease.name)
        if lease.name in self._lent:
            if lease.name not in self._endings:
                self._world.forget_grant(lease)
                self._tell(ProcessGrant(self._id, lease, process, adopted=True))
        elif lease.name in self._deaths:
            self._tell_dead(self._deaths[lease.name])
        else:
            if process is not None:
                process.end(Death(by_system=True))
            self._tell_dead(ProcessDead(self._id, lease, None, None, True, "the system that ran it was ended"))

    def _end(self, message: EndProcess) -> None:
        name = message.lease.name
        if name not in self._lent:
            self._say_what_became_of(message.lease)
        elif name not in self._endings:
            self._endings.add(name)
            if message.overdue:
                self._overdue.add(name)
            self._lent[name].terminate(message.grace_s)

    def seen_dead(self, process: StepProcess) -> None:
        """The supervisor has reaped that process."""
        name = process.lease.name
        death = process.death
        assert death is not None, "only told of the dead"
        self._endings.discard(name)
        if self._lent.pop(name, None) is None:
            self._world.processes.remove(name)
            return
        self._delivered.discard(name)
        overdue = name in self._overdue
        dead = ProcessDead(self._id, process.lease, death.exit_code, death.signal, death.by_system, overdue=overdue)
        self._deaths[name] = dead
        self._tell_dead(dead)

    def _tell_dead(self, dead: ProcessDead) -> None:
        if not self._world.chances.strikes(Fault.FENCE_LOST):
            self._tell(dead)

    # --- stopping ------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Start nothing more."""
        self.draining = True
        self._world.to_host(DrainSagas(), first=True)

    def end_all(self, grace_s: float) -> None:
        """Fence every attempt that runs: the time for draining is over."""
        for name, process in self._lent.items():
            if name not in self._endings:
                self._endings.add(name)
                process.terminate(grace_s, by_system=True)


_HANDLERS: Mapping[type, Callable[[SimulatedSupervisor, Any], None]] = {
    RequestLease: SimulatedSupervisor._request,
    AdoptProcess: SimulatedSupervisor._adopt,
    EndProcess: SimulatedSupervisor._end,
    ReturnProcess: SimulatedSupervisor._return,
    SagaEnded: SimulatedSupervisor._saga_ended,
    SagaSleeps: SimulatedSupervisor._saga_sleeps,
    SagaActorFailed: SimulatedSupervisor._actor_failed,
}
