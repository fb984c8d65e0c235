"""Obeys the lease of this host: without one no attempt starts, and what runs is ended in time.

The membership actor renews the lease; here is what follows. Each confirmation puts off the dead man's switch, with
which the kernel kills this process where it can't end its attempts itself, and so every process of the system below it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from antistrophe.actors.base import log
from antistrophe.actors.supervisor.dispatching import Dispatching
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.hosts.holder import LeaseHolder
from antistrophe.hosts.keeper_messages import Confirmed, Fenced, Refused, Registered
from antistrophe.hosts.lease import LeasePhase
from antistrophe.linux.dead_man import DeadMansSwitch, boot_time
from antistrophe.messages import AttemptsDead, LeaseConfirmed, LeaseRefused

NO_LEASE = "this host has no lease of the journal (the database is away, or another host has taken it)"

_LOOK_S = 0.02
"""How often it is looked whether the attempts are dead."""


class OwnLease:
    """The lease that this host holds, or has lost. ``tell`` sends a message to the membership actor; ``joined`` is
    called before the host works, first and after each loss."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        dispatching: Dispatching,
        processes: ProcessKeeper,
        tell: Callable[[object], None],
        joined: Callable[[], None],
    ) -> None:
        self._supervisor = supervisor
        self._dispatching = dispatching
        self._processes = processes
        self._tell = tell
        self._joined = joined
        self._holder = LeaseHolder(DeadMansSwitch())
        self._lost = ""
        self._works = False
        dispatching.halt(NO_LEASE)

    @property
    def registration(self) -> str:
        """The name of the lease; empty where this host has none."""
        return "" if self._holder.host in (None, self._lost) else str(self._holder.host)

    @property
    def confirmed_at(self) -> float:
        """When its last confirmed renewal was sent, by CLOCK_BOOTTIME."""
        return self._holder.confirmed

    @property
    def held(self) -> bool:
        """Whether this host may work."""
        return self._works

    def confirmed(self, message: LeaseConfirmed) -> None:
        """The database has confirmed a renewal, or this host's joining."""
        now, host = boot_time(), message.registration
        if host == self._lost:
            return  # it was sent before the membership actor knew
        if host != self.registration:
            self._halt()
            if not self._processes.kill_all():
                return  # nothing may run when a lease begins; the next confirmation finds it dead
            self._holder.hear(Registered(host, message.lease_s, min(message.sent_at, now)), now)
        self._holder.hear(Confirmed(host, min(message.sent_at, now), message.draining), now)
        if self._holder.phase(now) is not LeasePhase.VALID:
            self.look()
            return
        self._supervisor.wake_in(self._holder.next_moment(now) - now)
        if not self._works:
            self._works = True
            log.info("this host holds a lease of the journal, and works")
            self._joined()  # whoever writes has to know by which lease before anything is granted
            self._dispatching.go_on(NO_LEASE)

    def refused(self, message: LeaseRefused) -> None:
        """The lease is over; where it was refused, another host may work on the sagas by now."""
        over = Refused(message.registration) if message.refused else Fenced(message.registration)
        self._holder.hear(over, boot_time())
        self.look()

    def tell_again(self) -> None:
        """Tell the membership actor, in case it has not heard it, that nothing of the lost lease runs any more."""
        if self._lost and not self.registration:
            self._tell(AttemptsDead(self._lost))

    def gone(self) -> None:
        """The lease was handed over, after everything was seen dead."""
        self._lost = self.registration
        self._holder.stopped()
        self._halt()

    def look(self) -> None:
        """Do what the time asks for."""
        now = boot_time()
        phase = self._holder.phase(now) if self.registration else LeasePhase.VALID
        if phase is LeasePhase.VALID:
            return
        if self._halt():
            grace_s = max(self._holder.kill_at(math.inf) - now, 0.0)
            log.error("%s: the %d attempts that run are ended", NO_LEASE, self._processes.attempts.end_all(grace_s))
        over = phase is LeasePhase.KILLING or not self._processes.busy
        if not (over and self._processes.kill_all()):
            self._supervisor.wake_in(_LOOK_S)
            return
        self._holder.all_dead(now)
        self._lost = self.registration
        self.tell_again()

    def _halt(self) -> bool:
        """Start nothing more. False where that was so already."""
        worked, self._works = self._works, False
        if worked:
            self._dispatching.halt(NO_LEASE)
        return worked
