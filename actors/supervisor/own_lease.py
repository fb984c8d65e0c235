"""Obeys the lease of this host: without one no attempt starts, and what runs is ended in time.

The membership actor renews the lease; here is what follows. Each confirmation puts off the dead man's switch, with
which the kernel kills this process where it can't end its attempts itself, and so every process of the system below it.
"""

from __future__ import annotations

from collections.abc import Callable

from antistrophe.actors.base import log
from antistrophe.actors.supervisor.dispatching import Dispatching
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.hosts.lease import HostLease, LeasePhase
from antistrophe.linux.dead_man import DeadMansSwitch, boot_time
from antistrophe.messages import AttemptsDead, LeaseConfirmed, LeaseRefused

NO_LEASE = "this host has no lease of the journal (the database is away, or another host has taken it)"

_LOOK_S = 0.02
"""How often it is looked whether the attempts are dead."""


class OwnLease:
    """The lease that this host holds, or has lost. ``tell`` sends a message to the membership actor; ``joined`` is
    called when the host may work, first and after each loss."""

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
        self._switch = DeadMansSwitch()
        self._lease: HostLease | None = None
        self._registration = ""
        self._lost = ""
        self._fenced = True
        dispatching.halt(NO_LEASE)

    @property
    def registration(self) -> str:
        """The name of the lease; empty where this host has none."""
        return "" if self._lease is None else self._registration

    @property
    def confirmed_at(self) -> float:
        """When its last confirmed renewal was sent, by CLOCK_BOOTTIME."""
        return 0.0 if self._lease is None else self._lease.confirmed

    @property
    def held(self) -> bool:
        """Whether this host may work."""
        return not self._fenced

    def confirmed(self, message: LeaseConfirmed) -> None:
        """The database has confirmed a renewal, or this host's joining."""
        now = boot_time()
        if message.registration == self._lost:
            return  # it was sent before the membership actor knew
        if self._lease is None or message.registration != self._registration:
            if not self._processes.kill_all():
                return  # nothing may run when a new lease begins; the next confirmation finds it dead
            self._registration = message.registration
            self._lease = HostLease(message.lease_s, min(message.sent_at, now))
        self._lease.confirm(min(message.sent_at, now), now)
        if self._lease.phase(now) is not LeasePhase.VALID:
            self.look()
            return
        self._switch.arm(self._lease.switch_at)
        self._supervisor.wake_in(self._lease.fenced_from - now)
        if self._fenced:
            self._fenced = False
            log.info("this host holds a lease of the journal, and works")
            self._dispatching.go_on(NO_LEASE)
            self._joined()

    def refused(self, message: LeaseRefused) -> None:
        """The lease is over; where it was refused, another host may work on the sagas by now."""
        if self._lease is not None and message.registration == self._registration:
            if message.refused:
                self._lease.refuse(boot_time())
            self.look()

    def tell_again(self) -> None:
        """Tell the membership actor, in case it has not heard it, that nothing of the lost lease runs any more."""
        if self._lease is None and self._lost:
            self._tell(AttemptsDead(self._lost))

    def gone(self) -> None:
        """The lease was handed over, after everything was seen dead."""
        self._lease, self._lost, self._fenced = None, self._registration, True
        self._switch.disarm()
        self._dispatching.halt(NO_LEASE)

    def look(self) -> None:
        """Do what the time asks for."""
        lease = self._lease
        if lease is None:
            return
        now = boot_time()
        phase = lease.phase(now)
        if phase is LeasePhase.VALID:
            return
        if not self._fenced:
            self._fenced = True
            self._dispatching.halt(NO_LEASE)
            grace_s = max(lease.kill_at(float("inf")) - now, 0.0)
            log.error("%s: the %d attempts that run are ended", NO_LEASE, self._processes.attempts.end_all(grace_s))
        over = phase is LeasePhase.KILLING or not self._processes.busy
        if not (over and self._processes.kill_all()):
            self._supervisor.wake_in(_LOOK_S)
            return
        lease.all_dead(now)
        self._switch.disarm()
        self._lease, self._lost = None, self._registration
        self.tell_again()
