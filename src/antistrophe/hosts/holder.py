"""The supervisor's side of its host's lease: what its attempts may do now, and the dead man's switch.

The supervisor hears the keeper, and goes by its own clock all the same: a keeper that is dead or stopped says nothing.
"""

from __future__ import annotations

import math
from typing import Protocol

from antistrophe.hosts.keeper_messages import Confirmed, Fenced, Refused, Registered, Report
from antistrophe.hosts.lease import HostLease, LeasePhase


class Switch(Protocol):
    """The part of a dead man's switch that is used here."""

    def arm(self, until: float) -> None:
        """Have the kernel kill this process at that moment of CLOCK_BOOTTIME."""

    def disarm(self) -> None:
        """Let this process live."""


class LeaseHolder:
    """One lease after the other. ``host``: the id of the present registration, None before the first one.

    ``switch`` is one of the process whose death takes all attempts along. Moments are seconds of CLOCK_BOOTTIME.
    """

    def __init__(self, switch: Switch) -> None:
        self.host: str | None = None
        self._switch = switch
        self._lease: HostLease | None = None

    def hear(self, report: Report, now: float) -> None:
        """Take note of what the keeper reports, if it is about the lease. What comes late may be too late to count."""
        if isinstance(report, Registered):
            self.host = report.host
            self._lease = HostLease(report.lease_s, report.sent_at)
            self._arm(now)
        elif self._lease is not None and getattr(report, "host", None) == self.host:
            if isinstance(report, Confirmed) and self._lease.confirm(report.sent_at, now):
                self._arm(now)
            elif isinstance(report, Refused):
                self._lease.refuse(now)
            elif isinstance(report, Fenced):
                self._lease.fence(now)

    def phase(self, now: float) -> LeasePhase:
        """What the host may do now. Ask before each attempt starts, and at ``next_moment``."""
        return LeasePhase.OVER if self._lease is None else self._lease.phase(now)

    @property
    def confirmed(self) -> float:
        """When the last confirmed renewal was sent; 0 where there is no lease."""
        return 0.0 if self._lease is None else self._lease.confirmed

    def kill_at(self, kill_grace_s: float) -> float:
        """When an attempt with that grace is to be killed, once the host is fenced."""
        return -math.inf if self._lease is None else self._lease.kill_at(kill_grace_s)

    def next_moment(self, now: float) -> float:
        """When the phase changes next, if the keeper says nothing before."""
        match self.phase(now):
            case LeasePhase.VALID:
                return self._held().fenced_from
            case LeasePhase.FENCED:
                return self._held().kill_at(math.inf)
        return math.inf

    def all_dead(self, now: float) -> None:
        """Every attempt was seen dead after the host was fenced: nothing is left that the switch would have to end. The
        keeper has to be told (Fence, AllDead)."""
        self._held().all_dead(now)
        self._switch.disarm()

    def stopped(self) -> None:
        """The host stops, and every attempt was seen dead."""
        self._lease = None
        self._switch.disarm()

    def _arm(self, now: float) -> None:
        # A lease that was over before it was heard of has no attempts, and must not end this process.
        if self._held().phase(now) is LeasePhase.VALID:
            self._switch.arm(self._held().switch_at)

    def _held(self) -> HostLease:
        if self._lease is None:
            raise ValueError("this host has no lease: wait for Registered")
        return self._lease
