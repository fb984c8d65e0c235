"""One process of user code as the supervisor holds it: started, asked where it stands, killed, and proven dead."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from antistrophe.actors.step.stack_dumps import STACK_SIGNAL, why_no_answer
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.linux.descendants import end_step_descendants
from antistrophe.linux.process import ProcessIdentity, signal_main_thread
from antistrophe.linux.termination import kill_child, kill_group, live_group_members
from antistrophe.messages import Address, Configuration, ProcessDead, StepConfiguration
from antistrophe.saga.entries import Lease


@dataclass(slots=True)
class Ending:
    """What is to end: ``kill_at``: when its process is killed for it; ``why``, where that is more than its limit."""

    kill_at: float
    by_system: bool
    why: str | None = None


@dataclass(slots=True)
class ChildProcess:
    """``lease``: who it is, once it has said so; ``asked``: how it was found when it was asked for its stacks."""

    name: str
    home: str
    address: Address
    process: BaseProcess | None
    lease: Lease | None = None
    asked: str | None = None

    @property
    def alive(self) -> bool:
        """False once it has been reaped; and where its fork failed, there never was one."""
        return self.process is not None and self.process.is_alive()

    @property
    def pid(self) -> int | None:
        """The number of one that lives."""
        return self.process.pid if self.process is not None and self.alive else None

    def ask_for_stacks(self) -> None:
        """Have it write where its threads stand."""
        if self.lease is not None:
            self.asked = why_no_answer(self.lease.pid)
            # To the main thread: another might take it after that one has left the call for SIGTERM.
            signal_main_thread(identity_of_lease(self.lease), STACK_SIGNAL)

    def kill(self) -> None:
        """SIGKILL to it and to its group, once it has said that it leads one."""
        if (pid := self.pid) is not None:  # what one that is dead has left is ended before its death is reported
            kill_child(pid, group=self.lease is not None)

    def is_fenced(self) -> bool:
        """Its leader is dead: end what is left of its group and what has left that; True once nothing is."""
        if self.lease is None:
            return True
        if live_group_members(self.lease.pid):
            kill_group(identity_of_lease(self.lease), home=self.home)
            if live_group_members(self.lease.pid):
                return False
        return not end_step_descendants(self.name)

    def how_it_ended(self) -> str:
        """In words, for one that is dead."""
        exit_code, number = self._exit()
        return f"signal {number}" if number is not None else f"exit code {exit_code}"

    def death(self, saga_id: str, lease: Lease, *, by_system: bool, detail: str | None = None) -> ProcessDead:
        """What the saga is told of it, that had this lease."""
        return ProcessDead(saga_id, lease, *self._exit(), by_system, detail, self.asked)

    def _exit(self) -> tuple[int | None, int | None]:
        code = None if self.process is None else self.process.exitcode
        return (None, -code) if code is not None and code < 0 else (code, None)


def start_process(owner: SupervisorPort, actor_class: type, base: Configuration, name: str) -> ChildProcess:
    """Start one under that name. Raises OSError where the machine has no room for it."""
    address = owner.createActor(actor_class)
    held = ChildProcess(name, base.home, address, child_process(owner, address))
    owner.send(address, StepConfiguration(base, name))
    return held


def end_previous_life(lease: Lease, name: str, home: str) -> list[int]:
    """End what is left of a process of an earlier life of the system, which was swept before this one began; ``[]`` is
    the proof that nothing is."""
    return kill_group(identity_of_lease(lease), home=home) or end_step_descendants(name)


def identity_of_lease(lease: Lease) -> ProcessIdentity:
    """Who the process of that lease is."""
    return ProcessIdentity(lease.pid, lease.start_ticks, lease.boot_id)
