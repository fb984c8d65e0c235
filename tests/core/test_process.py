"""One Linux process: identity, liveness, pidfds, signals, and what a process asks of the kernel for itself."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.linux import process, termination
from antistrophe.linux.process import ProcessIdentity
from tests.core.nursery import FORK_AND_SLEEP, IMPORT_PROCESS, SAY_AND_SLEEP, Nursery, known, zombie
from tests.waiting import until

# --- identity ---------------------------------------------------------------------------------------------------------


def test_an_identity_is_stable_and_alive_as_long_as_its_process() -> None:
    me = known(os.getpid())
    assert me == known(os.getpid())
    assert me.boot_id == process.boot_id()
    assert process.is_alive(me)


def test_a_zombie_is_dead(nursery: Nursery) -> None:
    child, identity = zombie(nursery)
    assert process.identity_of(child.pid) is None
    assert not process.is_alive(identity)
    assert Path(f"/proc/{child.pid}").exists(), "it was reaped: this test shows nothing"


def test_a_number_that_was_given_away_again_is_another_process() -> None:
    me = known(os.getpid())
    assert not process.is_alive(replace(me, start_ticks=me.start_ticks - 1))
    assert not process.is_alive(replace(me, boot_id="another boot"))


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**40])
def test_numbers_that_no_process_has(pid: int) -> None:
    identity = ProcessIdentity(pid, 1, process.boot_id())
    assert process.identity_of(pid) is None
    assert process.open_pidfd(identity) is None
    assert not process.send_signal(identity, signal.SIGKILL)
    assert process.parent_of(pid) is None


def test_a_process_whose_first_thread_has_ended_lives(nursery: Nursery, tmp_path: Path) -> None:
    code = (
        "import ctypes, os, platform, threading, time\n"
        "exit_thread = {'x86_64': 60, 'aarch64': 93}[platform.machine()]\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "print(os.getpid(), flush=True)\n"
        "ctypes.CDLL(None).syscall(exit_thread, 0)\n"
    )
    child = nursery.start(code, home=tmp_path)
    pid = nursery.number(child)
    until(lambda: ") Z " in Path(f"/proc/{pid}/stat").read_text(), "the end of the first thread")
    assert process.identity_of(pid) is not None
    assert termination.live_group_members(pid) == [pid]
    assert termination.processes_of_home(tmp_path) == [pid]
    assert termination.sweep(tmp_path, deadline_s=10) == []
    assert process.identity_of(pid) is None


def test_a_name_with_parentheses_and_spaces_does_not_confuse(nursery: Nursery, tmp_path: Path) -> None:
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to("/bin/sleep")
    child = nursery.start(f"import os; os.execv({str(odd)!r}, [{str(odd)!r}, '600'])")
    until(lambda: "a) Z 1 (b" in Path(f"/proc/{child.pid}/stat").read_text(), "the zombie")
    assert process.identity_of(child.pid) is not None
    assert process.parent_of(child.pid) == os.getpid()
    assert termination.live_group_members(child.pid) == [child.pid]


@pytest.mark.parametrize("kernel", ["lists children", "lists none"])
def test_children_are_listed_without_zombies(nursery: Nursery, monkeypatch: pytest.MonkeyPatch, kernel: str) -> None:
    unread = "children_of_threads" if kernel == "lists none" else "all_stats"
    monkeypatch.setattr(process, unread, lambda *_: None)
    parent = nursery.start(FORK_AND_SLEEP)
    grandchild = nursery.number(parent)
    assert process.children_of(parent.pid) == [grandchild]
    os.kill(grandchild, signal.SIGKILL)
    until(lambda: process.children_of(parent.pid) == [], "no child")


# --- pidfds and signals -----------------------------------------------------------------------------------------------


def test_a_pidfd_becomes_readable_when_its_process_dies_even_unreaped(nursery: Nursery) -> None:
    child = nursery.start(SAY_AND_SLEEP)
    pidfd = process.open_pidfd(known(nursery.number(child)))
    assert pidfd is not None
    try:
        assert not process.wait_readable(pidfd, 0.01)
        child.kill()
        assert process.wait_readable(pidfd, 10)
        assert child.returncode is None
    finally:
        os.close(pidfd)


def test_a_signal_reaches_the_very_process_and_nobody_else(nursery: Nursery) -> None:
    child = nursery.start(SAY_AND_SLEEP)
    identity = known(nursery.number(child))
    stranger = replace(identity, start_ticks=identity.start_ticks + 1)
    assert not process.send_signal(stranger, signal.SIGKILL)
    assert child.poll() is None
    assert process.send_signal(identity, signal.SIGKILL)
    assert child.wait(10) == -signal.SIGKILL
    assert not process.send_signal(identity, signal.SIGKILL)


def test_no_descriptor_is_left_open(nursery: Nursery) -> None:
    _, identity = zombie(nursery)
    before = set(os.listdir("/proc/self/fd"))
    process.open_pidfd(identity)
    process.send_signal(identity, signal.SIGTERM)
    process.send_signal(known(os.getpid()), 0)
    termination.kill_group(identity)
    termination.processes_of_home("/nowhere")
    assert set(os.listdir("/proc/self/fd")) <= before, "what a collection closes meanwhile may be missing"


# --- this process -----------------------------------------------------------------------------------------------------

DIE_WITH_PARENT = (
    "import os, sys, time\n"
    f"{IMPORT_PROCESS}"
    "expected = os.getpid() if sys.argv[1] == 'right' else 1\n"
    "reader, writer = os.pipe()\n"
    "child = os.fork()\n"
    "if child == 0:\n"
    "    process.die_with_parent(expected)\n"
    "    os.read(reader, 1)\n"  # so that the number comes first
    "    print('ready', flush=True)\n"
    "    time.sleep(600)\n"
    "print(child, flush=True)\n"
    "os.write(writer, b'.')\n"
    "os.waitpid(child, 0) if expected == 1 else None\n"
    "print('waited', flush=True)\n"
    "time.sleep(600)\n"
)


def test_a_process_dies_with_its_parent(nursery: Nursery) -> None:
    parent = nursery.start(DIE_WITH_PARENT, "right")
    child = known(nursery.number(parent))
    assert parent.stdout is not None
    until(lambda: "ready" in parent.stdout.readline() if parent.stdout else False, "the child's word")
    parent.kill()
    until(lambda: not process.is_alive(child), "the end of the child")


def test_a_process_that_is_orphaned_already_ends_at_once(nursery: Nursery) -> None:
    parent = nursery.start(DIE_WITH_PARENT, "wrong")
    assert parent.stdout is not None
    parent.stdout.readline()
    assert parent.stdout.readline() == "waited\n", "the orphan went on"


def test_faults_of_native_code_end_the_process_and_leave_its_stack(nursery: Nursery, tmp_path: Path) -> None:
    code = (
        "import ctypes, signal, sys, faulthandler\n"
        "faulthandler.enable()\n"
        "for number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT):\n"
        "    signal.signal(number, lambda *a: None)\n"
        f"{IMPORT_PROCESS}"
        "process.restore_fatal_signals(open(sys.argv[1], 'w'))\n"
        "def the_culprit(): ctypes.string_at(0)\n"
        "the_culprit()\n"
    )
    trace = tmp_path / "trace"
    child = nursery.start(code, str(trace))
    assert child.wait(10) == -signal.SIGSEGV
    assert "Segmentation fault" in trace.read_text()
    assert "the_culprit" in trace.read_text()


@pytest.mark.parametrize("number", ["SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"])
def test_each_fatal_signal_is_fatal_again(nursery: Nursery, number: str) -> None:
    code = (
        "import os, signal, sys\n"
        f"{IMPORT_PROCESS}"
        "number = getattr(signal, sys.argv[1])\n"
        "signal.signal(number, lambda *a: None)\n"
        "process.restore_fatal_signals()\n"
        "os.kill(os.getpid(), number)\n"
    )
    child = nursery.start(code, number)
    assert child.wait(10) == -getattr(signal, number)
