"""One process of user code, as the supervisor sees it: started, asked for its stacks, killed, and proven dead."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path

from antistrophe.actors.step.attempt_file import lay_down_attempt_file
from antistrophe.actors.step.stack_dumps import STACK_SIGNAL, why_no_answer
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.definition.worker_start import CLOSE_S
from antistrophe.linux.control_groups import is_empty, kill_group_members, make_group, remove_group
from antistrophe.linux.descendants import end_step_descendants, is_of_another_home
from antistrophe.linux.home_identity import former_marks, home_mark
from antistrophe.linux.process import ProcessIdentity, is_alive, signal_main_thread
from antistrophe.linux.termination import kill_child, kill_group, live_group_members
from antistrophe.messages import Address, Configuration, Environment, ProcessDead, StepConfiguration
from antistrophe.saga.entries import Lease


@dataclass(slots=True)
class Ending:
    """An attempt that is to end. ``kill_at``: when its process is killed. ``by_system``: the system stops, or closes a
    slot. ``why``: the reason, where it is another one than the attempt's time limit. ``overdue``: it is past its limit,
    which the journal may not know."""

    kill_at: float
    by_system: bool
    why: str | None = None
    overdue: bool = False


@dataclass(slots=True)
class ChildProcess:
    """An owned process, or an async worker (``shared``). ``lease``: its identity, once it has reported ready.
    ``slots``: the leases of its slots, where it is shared. ``asked``: what it was doing when it was asked for its
    stacks. ``killed``: it was told to die. ``to_close``: it has something to close before it ends; ``kill_at``: until
    when it may do so. ``group``: its control group, or ""."""

    name: str
    home: str
    address: Address
    process: BaseProcess | None
    shared: bool = False
    lease: Lease | None = None
    asked: str | None = None
    killed: bool = False
    to_close: bool = False
    kill_at: float | None = None
    slots: dict[str, Lease] = field(default_factory=dict)
    group: str = ""

    @property
    def alive(self) -> bool:
        """False once it has been reaped, and where its fork failed."""
        return self.process is not None and self.process.is_alive()

    @property
    def pid(self) -> int | None:
        """The pid of a process that lives."""
        return self.process.pid if self.process is not None and self.alive else None

    def lease_named(self, lease_name: str) -> Lease:
        """The lease of that slot: of the whole process, where it has only one. The attempt file of another slot is laid
        down before the slot is lent for the first time."""
        assert self.lease is not None, "only a process that is ready is leased"
        if not self.shared:
            return self.lease
        if lease_name not in self.slots:
            attempt_file = lay_down_attempt_file(self.home, lease_name)
            self.slots[lease_name] = replace(self.lease, name=lease_name, shared=True, attempt_file=attempt_file)
        return self.slots[lease_name]

    def ask_for_stacks(self) -> None:
        """Have the process write the stacks of its threads."""
        if self.lease is not None:
            self.asked = "could not be looked at"
            with contextlib.suppress(OSError):  # no descriptor is free
                self.asked = why_no_answer(self.lease.pid)
                # To the main thread: another might take it after that one has left the call for SIGTERM.
                signal_main_thread(identity_of_lease(self.lease), STACK_SIGNAL)

    def terminate(self) -> None:
        """SIGTERM to the process, where it lives: it is a child that nobody has reaped, so no other one has its pid."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGTERM)

    def retire(self, now: float) -> None:
        """End a process in which nothing runs. One that has something to close gets SIGTERM, and CLOSE_S seconds."""
        if not self.to_close or self.lease is None or self.killed:
            self.kill()
        elif self.kill_at is None:
            self.kill_at = now + CLOSE_S
            signal_main_thread(identity_of_lease(self.lease), signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL to the process, and to its group once it has reported that it leads one."""
        self.killed = True
        if self.group:
            kill_group_members(self.group)
        if (pid := self.pid) is not None:  # what one that is dead has left is ended before its death is reported
            kill_child(pid, group=self.lease is not None)

    def is_fenced(self) -> bool:
        """The process is dead: end what is left of its groups, and the descendants that left them. True once none of
        them is left. Raises OSError where nobody can look, because no descriptor is free."""
        if self.group:
            kill_group_members(self.group)
            if not is_empty(self.group):
                return False
            remove_group(self.group)
        if self.lease is None:
            return True
        if live_group_members(self.lease.pid):
            kill_group(identity_of_lease(self.lease), home=self.home)
            if live_group_members(self.lease.pid):
                return False
        return not end_step_descendants(self.name)

    def how_it_ended(self) -> str:
        """How a dead process ended, in words."""
        exit_code, number = self._exit()
        return f"signal {number}" if number is not None else f"exit code {exit_code}"

    def death(self, saga_id: str, lease: Lease, *, by_system: bool, detail: str | None = None) -> ProcessDead:
        """What the saga is told that held this lease."""
        return ProcessDead(saga_id, lease, *self._exit(), by_system, detail, self.asked)

    def _exit(self) -> tuple[int | None, int | None]:
        code = None if self.process is None else self.process.exitcode
        return (None, -code) if code is not None and code < 0 else (code, None)


def start_process(
    supervisor: SupervisorPort,
    base: Configuration,
    actor_class: type,
    name: str,
    environment: Environment | None,
    *,
    shared: bool,
    groups: Path | None,
) -> ChildProcess:
    """Start a process under that name, in a control group of its own where there is a folder for them. Its user code
    sees that environment (None: the system's). Raises OSError where the machine has no room for it."""
    address = supervisor.createActor(actor_class)
    group = "" if groups is None else make_group(groups, home_mark(base.home), name)
    child = ChildProcess(name, base.home, address, child_process(supervisor, address), shared, group=group)
    supervisor.send(address, StepConfiguration(base, name, group, environment))
    return child


def end_earlier_process(lease: Lease, name: str, home: str) -> list[int]:
    """End what is left of a process of an earlier incarnation. Returns the pids that still live: ``[]`` proves
    that there are none. A process of another home, of which this one is a copy, is waited for and not ended."""
    leader = identity_of_lease(lease)
    if is_alive(leader) and is_of_another_home(lease.pid, home):
        return [lease.pid]
    return end_step_descendants(name, spare_homes=former_marks(home), anywhere=True) or kill_group(leader, home=home)


def identity_of_lease(lease: Lease) -> ProcessIdentity:
    """The process of that lease."""
    return ProcessIdentity(lease.pid, lease.start_ticks, lease.boot_id)
