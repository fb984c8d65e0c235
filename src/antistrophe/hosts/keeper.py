"""Keeps the lease of a host: renews it, watches the others, and claims sagas.

It runs in a process of its own, the membership actor's, because a database that does not answer may hold up every call
for a while, and because the supervisor forks and so can't have threads. Where that process ends the lease is left to
lapse, for only the supervisor knows that all attempts are dead.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from antistrophe.errors import CommitUnknownError, JournalError
from antistrophe.hosts.description import HostDescription, HostLoad, new_description
from antistrophe.hosts.home_mark import NO_MARK, HomeMark
from antistrophe.hosts.keeper_messages import (
    AllDead,
    Claimed,
    ClaimOne,
    Confirmed,
    Fence,
    Fenced,
    HandedOver,
    HandOver,
    HostsSeen,
    Moved,
    MoveOn,
    NotClaimed,
    Order,
    Refused,
    Registered,
    Report,
    SetLoad,
    Trouble,
)
from antistrophe.hosts.lease import HostLease, LeasePhase, LeaseWatch
from antistrophe.hosts.ownership import ClaimedSaga, Owners
from antistrophe.hosts.retained import ALL, Retained
from antistrophe.hosts.stored_claims import StoredClaims
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.hosts.stored_permits import StoredPermits
from antistrophe.hosts.stored_restores import PutBackError, StoredRestores
from antistrophe.linux.dead_man import boot_time
from antistrophe.storage.postgres_database import PostgresDatabase

POLL_S = 0.4
"""How often the keeper looks at the other hosts and for free sagas, and tries again what has failed."""

_AT_ONCE = 200
_END = object()
_FORGET_EVERY_S, _FORGET_AFTER_S = 600.0, 86_400.0


@dataclass(frozen=True, slots=True)
class KeeperTerms:
    """What a keeper is told once. ``ended``: earlier registrations of this home, all of whose attempts were seen dead.
    ``held``: a lease that another keeper of this run has kept, and when its last confirmed renewal was sent.
    ``follows``: the lease that this run of the system has held last, where that is over. ``seen``: what the home
    remembers of the database."""

    name: str
    labels: tuple[str, ...]
    release: str
    lease_s: float
    steal_s: float
    ended: tuple[str, ...] = ()
    held: tuple[HostDescription, float] | None = None
    follows: str = ""
    retained: Retained = ALL
    seen: HomeMark = NO_MARK


class HostKeeper:
    """One host's part in the cluster. ``turn`` does what is due, and ``obey`` what the supervisor says.

    ``open_database`` opens a connection whose calls are bounded in time; the keeper calls it again until it succeeds.
    """

    def __init__(
        self,
        terms: KeeperTerms,
        open_database: Callable[[], PostgresDatabase],
        report: Callable[[Report], None],
        clock: Callable[[], float] = boot_time,
    ) -> None:
        self.done = False
        self._terms = terms
        self._open_database = open_database
        self._report = report
        self._clock = clock
        self._database: PostgresDatabase | None = None
        self._host = self._new()
        self._follows = terms.follows
        self.seen = terms.seen
        self._lease: HostLease | None = None
        self._fenced = self._handing_over = self._untold = self._told_full = False
        self._renew_at = self._look_at = self._forget_at = -math.inf
        self._to_end = list(terms.ended)
        self._to_do: list[MoveOn | ClaimOne] = []
        self._attempts = self._room = self._claimed = self._heard = 0
        self._watch = LeaseWatch()
        self._steps: Iterator[None] | None = None
        self._seen: tuple[str, ...] = ()
        self._trouble: bool | None = None
        if terms.held is not None:
            self._host, confirmed_at = terms.held
            self._lease = HostLease(self._host.lease_s, confirmed_at)
            self._untold = True

    @property
    def host_id(self) -> str:
        """The id of the present registration."""
        return self._host.id

    @property
    def lease_s(self) -> float:
        """How long its lease lasts without a renewal."""
        return self._host.lease_s

    # --- what the supervisor says -----------------------------------------------------------------------------------

    def obey(self, order: Order) -> None:
        """Take note of an order. The next turn, which is due at once, carries it out."""
        match order:
            case SetLoad():
                self._attempts, self._room, self._heard = order.attempts, order.room, order.heard
                if self._is_full != self._told_full:
                    self._renew_at = -math.inf
            case Fence():
                self._fenced = self._lease is not None
            case AllDead():
                self._start_anew()
            case HandOver():
                self._handing_over = True
            case MoveOn() | ClaimOne():
                self._to_do.append(order)
                self._look_at = -math.inf

    def _start_anew(self) -> None:
        if self._fenced:
            self._to_end.append(self._host.id)
            self._follows = self._host.id
            self._host, self._lease = self._new(), None
            self._fenced = self._untold = False
            self._steps = None
            self._to_do.clear()
            self._renew_at = -math.inf

    # --- what is due ------------------------------------------------------------------------------------------------

    def turn(self) -> float:
        """Do what is due now. Returns when the next turn is due, if nothing is heard before (CLOCK_BOOTTIME)."""
        begun = self._clock()
        try:
            self._do_what_is_due()
        except JournalError as error:
            self._steps = None
            self._say_trouble(error)
            again_at = self._clock() + POLL_S
            self._look_at = max(self._look_at, again_at)
            if self._renew_at <= begun:
                self._renew_at = again_at
        return self._next_turn()

    def _next_turn(self) -> float:
        if self.done or (self._fenced and not self._handing_over):
            return math.inf
        if self._handing_over:
            return self._look_at
        if self._lease is None:
            return self._renew_at
        if self._steps is not None:
            return -math.inf
        return min(self._renew_at, self._look_at, self._lease.fenced_from)

    def _do_what_is_due(self) -> None:
        if self.done:
            return
        if self._handing_over:
            self._hand_over()
        elif self._lease is None:
            self._register()
        elif not self._fenced:
            self._hold(self._lease)

    def _hold(self, lease: HostLease) -> None:
        now = self._clock()
        if lease.phase(now) is not LeasePhase.VALID:
            self._fenced = True
            self._report(Fenced(self._host.id))
            return
        if now >= self._renew_at:
            self._renew(lease, now)
        if self._steps is None and now >= self._look_at:
            self._steps = self._look()
        # One step a turn, each a call or a few: however slow the database is, a renewal that is due comes in between.
        if not self._fenced and self._steps is not None and next(self._steps, _END) is _END:
            self._steps = None

    def _register(self) -> None:
        hosts = StoredHosts(self._opened())
        known = StoredRestores(self._opened()).known(self.seen)
        self._end(hosts)
        sent_at, load = self._clock(), self._load()
        if hosts.register(self._host, load, follows=self._follows) is None:
            self._follows, self._host = self._host.id, self._new()
            raise JournalError("the lease of this host ended before its registration was answered: it registers again")
        self.seen = known
        self._lease = HostLease(self._host.lease_s, sent_at)
        self._told_full, self._renew_at, self._look_at = load.is_full, self._lease.next_renewal, -math.inf
        self._say_trouble(None)
        self._report(Registered(self._host.id, self._host.lease_s, sent_at))

    def _renew(self, lease: HostLease, now: float) -> None:
        lease.sent(now)
        load = self._load()
        renewed = StoredHosts(self._opened()).renew(self._host.id, load, self.seen.home)
        self._told_full, self._renew_at = load.is_full, lease.next_renewal
        self._say_trouble(None)
        if renewed is not None and self.seen.home and renewed.mark <= self.seen.mark:
            # The database is of an earlier state. What was granted now must not make it look like a later one.
            self.seen, renewed = replace(self.seen, mark=self.seen.mark + 1), None
            StoredRestores(self._opened()).begin(f"host {self._host.name}")  # others may have seen less of it
        if renewed is None:
            self._refused()
        else:
            self.seen = replace(self.seen, mark=renewed.mark)
            lease.confirm(now, self._clock())
            self._report(Confirmed(self._host.id, now, renewed.draining))

    def _refused(self) -> None:
        self._fenced = True
        self._report(Refused(self._host.id))

    def _hand_over(self) -> None:
        hosts = StoredHosts(self._opened())
        self._end(hosts)
        if self._lease is not None:
            hosts.hand_over(self._host.id)
        self.done = True
        self._report(HandedOver(self._host.id))

    def _end(self, hosts: StoredHosts) -> None:
        while self._to_end:
            hosts.hand_over(self._to_end[0])
            del self._to_end[0]

    # --- the others, and their sagas --------------------------------------------------------------------------------

    def _look(self) -> Iterator[None]:
        hosts = StoredHosts(self._opened())
        asked_at = self._clock()
        look = hosts.look()
        if look.put_back:
            self._refused()
            return
        others = [each for each in look.leases if each.host != self._host.id]
        lapsed = self._watch.looked(others, look.server, asked_at, self._clock())
        self._look_at = min(self._clock() + POLL_S, self._watch.next_lapse)
        self._say_trouble(None)
        self._say_hosts(tuple(sorted(each.host for each in others)))
        ended = []
        for lease in lapsed:
            yield
            if hosts.end_lapsed(lease, self._host.id):
                ended.append(lease.host)
        owners = replace(look.owners, free=(*look.owners.free, *ended))
        yield
        yield from self._work_on_sagas(StoredClaims(self._opened(), self._host.id, self._host.labels), owners)
        if self._clock() >= self._forget_at:
            yield
            hosts.forget(_FORGET_AFTER_S)
            yield
            StoredPermits(self._opened()).forget()
            self._forget_at = self._clock() + _FORGET_EVERY_S

    def _work_on_sagas(self, claims: StoredClaims, owners: Owners) -> Iterator[None]:
        try:
            if self._untold:
                self._tell(claims.owned())
                self._untold = False
                yield
            while self._to_do:
                self._do(self._to_do[0], claims)
                del self._to_do[0]
                yield
            yield from self._take(claims, owners)
        except CommitUnknownError:
            self._untold = True  # what was claimed is looked for when the database is back
            raise

    def _do(self, order: MoveOn | ClaimOne, claims: StoredClaims) -> None:
        if isinstance(order, MoveOn):
            self._report(Moved(order.saga_id, claims.move_on(order.saga_id, order.token, order.seq, order.needs)))
        elif (claimed := claims.claim_one(order.saga_id)) is not None:
            self._tell([claimed])
        else:
            self._report(NotClaimed(order.saga_id))

    def _take(self, claims: StoredClaims, owners: Owners) -> Iterator[None]:
        if owners.have_free and not self._is_full:
            self._tell(claims.claim(owners, min(self._free_room, _AT_ONCE)))
            yield
        if owners.full and not self._is_full:
            self._tell(claims.steal(owners, min(self._free_room, _AT_ONCE), self._terms.steal_s))

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _free_room(self) -> int:
        return self._room - (self._claimed - self._heard)

    @property
    def _is_full(self) -> bool:
        return self._free_room <= 0

    def _load(self) -> HostLoad:
        return HostLoad(self._attempts, self._is_full)

    def _new(self) -> HostDescription:
        terms = self._terms
        return new_description(terms.name, terms.labels, terms.release, terms.lease_s, terms.retained)

    def _opened(self) -> PostgresDatabase:
        if self._database is None:
            self._database = self._open_database()
        return self._database

    def _tell(self, sagas: Sequence[ClaimedSaga]) -> None:
        self._claimed += len(sagas)
        for start in range(0, len(sagas), _AT_ONCE):
            self._report(Claimed(self._host.id, tuple(sagas[start : start + _AT_ONCE])))

    def _say_trouble(self, why: JournalError | None) -> None:
        kind = None if why is None else isinstance(why, PutBackError)
        if kind is not self._trouble:
            self._report(Trouble(None if why is None else str(why)))
        self._trouble = kind

    def _say_hosts(self, hosts: tuple[str, ...]) -> None:
        if hosts != self._seen:
            self._seen = hosts
            self._report(HostsSeen(hosts))

    def close(self) -> None:
        """Close the connection. The lease goes on until it lapses."""
        if self._database is not None:
            self._database.close()
