"""The membership actor: it lets a ``HostKeeper`` do what is due, and tells the supervisor what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from math import inf
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.membership.elsewhere import Elsewhere
from antistrophe.actors.membership.settling import Settling
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.errors import JournalError
from antistrophe.hosts import keeper_messages as said
from antistrophe.hosts.description import HostDescription
from antistrophe.hosts.earlier_life import lease_of_run, leases_of_earlier_life, note_lease
from antistrophe.hosts.home_mark import read_home_mark, write_home_mark
from antistrophe.hosts.keeper import HostKeeper, KeeperTerms
from antistrophe.hosts.retained import Retained
from antistrophe.hosts.stored_hosts import open_for_host
from antistrophe.hosts.stored_orders import StoredOrders
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.journal.saga_owner import Ownership
from antistrophe.linux.dead_man import boot_time
from antistrophe.linux.process import identity_of
from antistrophe.messages import (
    Address,
    AttemptsDead,
    AwaitElsewhere,
    Done,
    HandOver,
    HostLoad,
    JoinHosts,
    LeaseConfirmed,
    LeaseEnded,
    LeaseRefused,
    MoveSaga,
    Rejected,
    SagaOrder,
    SagasClaimed,
    SagaTaken,
    SettlePermits,
    StopWaiting,
)
from antistrophe.settings import Settings
from antistrophe.storage.postgres_database import PostgresDatabase

LOOK_S = 0.2
"""How often it is looked whether a saga elsewhere has ended, while somebody here waits for it."""

ORDERS_S = 0.4
"""How often it is looked for orders of other hosts."""

_REST = 4
"""After a look for ends this actor has so many times as long for all else."""

_PATIENCE_S = 0.5
"""How long a question about a saga waits for locks of others."""


class MembershipActor(RuntimeActor):
    """Keeps the lease. ``_due``: when the keeper's next turn is, by CLOCK_BOOTTIME."""

    role = "membership"

    def __init__(self) -> None:
        super().__init__()
        self.die_with_parent()
        self._supervisor: Address = None
        self._due = 0.0
        self._woken_at = 0.0

    def handlers(self) -> Mapping[type, Handler]:
        return {JoinHosts: self._on_join}

    def _on_join(self, message: JoinHosts, sender: Address) -> None:
        if self.base is not None:
            return
        self.configure(message.base)
        self._supervisor = sender
        self._run = _run_of(message.base.launcher_pid)
        settings = message.base.settings
        assert settings.journal is not None, "only a host of a shared journal has a membership actor"
        self._url = settings.journal
        self._lease_s = settings.lease_s
        self._host_id = message.registration
        self._elsewhere: Elsewhere | None = None
        self._opened: PostgresDatabase | None = None
        self._settling = Settling(lambda: StoredPermits(self._database()), self.now)
        self._seen = read_home_mark(message.base.home)
        terms = _terms(settings)
        if message.registration:
            terms = replace(terms, held=_held(message, terms), seen=self._seen)
        else:
            ended = tuple(leases_of_earlier_life(message.base.home))
            terms = replace(terms, ended=ended, follows=lease_of_run(message.base.home, self._run), seen=self._seen)
        self._keeper = HostKeeper(terms, lambda: open_for_host(self._url, self._lease_s), self._on_report)
        self.also_handle(
            {
                HostLoad: self._on_load,
                AttemptsDead: self._on_dead,
                HandOver: lambda _, __: self._obey(said.HandOver()),
                AwaitElsewhere: self._on_await,
                StopWaiting: self._on_stop_waiting,
                SagaOrder: self._on_order,
                MoveSaga: self._on_move,
                SettlePermits: self._on_settle,
                Done: self._on_answer,
                Rejected: self._on_answer,
                WakeupMessage: lambda _, __: self._turn(),
            }
        )
        self._orders_at = self._ends_at = 0.0
        self._turn()

    # --- the keeper ------------------------------------------------------------------------------------------------

    def _obey(self, order: Any) -> None:
        self._keeper.obey(order)
        self._turn()

    def _turn(self) -> None:
        """Do what is due: the lease first, then what concerns others."""
        self._due = self._keeper.turn()
        if self._host_id:
            self._look_elsewhere()
            self._due = min(self._due, self._orders_at, self._ends_at)
        self._wake()

    def _wake(self) -> None:
        now = boot_time()
        if self._due < inf and not now < self._woken_at <= self._due:
            self._woken_at = max(self._due, now + 0.005)
            self.wake_in(self._woken_at - now)

    def _remember(self) -> None:
        """Have the home remember what was seen of the database."""
        assert self.base is not None
        if self._keeper.seen != self._seen:
            self._seen = self._keeper.seen
            try:
                write_home_mark(self.base.home, self._seen)
            except OSError as error:  # a restore may not be noticed then
                log.debug("the mark of the database can't be noted: %s", error)

    def _on_report(self, report: said.Report) -> None:
        self._remember()
        supervisor = self._supervisor
        match report:
            case said.Registered(host, lease_s, sent_at):
                self._note(host)
                self._host_id = host
                self.send(supervisor, LeaseConfirmed(host, sent_at, lease_s))
            case said.Confirmed(host, sent_at, draining):
                lease_s = self._keeper.lease_s
                self.send(supervisor, LeaseConfirmed(host, sent_at, lease_s, draining=draining))
            case said.Refused(host) | said.Fenced(host):
                self.send(supervisor, LeaseRefused(host, refused=isinstance(report, said.Refused)))
            case said.Claimed(_, sagas):
                self.send(supervisor, SagasClaimed(tuple(each.saga_id for each in sagas)))
            case said.Moved(saga_id, moved) if moved:
                self.send(supervisor, SagaTaken(saga_id))
            case said.HandedOver(host):
                self.send(supervisor, LeaseEnded(host))
            case said.Trouble(why) if why is not None:
                log.error("this host can't renew its lease: %s", why)
            case said.Trouble():
                log.warning("this host can renew its lease again")
            case said.HostsSeen(hosts):
                log.info("the other hosts of this journal: %s", ", ".join(hosts) or "none")

    def _note(self, host_id: str) -> None:
        """Note the lease before anything runs under it."""
        assert self.base is not None
        try:
            note_lease(self.base.home, host_id, self._run)
        except OSError as error:
            log.error("%s can't be noted in the home (%s): after a crash its sagas wait for its end", host_id, error)

    def _on_dead(self, message: AttemptsDead, _sender: Address) -> None:
        if message.registration == self._keeper.host_id:  # else a later lease is meant by now
            self._keeper.obey(said.Fence())
            self._obey(said.AllDead())

    def _on_load(self, message: HostLoad, _sender: Address) -> None:
        self._obey(said.SetLoad(message.attempts, message.room, message.heard))

    # --- what concerns others --------------------------------------------------------------------------------------

    def _look_elsewhere(self) -> None:
        now = boot_time()
        try:
            if now >= self._orders_at:
                self._orders_at = now + ORDERS_S
                self._others().take_orders(self._host_id)
            if now >= self._ends_at:
                others = self._others()
                self._ends_at = now + (LOOK_S if others.waits else 3600.0)
                others.look_for_ends()
                others.look_for_answers()
                took_s = boot_time() - now
                self._ends_at = max(self._ends_at, now + (1 + _REST) * took_s)
        except JournalError as error:
            log.debug("what concerns other hosts waits: %s", error)

    def _others(self) -> Elsewhere:
        if self._elsewhere is None:
            assert self.base is not None
            self._elsewhere = Elsewhere(
                JournalAccess(self.base, _PATIENCE_S),
                StoredOrders(self._database()),
                self.send,
                lambda message: self.send(self._supervisor, message),
                self.now,
            )
        return self._elsewhere

    def _database(self) -> PostgresDatabase:
        """A connection beside the keeper's."""
        if self._opened is None:
            self._opened = open_for_host(self._url, self._lease_s)
        return self._opened

    def _on_settle(self, message: SettlePermits, _sender: Address) -> None:
        if message.registration == self._host_id and (answer := self._settling.answer(message)) is not None:
            self.send(self._supervisor, answer)

    def _on_await(self, message: AwaitElsewhere, _sender: Address) -> None:
        self._with_others(lambda others: others.await_end(message))

    def _on_stop_waiting(self, message: StopWaiting, _sender: Address) -> None:
        self._with_others(lambda others: others.stop_waiting(message))

    def _on_order(self, message: SagaOrder, _sender: Address) -> None:
        self._keeper.obey(said.ClaimOne(message.saga_id))  # where no host holds it, it is this one's
        self._with_others(lambda others: others.order(message))

    def _on_move(self, message: MoveSaga, _sender: Address) -> None:
        self._with_others(lambda others: self._move(message.saga_id, others.owned_here(message.saga_id, self._host_id)))

    def _move(self, saga_id: str, owned: Ownership | None) -> None:
        if owned is not None:
            self._keeper.obey(said.MoveOn(saga_id, owned.token, owned.seq))

    def _on_answer(self, message: Done | Rejected, _sender: Address) -> None:
        self._with_others(lambda others: others.answered(message))

    def _with_others(self, do: Any) -> None:
        try:
            do(self._others())
        except JournalError as error:  # who asked asks again
            log.warning("a request that concerns another host waits: %s", error)
        self._ends_at = 0.0
        self._turn()


def _run_of(launcher_pid: int) -> str:
    """The name of the run of the system that this launcher keeps up."""
    launcher = identity_of(launcher_pid)
    return "" if launcher is None else f"{launcher.pid}/{launcher.start_ticks}"


def _terms(settings: Settings) -> KeeperTerms:
    return KeeperTerms(
        settings.host,
        settings.labels,
        version("antistrophe"),
        settings.lease_s,
        settings.steal_s,
        retained=Retained.of(settings),
    )


def _held(message: JoinHosts, terms: KeeperTerms) -> tuple[HostDescription, float]:
    """The lease that an earlier membership actor of the same supervisor has kept."""
    host = HostDescription(message.registration, terms.name, frozenset(terms.labels), terms.release, terms.lease_s)
    return host, message.confirmed_at
