"""Linux processes: identity, liveness, pidfds, groups, the marker of a home, and the sweep."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.linux import process, termination
from antistrophe.linux.process import ProcessIdentity

SLEEP = "import time; time.sleep(600)"
# Each says its pid (and those of its children) on standard output before it goes to sleep.
SAY_AND_SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
FORK_AND_SLEEP = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(600)"


# Without what the package itself imports: the children have nothing but the standard library.
IMPORT_PROCESS = (
    "import sys, types\n"
    "package = sys.modules['antistrophe'] = types.ModuleType('antistrophe')\n"
    f"package.__path__ = [{str(Path(process.__file__).parents[1])!r}]\n"
    "from antistrophe.linux import process, termination\n"
)


class Nursery:
    """Starts processes for one test and sees to it that they and their groups are gone after it."""

    def __init__(self) -> None:
        self._children: list[subprocess.Popen[str]] = []
        self._strays: list[ProcessIdentity] = []

    def start(
        self, code: str, *arguments: str, home: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.Popen[str]:
        base = dict(os.environ) if env is None else env
        environment = base if home is None else termination.system_environment(home, base)
        child = subprocess.Popen(
            [sys.executable, "-S", "-c", code, *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._children.append(child)
        return child

    def number(self, child: subprocess.Popen[str]) -> int:
        """The next pid that a child says; that process is ended with the test, too."""
        assert child.stdout is not None
        pid = int(child.stdout.readline())
        identity = process.identity_of(pid)
        if identity is not None:
            self._strays.append(identity)
        return pid

    def close(self) -> None:
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
        for stray in self._strays:
            process.send_signal(stray, signal.SIGKILL)
        for child in self._children:
            child.wait(10)
            assert child.stdout is not None
            child.stdout.close()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


def until(condition: Callable[[], object], *, deadline_s: float = 30.0) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.002)


def known(pid: int) -> ProcessIdentity:
    identity = process.identity_of(pid)
    assert identity is not None
    return identity


def zombie(nursery: Nursery) -> tuple[subprocess.Popen[str], ProcessIdentity]:
    """A child that has died and is not reaped, and who it was."""
    child = nursery.start(SAY_AND_SLEEP)
    identity = known(nursery.number(child))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child, identity


# --- identity -----------------------------------------------------------------------------------------------------


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
    until(lambda: ") Z " in Path(f"/proc/{pid}/stat").read_text())
    assert process.identity_of(pid) is not None
    assert termination.live_group_members(pid) == [pid]
    assert termination.processes_of_home(tmp_path) == [pid]
    assert termination.sweep(tmp_path, deadline_s=10) == []
    assert process.identity_of(pid) is None


def test_a_name_with_parentheses_and_spaces_does_not_confuse(nursery: Nursery, tmp_path: Path) -> None:
    odd = tmp_path / "a) Z 1 (b"
    odd.symlink_to("/bin/sleep")
    child = nursery.start(f"import os; os.execv({str(odd)!r}, [{str(odd)!r}, '600'])")
    until(lambda: "a) Z 1 (b" in Path(f"/proc/{child.pid}/stat").read_text())
    assert process.identity_of(child.pid) is not None
    assert process.parent_of(child.pid) == os.getpid()
    assert termination.live_group_members(child.pid) == [child.pid]


def test_children_are_listed_without_zombies(nursery: Nursery) -> None:
    parent = nursery.start(FORK_AND_SLEEP)
    grandchild = nursery.number(parent)
    assert process.children_of(parent.pid) == [grandchild]
    os.kill(grandchild, signal.SIGKILL)
    until(lambda: process.children_of(parent.pid) == [])


# --- pidfds and signals -------------------------------------------------------------------------------------------


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
    assert set(os.listdir("/proc/self/fd")) == before


# --- process groups -----------------------------------------------------------------------------------------------


def test_a_group_is_killed_with_all_its_members(nursery: Nursery) -> None:
    leader = nursery.start(FORK_AND_SLEEP)
    member = nursery.number(leader)
    identity = known(leader.pid)
    assert termination.live_group_members(leader.pid) == sorted([leader.pid, member])
    until(lambda: termination.kill_group(identity) == [])
    assert process.identity_of(member) is None


def test_a_group_whose_leader_is_a_zombie_is_killed(nursery: Nursery) -> None:
    leader = nursery.start(FORK_AND_SLEEP)
    member = nursery.number(leader)
    identity = known(leader.pid)
    leader.kill()
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert termination.live_group_members(leader.pid) == [member]
    until(lambda: termination.kill_group(identity) == [])


def test_a_group_without_its_leader_is_killed_by_the_marker_of_a_member(nursery: Nursery, tmp_path: Path) -> None:
    leader = nursery.start(FORK_AND_SLEEP, home=tmp_path)
    member = nursery.number(leader)
    identity = known(leader.pid)
    leader.kill()
    leader.wait(10)
    assert termination.kill_group(identity, home=tmp_path / "other") == [member]
    assert process.identity_of(member) is not None, "another home's group was killed"
    until(lambda: termination.kill_group(identity, home=tmp_path) == [])


def test_a_group_without_its_leader_is_killed_by_the_marker_of_a_member_s_parent(
    nursery: Nursery, tmp_path: Path
) -> None:
    # The root is a subreaper with markers; its child leads a group and starts a member with an empty environment.
    code = (
        "import os, sys, time\n"
        f"{IMPORT_PROCESS}"
        "process.become_subreaper()\n"
        "leader = os.fork()\n"
        "if leader == 0:\n"
        "    os.setpgid(0, 0)\n"
        "    if os.fork() == 0:\n"
        "        os.execve(sys.executable, [sys.executable, '-S', '-c', sys.argv[1]], {})\n"
        "else:\n"
        "    print(leader, flush=True)\n"
        "time.sleep(600) if leader == 0 else (os.waitpid(leader, 0), time.sleep(600))\n"
    )
    root = nursery.start(code, SAY_AND_SLEEP, home=tmp_path)
    identity = known(nursery.number(root))
    member = nursery.number(root)
    process.send_signal(identity, signal.SIGKILL)
    until(lambda: process.parent_of(member) == root.pid and process.parent_of(identity.pid) is None)
    assert termination.processes_of_home(tmp_path) == [root.pid]
    until(lambda: termination.kill_group(identity, home=tmp_path) == [])
    assert process.identity_of(member) is None


def test_a_group_that_may_be_a_stranger_s_is_reported_and_not_killed(nursery: Nursery, tmp_path: Path) -> None:
    leader = nursery.start(FORK_AND_SLEEP)
    member = nursery.number(leader)
    identity = known(leader.pid)
    leader.kill()
    leader.wait(10)
    assert termination.kill_group(identity, home=tmp_path) == [member]
    assert termination.kill_group(identity) == [member]
    assert process.identity_of(member) is not None


def test_a_group_number_that_was_given_away_again_is_left_alone(nursery: Nursery) -> None:
    stranger = nursery.start(SAY_AND_SLEEP)
    identity = known(nursery.number(stranger))
    former = replace(identity, start_ticks=identity.start_ticks - 1)
    assert termination.kill_group(former) == []
    assert termination.kill_group(replace(identity, boot_id="another boot")) == []
    assert stranger.poll() is None


def test_a_leader_that_has_not_made_its_group_yet_is_killed_itself(nursery: Nursery) -> None:
    parent = nursery.start(FORK_AND_SLEEP)
    groupless = known(nursery.number(parent))
    until(lambda: termination.kill_group(groupless) == [])
    assert not process.is_alive(groupless)
    assert parent.poll() is None


@pytest.mark.parametrize("pgid", [1, 0, -5])
def test_groups_that_mean_everybody_are_refused(pgid: int) -> None:
    with pytest.raises(ValueError, match="no process group of ours"):
        termination.live_group_members(pgid)


# --- this process -------------------------------------------------------------------------------------------------

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
    until(lambda: "ready" in parent.stdout.readline() if parent.stdout else False)
    parent.kill()
    until(lambda: not process.is_alive(child))


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


# --- the processes of a home --------------------------------------------------------------------------------------


def test_the_environment_of_a_system_gets_both_markers_and_keeps_the_rest(tmp_path: Path) -> None:
    base = {"PATH": "/bin", "ANTISTROPHE_HOME": "/a/users/own"}
    environment = termination.system_environment(tmp_path, base)
    assert environment.items() >= {"PATH": "/bin", "ANTISTROPHE_HOME": str(tmp_path), "ANTISTROPHE_SYSTEM": "1"}.items()
    assert base["ANTISTROPHE_HOME"] == "/a/users/own"


def test_only_processes_with_both_markers_of_exactly_this_home_count(nursery: Nursery, tmp_path: Path) -> None:
    home = tmp_path / "home"
    marked = nursery.start(FORK_AND_SLEEP, home=home)
    fork = nursery.number(marked)
    others = [
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "ANTISTROPHE_HOME": str(home)}),
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "ANTISTROPHE_SYSTEM": "1"}),
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "X": f"ANTISTROPHE_HOME={home}", "ANTISTROPHE_SYSTEM": "1"}),
        nursery.start(SAY_AND_SLEEP, home=tmp_path / "home2"),
        nursery.start(SAY_AND_SLEEP, home=tmp_path),
    ]
    for other in others:
        nursery.number(other)
    assert termination.processes_of_home(home) == sorted([marked.pid, fork])
    assert termination.sweep(home, deadline_s=10) == []
    assert termination.processes_of_home(home) == []
    assert all(other.poll() is None for other in others)


def test_a_home_is_the_same_through_a_symlink(nursery: Nursery, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    child = nursery.start(SAY_AND_SLEEP, home=tmp_path / "link")
    nursery.number(child)
    assert termination.processes_of_home(tmp_path / "real") == [child.pid]


def test_zombies_are_not_of_a_home(nursery: Nursery, tmp_path: Path) -> None:
    child = nursery.start(SAY_AND_SLEEP, home=tmp_path)
    nursery.number(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert termination.processes_of_home(tmp_path) == []
    assert termination.sweep(tmp_path, deadline_s=1) == []


def test_a_sweep_spares_whom_it_is_told_and_ends_the_rest(nursery: Nursery, tmp_path: Path) -> None:
    spared = nursery.start(SAY_AND_SLEEP, home=tmp_path)
    nursery.number(spared)
    stopped = nursery.start(SAY_AND_SLEEP, home=tmp_path)
    os.kill(nursery.number(stopped), signal.SIGSTOP)
    deaf = nursery.start(
        f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SAY_AND_SLEEP}", home=tmp_path
    )
    nursery.number(deaf)
    assert termination.sweep(tmp_path, spare=frozenset({spared.pid}), deadline_s=10) == []
    assert termination.processes_of_home(tmp_path) == [spared.pid]


def test_a_sweep_outruns_processes_that_keep_forking(nursery: Nursery, tmp_path: Path) -> None:
    # Each generation forks the next and ends: whoever is looked at is gone a moment later. One that forked as fast as
    # it can would be ahead of every scan on a machine that is busy.
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "print(os.getpid(), flush=True)\n"
        "while True:\n"
        "    time.sleep(0.01)\n"
        "    if os.fork(): time.sleep(0.02); os._exit(0)\n"
    )
    for _ in range(3):
        nursery.start(code, home=tmp_path)
    until(lambda: len(termination.processes_of_home(tmp_path)) >= 2)
    assert termination.sweep(tmp_path, deadline_s=20) == []
    for _ in range(20):
        assert termination.processes_of_home(tmp_path) == []


def test_a_sweep_names_what_it_could_not_end(nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Uninterruptible sleep can't be had at will: here the kill is simply lost.
    child = nursery.start(SAY_AND_SLEEP, home=tmp_path)
    nursery.number(child)
    with monkeypatch.context() as patch:
        patch.setattr(signal, "pidfd_send_signal", lambda *_: None)
        assert termination.sweep(tmp_path, deadline_s=0.05) == [child.pid]
    assert termination.sweep(tmp_path, deadline_s=0) in ([], [child.pid])
    assert termination.sweep(tmp_path, deadline_s=10) == []


def test_looking_at_processes_while_they_come_and_go(nursery: Nursery, tmp_path: Path) -> None:
    code = "import os\nwhile True:\n    child = os.fork()\n    if child == 0: os._exit(0)\n    os.waitpid(child, 0)\n"
    busy = nursery.start(code, home=tmp_path)
    until(lambda: busy.pid in termination.processes_of_home(tmp_path))
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert busy.pid in termination.processes_of_home(tmp_path)
        assert busy.pid in termination.live_group_members(busy.pid)
        process.children_of(busy.pid)


def test_a_mark_is_handed_down_whatever_environment_is_given(nursery: Nursery, tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        f"{IMPORT_PROCESS}"
        "termination.mark_descendants(sys.argv[2])\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', sys.argv[1]], env={}, start_new_session=True)\n"
        "child.wait()\n"
    )
    root = nursery.start(code, SAY_AND_SLEEP, str(tmp_path))
    member = nursery.number(root)
    assert termination.processes_of_home(tmp_path) == sorted([root.pid, member])
    assert termination.processes_of_home(tmp_path.parent) == []
    assert termination.sweep(tmp_path, deadline_s=10) == []
    assert process.identity_of(member) is None
