"""When a host may work, and when another host may take its sagas: rules of time without a clock.

Every moment is an argument, in seconds of CLOCK_BOOTTIME of the host that asks: two hosts never compare their clocks.

::

    the holder, counted from when the last confirmed renewal was sent, in parts of lease_s:
    0         0.2 ...   0.6                 0.75           0.85             0.9              1.0
    renewal   renewals  fenced: starts no   kills what     the kernel kills  all are seen     another may
    is sent   are due   attempt, ends all   is left        this process      dead             take over

    the taker:          first look at the counter ───────── lease_s ─────────► a look sees the same counter

The taker's first look is not earlier than the renewal was sent, so ``lease_s`` after it the holder is past 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

RENEW_EVERY = 0.2
FENCED_FROM = 0.6
GRACE_PART = 0.15
SWITCH_AT = 0.85
DEAD_BY = 0.9


class LeasePhase(Enum):
    """What a host has to do about its attempts."""

    VALID = "valid"
    """They run, and more may start."""
    FENCED = "fenced"
    """None may start, and those that run are told to end (SIGTERM)."""
    KILLING = "killing"
    """The grace is over: those that run are killed (SIGKILL)."""
    OVER = "over"
    """All were seen dead. The host may register anew, and claim what nobody else has taken."""


class HostLease:
    """The lease of one registration, for the host that holds it.

    It begins with the registration, which counts as a renewal that was confirmed. Once fenced it never gets valid
    again: a confirmation that comes later changes nothing, and the host comes back with a new registration, which is a
    new ``HostLease``.
    """

    def __init__(self, lease_s: float, sent_at: float) -> None:
        if not (math.isfinite(lease_s) and lease_s > 0):
            raise ValueError(f"lease_s has to be a number of seconds above 0, not {lease_s!r}")
        self.lease_s = lease_s
        self._sent_at = sent_at
        self._confirmed = sent_at
        self._fenced_at: float | None = None
        self._refused = False
        self._all_dead = False

    # --- renewals ----------------------------------------------------------------------------------------------

    @property
    def next_renewal(self) -> float:
        """When the next renewal is to be sent."""
        return self._sent_at + RENEW_EVERY * self.lease_s

    @property
    def confirmed(self) -> float:
        """When the newest of the renewals was sent that the database has confirmed."""
        return self._confirmed

    def sent(self, now: float) -> None:
        """A renewal is sent now."""
        self._sent_at = max(self._sent_at, now)

    def confirm(self, sent_at: float, now: float) -> bool:
        """The database has confirmed, now, the renewal that was sent then. Returns whether that makes the lease last
        longer: an older one than is known does not, and neither does any one once the host is fenced."""
        if sent_at > now:
            raise ValueError(f"a renewal that is sent at {sent_at:.3f} can't be confirmed before, at {now:.3f}")
        if self._fenced_at is not None or sent_at <= self._confirmed:
            return False
        self._confirmed = sent_at
        return self.phase(now) is LeasePhase.VALID

    def refuse(self, now: float) -> None:
        """The database has refused a renewal: another host has taken the lease, and may work on the sagas by now."""
        self._refused = True
        self.fence(now)

    def fence(self, now: float) -> None:
        """The host gives its lease up, now: its keeper says so, or something else is wrong with it."""
        if self._fenced_at is None:
            self._fenced_at = now

    # --- what follows ------------------------------------------------------------------------------------------

    def phase(self, now: float) -> LeasePhase:
        """What the host has to do at this moment. The first look from ``fenced_from`` on fences it for good."""
        if self._all_dead:
            return LeasePhase.OVER
        if self._fenced_at is None:
            if now < self.fenced_from:
                return LeasePhase.VALID
            self.fence(now)
        return LeasePhase.FENCED if now < self.kill_at(math.inf) else LeasePhase.KILLING

    @property
    def fenced_from(self) -> float:
        """From when on no attempt may run, if no later renewal is confirmed before."""
        return self._confirmed + FENCED_FROM * self.lease_s

    def grace_s(self, kill_grace_s: float) -> float:
        """How long an attempt with that grace of its own may take to end, once the host is fenced."""
        return 0.0 if self._refused else min(kill_grace_s, GRACE_PART * self.lease_s)

    def kill_at(self, kill_grace_s: float) -> float:
        """When an attempt with that grace is killed. A host that looks late gives less grace, or none."""
        fenced_at = self.fenced_from if self._fenced_at is None else self._fenced_at
        return min(fenced_at, self.fenced_from) + self.grace_s(kill_grace_s)

    @property
    def switch_at(self) -> float:
        """For when to arm the dead man's switch: by then the kernel has killed whoever could not do it himself."""
        return self._confirmed + SWITCH_AT * self.lease_s

    @property
    def dead_by(self) -> float:
        """By when every attempt has to be seen dead."""
        return self._confirmed + DEAD_BY * self.lease_s

    @property
    def ends_at(self) -> float:
        """From when on another host may take the sagas."""
        return self._confirmed + self.lease_s

    def all_dead(self, now: float) -> None:
        """Every attempt of this host was seen dead after it was fenced."""
        if self.phase(now) is LeasePhase.VALID:
            raise ValueError("the host is not fenced: attempts may start while they are counted")
        self._all_dead = True


@dataclass(frozen=True, slots=True)
class SeenLease:
    """A lease that a host holds, as a row of the database shows it: the counter of its renewals only grows."""

    host: str
    counter: int
    lease_s: float


@dataclass(frozen=True, slots=True)
class LapsedLease:
    """A lease that was watched for as long as it lasts without a renewal. Whoever takes it has to find the same counter
    on the same server, in the transaction that takes it."""

    host: str
    counter: int
    server: str


class LeaseWatch:
    """What one host has seen of the leases of the others.

    It counts the time from the first to the last look that have seen the same counter. What happened between two looks
    does not matter, also where they are far apart: a counter only grows, so one that is the same was never another.
    That holds on one server only. After a change of the server (a restart, a fail-over) every watch starts anew.
    """

    def __init__(self) -> None:
        self._server: str | None = None
        self._since: dict[tuple[str, int, float], float] = {}
        self.next_lapse = math.inf
        """The first moment at which a look may show that a lease has lapsed. A renewal that is seen puts it off."""

    def looked(
        self, leases: Iterable[SeenLease], server: str, asked_at: float, answered_at: float
    ) -> list[LapsedLease]:
        """The database was asked for the leases of all other hosts, and has answered. Returns those that have lapsed.

        The rows were read at a moment between ``asked_at`` and ``answered_at``, so the first look counts from its
        answer, and the last one to its question. A host that is not among them is watched anew when it is there again.
        """
        if not asked_at <= answered_at:
            raise ValueError(f"an answer at {answered_at:.3f} is before its question at {asked_at:.3f}")
        known = self._since if server == self._server else {}
        self._server = server
        self._since, self.next_lapse = {}, math.inf
        lapsed = []
        for lease in leases:
            key = (lease.host, lease.counter, lease.lease_s)
            since = known.get(key, answered_at)
            self._since[key] = since
            if asked_at - since >= lease.lease_s:
                lapsed.append(LapsedLease(lease.host, lease.counter, server))
            else:
                self.next_lapse = min(self.next_lapse, since + lease.lease_s)
        return lapsed
