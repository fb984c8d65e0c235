"""The kernel kills a process whose dead man's switch was not put off in time, in whatever state the process is."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from antistrophe.linux import process
from antistrophe.linux.dead_man import DeadMansSwitch, boot_time
from tests.core.nursery import IMPORT_PROCESS, Nursery, known
from tests.waiting import until

SOON_S = 0.4  # on a busy machine, too, a process has put it off by then
ARMED = (
    IMPORT_PROCESS + "from antistrophe.linux.dead_man import DeadMansSwitch, boot_time\n"
    "import os, signal, time\n"
    f"soon = boot_time() + {SOON_S}\n"
    "switch = DeadMansSwitch()\n"
    "switch.arm(soon)\n"
)
WAIT = "os.write(1, b'%d\\n' % os.getpid()); time.sleep(600)\n"


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    started = Nursery()
    yield started
    started.close()


def test_a_process_that_is_stopped_dies_at_the_moment(nursery: Nursery) -> None:
    child = nursery.start(ARMED + "os.kill(os.getpid(), signal.SIGSTOP)")
    assert child.wait(30) == -signal.SIGKILL


def test_a_moment_that_has_passed_kills_at_once(nursery: Nursery) -> None:
    child = nursery.start(ARMED + "switch.arm(0.001); time.sleep(600)")
    assert child.wait(30) == -signal.SIGKILL


@pytest.mark.parametrize(
    "later", ["switch.arm(boot_time() + 600)", "switch.disarm()", "switch.close(); switch.close()"]
)
def test_a_switch_that_is_put_off_in_time_kills_nobody(nursery: Nursery, later: str) -> None:
    child = nursery.start(f"{ARMED}{later}\n{WAIT}")
    nursery.number(child)
    _let_the_moment_pass()
    assert child.poll() is None


def test_a_switch_that_was_put_off_kills_at_the_later_moment(nursery: Nursery) -> None:
    child = nursery.start(
        f"{ARMED}switch.disarm(); later = boot_time() + 0.6; switch.arm(later); print(later, flush=True)"
        "\nos.kill(os.getpid(), signal.SIGSTOP)"
    )
    assert child.stdout is not None
    later = float(child.stdout.readline())
    assert child.wait(30) == -signal.SIGKILL
    assert boot_time() >= later


def test_a_fork_has_no_part_in_the_switch(nursery: Nursery) -> None:
    child = nursery.start(ARMED + "os.fork()\n" + WAIT)
    fork = next(pid for pid in (nursery.number(child), nursery.number(child)) if pid != child.pid)
    identity = known(fork)
    assert child.wait(30) == -signal.SIGKILL
    assert process.is_alive(identity)


def test_a_fork_may_not_use_the_switch_and_makes_its_own(nursery: Nursery) -> None:
    code = (
        "switch.disarm()\n"
        "if os.fork() == 0:\n"
        "    try: switch.arm(soon)\n"
        "    except RuntimeError: DeadMansSwitch().arm(soon)\n"
        "    os.kill(os.getpid(), signal.SIGSTOP)\n"
        "print(os.WTERMSIG(os.wait()[1]), flush=True)\n"
    )
    child = nursery.start(ARMED + code)
    assert child.stdout is not None
    assert int(child.stdout.readline()) == signal.SIGKILL
    assert child.wait(30) == 0


def test_a_program_that_is_executed_has_no_switch(nursery: Nursery) -> None:
    child = nursery.start(
        ARMED + f"os.execv({sys.executable!r}, ['python', '-S', '-c', 'import os, time; ' + {WAIT!r}])"
    )
    nursery.number(child)
    _let_the_moment_pass()
    assert child.poll() is None


def test_children_that_watch_their_parent_die_along_also_when_they_are_stopped(nursery: Nursery) -> None:
    code = (
        "me = os.getpid()\n"
        "if os.fork() == 0:\n"
        "    process.die_with_parent(me); print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n"
        "time.sleep(600)\n"
    )
    child = nursery.start(ARMED + code)
    step = known(nursery.number(child))
    assert child.wait(30) == -signal.SIGKILL
    until(lambda: not process.is_alive(step), "the child is dead")


@pytest.mark.parametrize("moment", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_moment_is_refused_and_arms_nothing(moment: float) -> None:
    switch = DeadMansSwitch()
    with pytest.raises(ValueError, match="no moment of CLOCK_BOOTTIME"):
        switch.arm(moment)
    switch.close()
    with pytest.raises(RuntimeError, match="closed: make a new one"):
        switch.arm(boot_time() + 600)


def _let_the_moment_pass() -> None:
    passed = boot_time() + SOON_S + 0.05
    until(lambda: boot_time() > passed, "the moment passes")
