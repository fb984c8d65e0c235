"""This host among those that share its journal: the membership actor, the lease, and the sagas that come and go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from antistrophe.actors.base import Handler, log
from antistrophe.actors.membership.membership import MembershipActor
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.dispatching import Dispatching
from antistrophe.actors.supervisor.holders import Holders
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.own_lease import OwnLease
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.shared_limits import SharedLimits
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.errors import JournalError
from antistrophe.messages import (
    Address,
    AwaitElsewhere,
    Configuration,
    HandOver,
    HostLoad,
    JoinHosts,
    LeaseConfirmed,
    LeaseEnded,
    LeaseRefused,
    MoveSaga,
    PermitsSettled,
    ProcessRefusal,
    RequestLease,
    SagaOrder,
    SagasClaimed,
    SagaSleeps,
    SagaTaken,
    StopWaiting,
    Waiter,
)
from antistrophe.records import ProcessRecord
from antistrophe.scheduling.restart_intensity import RestartIntensity

TOLD_AGAIN_S = 1.0
"""How often the membership actor is told what it must know."""


class AmongHosts:
    """Keeps the membership actor alive, obeys the lease, takes in the sagas that this host claims, and lets go of those
    that another host has taken."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        base: Configuration,
        sagas: LiveSagas,
        processes: ProcessKeeper,
        dispatching: Dispatching,
        journal: JournalAccess,
        clients: Clients,
    ) -> None:
        self._supervisor = supervisor
        self._base = base
        self._sagas = sagas
        self._processes = processes
        self._journal = journal
        self.holders = Holders(sagas, clients, journal)
        self._leases = ("", "")
        self._heard = 0
        self._handed_over: str | None = None
        self._once_joined: Callable[[], None] | None = None
        settings = base.settings
        self._restarts = RestartIntensity(settings.max_restarts, settings.restart_window_s)
        self._start_at = 0.0
        self._tell_at = 0.0
        self._actor: Address = None
        self._process: Any = None
        self.lease = OwnLease(supervisor, dispatching, processes, self._tell, self._begin)
        self._limits = SharedLimits(supervisor, sagas, processes, self._tell, settings.lease_s)
        self._start()

    def once_joined(self, do: Callable[[], None]) -> None:
        """Call ``do`` when this host has its first lease."""
        self._once_joined = do

    def handlers(self) -> Mapping[type, Handler]:
        """What the membership actor and the saga actors say of it."""
        return {
            LeaseConfirmed: lambda message, _: self._on_confirmed(message),
            LeaseRefused: lambda message, _: self.lease.refused(message),
            LeaseEnded: lambda message, _: self._on_ended(message),
            SagasClaimed: lambda message, _: self._on_claimed(message),
            SagaTaken: lambda message, _: self._taken(message.saga_id),
            SagaSleeps: lambda message, _: self._on_sleeps(message),
            PermitsSettled: lambda message, _: self._limits.settled(message),
            RequestLease: lambda message, _: self._on_request(message),
        }

    def look(self) -> None:
        """Replace a membership actor that has died, and do what the lease asks for."""
        self.lease.look()
        now = self._supervisor.now()
        if self.lease.held:
            self._limits.look()
            self.holders.look(now)
        if not self._process.is_alive() and now >= self._start_at:
            self._start_at = now + self._restarts.delay_s(now)
            log.error("the membership actor has died and is started again")
            try:
                self._start()
            except OSError as error:
                log.error("the membership actor can't be started (%s); another start is tried", error)
        elif now >= self._tell_at:
            self._tell_at = now + TOLD_AGAIN_S
            self._tell(self._join())  # it ignores this, unless it has missed the first
            if self._handed_over is None:
                self.lease.tell_again()
            self._tell(self._load())
            self._look_at_own()

    def hand_over(self) -> bool:
        """Every attempt was seen dead, and none can start: let others have the sagas. True once the lease is ended, or
        there is none to end."""
        if not self.lease.held:
            return True
        self._tell(HandOver())
        return False

    def go_on(self) -> None:
        """The system is wanted again: join anew, where the lease was handed over."""
        if self._handed_over is not None and self._process.is_alive():
            self._process.kill()

    def records(self) -> list[ProcessRecord]:
        """Its process as monitoring shows it."""
        return [ProcessRecord(self._process.pid, "membership")]

    # --- for the request handler ---------------------------------------------------------------------------------

    def await_end(self, saga_id: str, waiter: Waiter) -> None:
        """Have the waiter told the end of a saga that is another host's. Who waits for it holds it."""
        self.holders.holds(saga_id, waiter.client_id)
        self._tell(AwaitElsewhere(saga_id, waiter))

    def stop_waiting(self, message: StopWaiting) -> None:
        """That waiter has given up."""
        self._tell(message)

    def order(self, order: SagaOrder) -> None:
        """Have the host that has the saga carry out that order."""
        self._tell(order)

    # --- what is told ----------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._heard = 0
        self._actor = self._supervisor.createActor(MembershipActor)
        self._process = child_process(self._supervisor, self._actor)
        self._tell(self._join())
        self._limits.ask_anew()

    def _join(self) -> JoinHosts:
        return JoinHosts(self._base, self.lease.registration, self.lease.confirmed_at)

    def _load(self) -> HostLoad:
        return HostLoad(self._processes.attempt_count, self._sagas.room, self._heard)

    def _tell(self, message: object) -> None:
        self._supervisor.send(self._actor, message)

    # --- what comes in ---------------------------------------------------------------------------------------------

    def _on_confirmed(self, message: LeaseConfirmed) -> None:
        if message.registration != self._handed_over:
            self._handed_over = None
            self.lease.confirmed(message)
            self._drain_or_not(message.draining)

    def _drain_or_not(self, draining: bool) -> None:
        left = self._sagas.left
        if draining and not left.drains:
            log.warning("this host drains: what has not begun is left to the other hosts")
            left.drains = True
            self._look_at_own()
        elif left.drains and not draining:
            log.warning("this host drains no more")
            left.end()
            self._supervisor.wake_in(0.0)

    def _look_at_own(self) -> None:
        """Take in what is this host's, for the word that it was claimed may be lost; leave to the others what has not
        begun, where this host drains; and let go of what another host has taken."""
        if not self.lease.held:
            return
        try:
            begun = self._journal.begun()
            if not begun.keys() <= self._sagas.ids:
                self._take_in_own()
            if self._sagas.left.drains:
                self._sagas.left.look(begun)
            taken = self._sagas.taken.look(begun, self._leases)
        except JournalError as error:  # it is looked again
            log.error("the sagas that are this host's can't be read: %s", error)
            return
        for live in taken:
            if live.host is None:
                self._taken(live.id)
            else:  # its actor finds out by its next append
                self._sagas.tell(live.id, ProcessRefusal(live.id, "another host has taken it"))

    def _on_ended(self, message: LeaseEnded) -> None:
        if message.registration == self.lease.registration:
            self._handed_over = message.registration
            self.lease.gone()

    def _on_claimed(self, message: SagasClaimed) -> None:
        self._heard += len(message.saga_ids)
        self._take_in_own()

    def _on_sleeps(self, message: SagaSleeps) -> None:
        self._sagas.sleeps(message)
        if message.until is None and self._sagas.get(message.saga_id) is not None:
            self._tell(MoveSaga(message.saga_id))

    def _on_request(self, message: RequestLease) -> None:
        if not self._limits.holds_back(message):
            self._sagas.ask_process(message)

    def _begin(self) -> None:
        """This host may work, as the one that has this lease."""
        self._leases = (self.lease.registration, self._leases[0])
        self._processes.host_id = self.lease.registration
        self._journal.host_is(self.lease.registration)
        self._sagas.hosts.host_is(self.lease.registration)
        self.holders.joined_anew(self.lease.registration)
        self._limits.begin(self.lease.registration)
        self._take_in_own()
        if self._once_joined is not None:
            self._once_joined()
            self._once_joined = None

    def _take_in_own(self) -> None:
        """Take in the sagas that the journal says are this host's."""
        try:
            found = self._journal.open_sagas(besides=self._sagas.ids)
        except JournalError as error:  # they are looked for again
            log.error("the sagas that are this host's can't be read: %s", error)
            return
        self._sagas.open(found)
        for saga in found:
            if (live := self._sagas.get(saga.id)) is not None:
                self.holders.came(live)

    def _taken(self, saga_id: str) -> None:
        live = self._sagas.remove(saga_id)
        if live is None:
            return
        log.warning("saga %s is another host's by now", saga_id, extra={"saga_id": saga_id})
        self.holders.gone(live)
        for waiter in (*live.waiters.values(), *live.late.values()):
            self.await_end(saga_id, waiter)
