"""The live sagas: which of them wait, sleep or have an actor, and which get another actor."""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Collection, Iterable, KeysView
from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.saga.open_sagas import OpenSaga
from antistrophe.actors.supervisor.asked_processes import AskedProcesses
from antistrophe.actors.supervisor.environments import Environments
from antistrophe.actors.supervisor.left_to_others import LeftToOthers
from antistrophe.actors.supervisor.live_saga import TELL_AGAIN_MAX_S, TELL_AGAIN_S, LiveSaga
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.saga_host_pool import START_AGAIN_S, HostProcess, SagaHostPool
from antistrophe.actors.supervisor.taken_sagas import TakenSagas
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import JournalError
from antistrophe.messages import (
    AdoptProcess,
    BeginSaga,
    Configuration,
    ProcessGrant,
    Rejected,
    RequestLease,
    ResumeSaga,
    SagaSleeps,
)
from antistrophe.records import SagaStatus
from antistrophe.scheduling.admission import Admission, AdmissionRank, rank_of
from antistrophe.scheduling.alarms import Alarms, AskedWakeups
from antistrophe.scheduling.restart_intensity import RestartIntensity


class LiveSagas:
    """Every live saga, by id."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        base: Configuration,
        hosts: SagaHostPool,
        processes: ProcessKeeper,
        journal: JournalAccess,
        environments: Environments,
    ) -> None:
        self._supervisor = supervisor
        self._requests = AskedProcesses(supervisor, processes, environments)
        self._settings = base.settings
        self.hosts = hosts
        self._processes = processes
        self._journal = journal
        self.admission = Admission(base.settings.max_running_sagas, beside=base.settings.max_running_sagas)
        self._sagas: dict[str, LiveSaga] = {}
        self._alarms = Alarms()
        self._wakeups = AskedWakeups()
        self._to_tell_again: list[tuple[float, str, int]] = []
        self._halted = ""
        self.left = LeftToOthers(self._sagas, processes, self.admission)
        self.taken = TakenSagas(self._sagas, processes.lease_of, journal.ownership)

    # --- coming and going --------------------------------------------------------------------------------------

    def full(self, spec: SagaSpec) -> str | None:
        """Why a new saga would have to wait, or None."""
        why = f"its turn: {self._halted}" if self._halted else self.left.why
        return why or self.admission.full(rank_of(spec))

    def get(self, saga_id: str) -> LiveSaga | None:
        """The live saga of that id, or None."""
        return self._sagas.get(saga_id)

    @property
    def ids(self) -> KeysView[str]:
        """The ids of all live sagas."""
        return self._sagas.keys()

    @property
    def all(self) -> Collection[LiveSaga]:
        """All live sagas."""
        return self._sagas.values()

    @property
    def room(self) -> int:
        """How many more sagas may run."""
        return 0 if self._halted or self.left.drains else self.admission.room

    def open(self, sagas: Iterable[OpenSaga]) -> None:
        """Take in the sagas that were open when this incarnation began."""
        for saga in sagas:
            live = self.add(saga.id, saga.rank, saga.request_id, client_id="")
            live.urgent = saga.compensating
            self.enqueue(live)
        self._spawn_due()

    def add(self, saga_id: str, rank: AdmissionRank, request_id: str, client_id: str) -> LiveSaga:
        """A saga is live from now on."""
        restarts = RestartIntensity(self._settings.max_restarts, self._settings.restart_window_s)
        live = LiveSaga(saga_id, {request_id}, client_id, rank, restarts)
        self._sagas[saga_id] = live
        return live

    def begin(self, live: LiveSaga, message: BeginSaga) -> None:
        """Run a new saga now, with a step process where one is free."""
        live.begin = message
        self.admission.admit(live.id, live.rank)
        asked = self._requests.of_new(live, message.spec) if message.spec.steps else True
        self._spawn(live, new=asked)

    def client_left(self, client_id: str) -> None:
        """The waits of that client go with it."""
        for live in self._sagas.values():
            live.drop_waiters(client_id)

    def enqueue(self, live: LiveSaga) -> None:
        """Have an accepted saga wait until it is admitted."""
        if not self.left.holds_back(live):
            self.admission.enqueue(live.id, live.rank, urgent=live.urgent)

    def remove(self, saga_id: str) -> LiveSaga | None:
        """The saga is final or parked (or was never accepted)."""
        self._processes.forget(saga_id)
        self.turn_is_over(saga_id)
        self.admission.left(saga_id)
        self._alarms.remove(saga_id)
        live = self._sagas.pop(saga_id, None)
        if live is not None:
            self._take_from_host(live)
        self._spawn_due()
        return live

    def sleeps(self, message: SagaSleeps) -> None:
        """The saga's actor leaves until it is due again."""
        live = self._sagas.get(message.saga_id)
        if live is None:
            return
        self._processes.forget(live.id)
        self.turn_is_over(live.id)
        self._take_from_host(live)
        live.begin, live.grant = None, None
        live.urgent = message.urgent
        until = message.until
        if until is None:
            until = self._supervisor.now() + live.unloadable_wait_s()
            for to in live.take_refused():
                self._supervisor.send(to.address, Rejected(to.correlation, "SystemStateError", live.why_refused))
        else:
            live.refusals = 0
        self._leave(live, for_long=message.until is None)
        self._set_alarm(live, until)
        if live.orders:
            self.wake(live)
        self._spawn_due()

    def try_again(self, live: LiveSaga) -> None:
        """The code of a saga may have been changed."""
        if live.unguarded is not None and live.host is None:
            live.unguarded = None
            self._set_alarm(live, self._supervisor.now())

    def wake(self, live: LiveSaga) -> None:
        """Give a saga that sleeps or waits its actor now, because there is an order for it."""
        if live.host is None and not self._halted:
            self.left.forget(live.id)
            self._alarms.remove(live.id)
            self.admission.admit(live.id, live.rank)
            self._spawn(live)

    def drain(self, why: str) -> None:
        """Start nothing more; ``why`` is shown with the sagas that are accepted meanwhile."""
        self._halted = why
        self.hosts.drain()

    def go_on(self) -> None:
        """Start what is to start, again."""
        self._halted = ""
        self.hosts.go_on()
        for live in list(self._sagas.values()):
            if live.orders:
                self.wake(live)
        self._spawn_due()

    # --- actors ------------------------------------------------------------------------------------------------

    def _spawn_due(self) -> None:
        if self._halted:
            return
        for saga_id in self.admission.due():
            if (live := self._sagas.get(saga_id)) is None:
                self.admission.left(saga_id)
            elif live.host is None:
                self._alarms.remove(live.id)
                self._spawn(live)

    def _spawn(self, live: LiveSaga, *, new: bool = False) -> None:
        host = self.hosts.place(live.id)
        if host is None:
            self.admission.left(live.id)
            self._set_alarm(live, self._supervisor.now() + START_AGAIN_S)
            return
        live.host = host
        live.tell_again_s = TELL_AGAIN_S
        live.actors += 1
        live.waiters |= live.late
        live.late.clear()
        self._tell_first(live, host, new=new)

    def _tell_first(self, live: LiveSaga, host: HostProcess, *, new: bool = False) -> None:
        """Tell an actor which saga it is for. An actor that was told before ignores it."""
        heapq.heappush(self._to_tell_again, (self._supervisor.now() + live.tell_again_s, live.id, live.actors))
        waiters, orders = tuple(live.waiters.values()), tuple(live.orders)
        begin = live.begin
        try:
            known = begin is None or (not new and self._journal.knows(live.id))
        except JournalError:  # nobody can say, so it is told later
            return
        if begin is not None and not known:
            asked = new and live.grant is None
            first = BeginSaga(begin.request_id, begin.spec, live.grant, begin.acknowledge, waiters, asked=asked)
            self._supervisor.send(host.address, first)
        else:
            self._supervisor.send(host.address, ResumeSaga(live.id, waiters, orders))
            live.orders.clear()
        live.grant = None

    def tell(self, saga_id: str, message: Any) -> None:
        """Hand a message to the saga's actor. Where there is no actor yet, a grant is kept for it; anything else is
        asked for again."""
        live = self._sagas.get(saga_id)
        if live is None:
            if isinstance(message, ProcessGrant):
                self._processes.forget(saga_id)
        elif live.host is not None:
            self._supervisor.send(live.host.address, message)
        elif isinstance(message, ProcessGrant):
            live.grant = message

    def ask_process(self, message: RequestLease) -> None:
        """A saga wants a step process."""
        live = self._sagas.get(message.saga_id)
        if live is not None and live.host is not None and live.id not in self.left:
            self._take_orphan(live)
            self._requests.ask(live, message)

    def turn_is_over(self, saga_id: str) -> None:
        """That saga needs no lease for now. Where it was the suspect whose turn it was, it is the turn of the next."""
        if (next_one := self._requests.turn_is_over(saga_id)) is not None:
            self.ask_process(next_one)

    def introduced(self) -> None:
        """An application has said who it is, or none will: serve the sagas that have waited for that."""
        for live in self._sagas.values():
            self.try_again(live)
        for message in self._requests.introduced():
            self.ask_process(message)
        for live in self._sagas.values():
            if live.refusals and self._alarms.get(live.id) is not None:  # it may have brought the code
                self._set_alarm(live, self._supervisor.now())

    def environments_in_use(self) -> Iterable[str]:
        """The digests of the environments that sagas have had."""
        return (live.environment for live in self._sagas.values() if live.environment)

    def adopt_process(self, message: AdoptProcess) -> None:
        """A saga asks what became of a lease that it held."""
        live = self._sagas.get(message.saga_id)
        if live is not None and live.orphan == message.lease.name:
            live.orphan = None
        self._processes.attempts.adopt(message.saga_id, message.lease)

    def _take_orphan(self, live: LiveSaga) -> None:
        """Return the lease that the saga's last actor held. No attempt of the journal runs there, or the new actor
        would have adopted it."""
        if live.orphan is not None:
            self._processes.give_back(live.id, live.orphan, reusable=False)
            live.orphan = None

    def actor_failed(self, saga_id: str) -> None:
        """The saga needs another actor."""
        live = self._sagas.get(saga_id)
        if live is None or live.host is None:
            return
        log.error("saga %s has lost its actor", live.id, extra={"saga_id": live.id})
        self._take_from_host(live)
        live.grant = None
        self._processes.withdraw(live.id)
        live.orphan = self._processes.lease_of(live.id)
        delay_s = live.restarts.delay_s(self._supervisor.now())
        if delay_s == 0.0 and not self._halted:
            self._spawn(live)
        else:
            with contextlib.suppress(JournalError):  # then it is as urgent as it was
                live.urgent = self._journal.status(live.id) is SagaStatus.COMPENSATING
            self._leave(live)
            self._set_alarm(live, self._supervisor.now() + delay_s)

    def replace_dead_hosts(self) -> None:
        """Give another actor to the sagas whose host has died."""
        for host in self.hosts.replace_dead():
            for saga_id in sorted(host.saga_ids):
                self.actor_failed(saga_id)

    def _take_from_host(self, live: LiveSaga) -> None:
        if live.host is not None:
            live.host.saga_ids.discard(live.id)
            live.host = None

    def look(self) -> None:
        """Wake the sagas that are due, and replace hosts whose death was not reported."""
        now = self._supervisor.now()
        self.replace_dead_hosts()
        if self._requests.may_go_on:
            self.introduced()
        while (saga_id := self._alarms.take_due(now)) is not None:
            live = self._sagas.get(saga_id)
            if live is not None and live.host is None:
                self.enqueue(live)
        self._set_wakeup()
        self._spawn_due()
        while not self._halted and self._to_tell_again and self._to_tell_again[0][0] <= now:
            _, saga_id, actors = heapq.heappop(self._to_tell_again)
            live = self._sagas.get(saga_id)
            if live is not None and live.host is not None and live.actors == actors:
                live.tell_again_s = min(2.0 * live.tell_again_s, TELL_AGAIN_MAX_S)
                self._tell_first(live, live.host)

    def _leave(self, live: LiveSaga, *, for_long: bool = False) -> None:
        """The saga gives its place to others; one that compensates keeps its place among those of its name, or one of
        them that goes forward would keep its next attempt waiting."""
        if live.urgent and live.rank.max_concurrent is not None and not for_long:
            self.admission.rests(live.id)
        else:
            self.admission.left(live.id)

    def _set_alarm(self, live: LiveSaga, until: float) -> None:
        self._alarms.set(live.id, until)
        self._set_wakeup()

    def _set_wakeup(self) -> None:
        first, now = self._alarms.next_at, self._supervisor.now()
        if first is not None and self._wakeups.lacks(first, now):
            self._supervisor.wake_in(first - now)
