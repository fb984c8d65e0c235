"""The supervisor actor: hands what comes in to the part that answers for it, and watches over the whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from thespian.actors import ChildActorExited, WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.saga.journal_access import JournalAccess, open_at_start
from antistrophe.actors.step.attempt_file import remove_all_attempt_files
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.dispatching import Dispatching
from antistrophe.actors.supervisor.draining import Draining
from antistrophe.actors.supervisor.environments import Environments
from antistrophe.actors.supervisor.live_saga import TELL_AGAIN_S
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.preload import WITH_STEPS, step_actors, warm_up
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.registry_keeper import RegistryKeeper
from antistrophe.actors.supervisor.request_handler import RequestHandler
from antistrophe.actors.supervisor.saga_host_pool import SagaHostPool
from antistrophe.definition.spec import Origin
from antistrophe.errors import JournalError, SagaExistsError, SagaNotFoundError
from antistrophe.linux.descendants import orphans_fall_to
from antistrophe.linux.process import die_with_parent, identity_of, is_alive
from antistrophe.linux.termination import sweep
from antistrophe.messages import (
    QUERIES,
    Address,
    AdoptProcess,
    AttachedClients,
    AwaitSaga,
    CallEnded,
    CallOver,
    ClientLeft,
    CodeLoaded,
    CodeNotLoaded,
    CodeReloaded,
    Configuration,
    Drain,
    EndProcess,
    HoldSagas,
    Introduce,
    Introduced,
    ListProcesses,
    LoopBlocked,
    OrderSaga,
    ProcessDead,
    Processes,
    ProcessGrant,
    ProcessRefusal,
    ProcessSpoilt,
    RegistryQuery,
    ReloadCode,
    RequestLease,
    ReturnProcess,
    SagaActorFailed,
    SagaEnded,
    SagaSleeps,
    StartSaga,
    StepReady,
    StopWaiting,
    SupervisorFailed,
    SupervisorReady,
    rejection,
)
from antistrophe.records import ProcessRecord

if TYPE_CHECKING:
    from antistrophe.actors.supervisor.among_hosts import AmongHosts
    from antistrophe.actors.supervisor.parked_sagas import ParkedSagas

TICK_S = 0.25
"""How often the supervisor looks for changes of which no message may tell it."""

SWEEP_S = 5.0
"""How long the supervisor tries to end all other processes of a system whose launcher has died."""

JOURNAL_PATIENCE_S = 0.1
"""How long the supervisor waits for a lock of the journal. Meanwhile it kills and answers nobody."""


class SupervisorActor(RuntimeActor):
    """Routes each message to ``RequestHandler``, ``LiveSagas`` or ``ProcessKeeper``."""

    role = "supervisor"

    def __init__(self) -> None:
        super().__init__()
        # Its parent is Thespian's Admin, which tells it nothing of ours.
        die_with_parent(os.getppid())
        self._launcher: Any = None
        self._ready: SupervisorReady | None = None
        self._introduce_at = 0.0
        self._parked: ParkedSagas | None = None
        self._among: AmongHosts | None = None

    def handlers(self) -> Mapping[type, Handler]:
        return {Configuration: self._on_configuration}

    def _all_handlers(self) -> Mapping[type, Handler]:
        processes, sagas, requests = self.processes, self.sagas, self.requests
        return {
            StartSaga: self._answering(requests.start),
            AwaitSaga: self._answering(requests.wait),
            StopWaiting: lambda message, _: requests.stop_waiting(message),
            OrderSaga: self._answering(requests.order),
            Introduce: self._on_introduce,
            ReloadCode: self._on_reload,
            HoldSagas: self._answering(requests.hold),
            ListProcesses: self._on_list_processes,
            **dict.fromkeys(
                QUERIES, lambda query, sender: self.send(self.registry.address, RegistryQuery(query, sender))
            ),
            ClientLeft: lambda message, _: self._client_left(message.client_id),
            AttachedClients: self._on_attached_clients,
            Drain: self.draining.begin,
            RequestLease: lambda message, _: sagas.ask_process(message),
            AdoptProcess: lambda message, _: sagas.adopt_process(message),
            EndProcess: lambda message, _: processes.attempts.end(
                message.saga_id, message.lease, message.grace_s, overdue=message.overdue
            ),
            ReturnProcess: self._on_return,
            SagaActorFailed: lambda message, _: sagas.actor_failed(message.saga_id),
            SagaEnded: self._on_ended,
            SagaSleeps: lambda message, _: sagas.sleeps(message),
            StepReady: processes.on_ready,
            CodeLoaded: lambda message, _: processes.on_loaded(message),
            CodeNotLoaded: lambda message, _: processes.on_not_loaded(message),
            CallEnded: lambda message, _: processes.on_call_ended(message),
            CallOver: lambda message, _: processes.attempts.call_over(message),
            LoopBlocked: lambda message, _: processes.on_loop_blocked(message),
            ProcessSpoilt: lambda message, _: processes.on_spoilt(message),
            ChildActorExited: self._on_child_exit,
            WakeupMessage: self._on_wakeup,
        }

    # --- beginning ---------------------------------------------------------------------------------------------

    def _on_configuration(self, message: Configuration, sender: Address) -> None:
        if self.base is not None:
            if self._ready is not None:
                self.send(sender, self._ready)
            return
        self.configure(message)
        self._launcher = identity_of(message.launcher_pid)
        orphans_fall_to(message.launcher_pid)
        try:
            journal = open_at_start(message, JOURNAL_PATIENCE_S)
            open_sagas = journal.open_sagas() if message.settings.journal is None else []
        except JournalError as error:
            self.send(sender, SupervisorFailed("JournalError", str(error)))
            return
        if not open_sagas and message.settings.journal is None:
            remove_all_attempt_files(message.home)
        self.make_ready_for(WITH_STEPS)
        warm_up()
        try:
            self.registry = RegistryKeeper(self, message)
            hosts = SagaHostPool(self, message, self.registry.address)
        except OSError as error:
            why = f"this machine has no room for the processes of an actor system ({error}); make room, and try again"
            self.send(sender, SupervisorFailed("SystemUnavailableError", why))
            return
        self._make_parts(message, hosts, journal)
        self.wake_in(TICK_S, "tick")
        if self._among is None:
            self.sagas.open(open_sagas)
            self._is_ready(sender, len(open_sagas))
        else:  # what is accepted before this host has a lease would be anybody's
            self._among.once_joined(lambda: self._is_ready(sender, 0))
        step_actors()

    def _is_ready(self, launcher: Address, open_sagas: int) -> None:
        self._ready = SupervisorReady(os.getpid(), self.registry.pid, open_sagas)
        self.send(launcher, self._ready)

    def _make_parts(self, message: Configuration, hosts: SagaHostPool, journal: JournalAccess) -> None:
        settings = message.settings
        self.environments = Environments(self.now())
        self.processes = ProcessKeeper(self, message, uuid.uuid4().hex[:12], self.environments)
        self.sagas = LiveSagas(self, message, hosts, self.processes, journal, self.environments)
        self.dispatching = Dispatching(self.sagas, self.processes)
        self.clients = Clients(self.now())
        self._among = None if settings.journal is None else self._join_hosts(message, journal)
        self.draining = Draining(self, self.dispatching, self.processes, journal, self._among)
        self.requests = RequestHandler(self, self.sagas, journal, self.clients, self._among)
        self._parked = None if settings.on_parked is None else self._parked_sagas(journal, settings.on_parked)
        self.also_handle(self._all_handlers())
        if self._among is not None:
            self.also_handle(self._among.handlers())

    def _parked_sagas(self, journal: JournalAccess, hook: str | tuple[str, ...]) -> ParkedSagas:
        from antistrophe.actors.supervisor.parked_sagas import ParkedSagas  # a system without a hook needs none of it

        return ParkedSagas(self, self.sagas, journal, hook)

    def _join_hosts(self, base: Configuration, journal: JournalAccess) -> AmongHosts:
        from antistrophe.actors.supervisor.among_hosts import AmongHosts  # a journal in a file is this system's alone

        return AmongHosts(self, base, self.sagas, self.processes, self.dispatching, journal, self.clients)

    # --- called by the process keeper --------------------------------------------------------------------

    def granted(self, grant: ProcessGrant) -> None:
        """A lease was granted."""
        self.sagas.tell(grant.saga_id, grant)

    def refused(self, saga_id: str, reason: str, *, unguarded: bool = False, found: Origin | None = None) -> None:
        """No process can be had for that saga; its code may be ``found`` elsewhere."""
        live = self.sagas.get(saga_id)
        if live is not None:
            live.unguarded = reason if unguarded else None
        self.sagas.tell(saga_id, ProcessRefusal(saga_id, reason, found))

    def died(self, dead: ProcessDead) -> None:
        """An attempt has ended with its process."""
        self.sagas.tell(dead.saga_id, dead)

    # --- what comes in -----------------------------------------------------------------------------------------

    def _answering(self, handler: Handler) -> Handler:
        """Answer with the error where the journal can't be read, or the saga was purged. Nothing is changed then: the
        handler reads first."""

        def handle(message: Any, sender: Address) -> None:
            try:
                handler(message, sender)
            except (JournalError, SagaExistsError, SagaNotFoundError) as error:
                self.send(sender, rejection(message.correlation, error))

        return handle

    def _client_left(self, client_id: str) -> None:
        self.clients.left(client_id)
        self.environments.left(client_id, self.sagas.environments_in_use())
        self.sagas.client_left(client_id)
        if self._among is not None:
            self._among.holders.client_left(client_id)
        self.processes.retire_client(client_id)

    def _on_introduce(self, message: Introduce, sender: Address) -> None:
        self.clients.heard(message.client_id)
        self.environments.introduced(message)
        self.sagas.introduced()
        self.send(sender, Introduced(message.correlation))

    def _on_reload(self, message: ReloadCode, sender: Address) -> None:
        self.send(sender, CodeReloaded(message.correlation, self.processes.reload()))

    def _on_attached_clients(self, message: AttachedClients, _sender: Address) -> None:
        for client_id in self.clients.listed(message.client_ids, message.returning):
            self._client_left(client_id)
        if message.client_ids and self.draining.begun:
            self.draining.end()

    def _on_return(self, message: ReturnProcess, _sender: Address) -> None:
        self.processes.give_back(message.saga_id, message.lease_name, reusable=message.reusable)
        self.sagas.turn_is_over(message.saga_id)
        self.draining.look()

    def _on_ended(self, message: SagaEnded, sender: Address) -> None:
        if message.returned is not None:
            self._on_return(message.returned, sender)
        self.requests.ended(message)
        if self._parked is not None:
            self._parked.ended(message)

    def _on_query(self, query: Any, sender: Address) -> None:
        self.send(self.registry.address, RegistryQuery(query, sender))

    def _on_list_processes(self, message: ListProcesses, sender: Address) -> None:
        mine = [ProcessRecord(os.getpid(), "supervisor"), self.registry.record()]
        among = [] if self._among is None else self._among.records()
        rows = (*mine, *among, *self.sagas.hosts.records(), *self.processes.records())
        self.send(sender, Processes(message.correlation, rows))

    def _on_child_exit(self, message: ChildActorExited, _sender: Address) -> None:
        address = message.childAddress
        if address == self.registry.address:
            self._look_at_registry()
        elif not self.processes.on_exit(address):
            self.sagas.replace_dead_hosts()
        self.draining.look()

    def _look_at_registry(self) -> None:
        if self.registry.look():
            self.sagas.hosts.registry_is(self.registry.address)

    def _on_wakeup(self, message: WakeupMessage, _sender: Address) -> None:
        if message.payload == "tick":
            if self._launcher_is_gone():
                self._end_everything()
            self.wake_in(TICK_S, "tick")
            self._look_at_registry()
            self._introduce_again()
            if self._parked is not None:
                self._parked.look()
        if self._among is not None:
            self._among.look()
        self.processes.look()
        self.sagas.look()
        self.draining.look()

    def _introduce_again(self) -> None:
        """Configure the registry and the hosts again: one that missed its configuration can do nothing else."""
        if self.now() >= self._introduce_at:
            self._introduce_at = self.now() + TELL_AGAIN_S
            self.registry.tell_again()
            self.sagas.hosts.tell_again()

    def _launcher_is_gone(self) -> bool:
        try:
            return self._launcher is not None and not is_alive(self._launcher)
        except OSError:  # no descriptor is free: that can't be seen now
            return False

    def _end_everything(self) -> None:
        """The launcher is dead, so nobody would end the system later. End it now; the journal has everything."""
        assert self.base is not None
        log.error("the launcher has died; the system ends")
        sweep(self.base.home, spare=frozenset({os.getpid()}), deadline_s=SWEEP_S)
        os._exit(1)
