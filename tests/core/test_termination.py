"""Ending groups and the processes of a home: all that belong to it end, and no stranger does."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from antistrophe.linux import process, termination
from tests.core.nursery import FORK_AND_SLEEP, IMPORT_PROCESS, SAY_AND_SLEEP, Nursery, known
from tests.waiting import until

# --- process groups ---------------------------------------------------------------------------------------------------


def test_a_group_is_killed_with_all_its_members(nursery: Nursery) -> None:
    leader = nursery.start(FORK_AND_SLEEP)
    member = nursery.number(leader)
    identity = known(leader.pid)
    assert termination.live_group_members(leader.pid) == sorted([leader.pid, member])
    until(lambda: termination.kill_group(identity) == [], "the end of the group")
    assert process.identity_of(member) is None


def test_a_group_whose_leader_is_a_zombie_is_killed(nursery: Nursery) -> None:
    leader = nursery.start(FORK_AND_SLEEP)
    member = nursery.number(leader)
    identity = known(leader.pid)
    leader.kill()
    os.waitid(os.P_PID, leader.pid, os.WEXITED | os.WNOWAIT)
    assert termination.live_group_members(leader.pid) == [member]
    until(lambda: termination.kill_group(identity) == [], "the end of the group")


def test_a_group_without_its_leader_is_killed_by_the_variables_of_a_member(nursery: Nursery, tmp_path: Path) -> None:
    leader = nursery.start(FORK_AND_SLEEP, home=tmp_path)
    member = nursery.number(leader)
    identity = known(leader.pid)
    leader.kill()
    leader.wait(10)
    assert termination.kill_group(identity, home=tmp_path / "other") == [member]
    assert process.identity_of(member) is not None, "another home's group was killed"
    until(lambda: termination.kill_group(identity, home=tmp_path) == [], "the end of the group")


def test_a_group_without_its_leader_is_killed_by_the_variables_of_a_member_s_parent(
    nursery: Nursery, tmp_path: Path
) -> None:
    # The root is a subreaper with both variables. Its child leads a group, and starts a member with no environment.
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
    until(lambda: process.parent_of(member) == root.pid and process.parent_of(identity.pid) is None, "an orphan")
    assert termination.processes_of_home(tmp_path) == [root.pid]
    until(lambda: termination.kill_group(identity, home=tmp_path) == [], "the end of the group")
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
    until(lambda: termination.kill_group(groupless) == [], "the end of the leader")
    assert not process.is_alive(groupless)
    assert parent.poll() is None


@pytest.mark.parametrize("pgid", [1, 0, -5])
def test_groups_that_mean_everybody_are_refused(pgid: int) -> None:
    with pytest.raises(ValueError, match="no process group of ours"):
        termination.live_group_members(pgid)


# --- the processes of a home ------------------------------------------------------------------------------------------


def test_the_environment_of_a_system_gets_both_variables_and_keeps_the_rest(tmp_path: Path) -> None:
    base = {"PATH": "/bin", "ANTISTROPHE_HOME": "/a/users/own"}
    environment = termination.system_environment(tmp_path, base)
    assert environment.items() >= {"PATH": "/bin", "ANTISTROPHE_HOME": str(tmp_path)}.items()
    other = termination.system_environment(tmp_path / "other", base)
    assert other["ANTISTROPHE_SYSTEM"] != environment["ANTISTROPHE_SYSTEM"], "it says which home's system"
    assert base["ANTISTROPHE_HOME"] == "/a/users/own"


def test_only_processes_with_both_variables_of_exactly_this_home_count(nursery: Nursery, tmp_path: Path) -> None:
    home = tmp_path / "home"
    marked = nursery.start(FORK_AND_SLEEP, home=home)
    fork = nursery.number(marked)
    word = termination.system_environment(home, {})["ANTISTROPHE_SYSTEM"]
    others = [
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "ANTISTROPHE_HOME": str(home)}),
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "ANTISTROPHE_SYSTEM": word}),
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "X": f"ANTISTROPHE_HOME={home}", "ANTISTROPHE_SYSTEM": word}),
        nursery.start(SAY_AND_SLEEP, env={**os.environ, "ANTISTROPHE_HOME": str(home), "ANTISTROPHE_SYSTEM": "1"}),
        nursery.start(
            SAY_AND_SLEEP,
            env=termination.system_environment(tmp_path, os.environ) | {"ANTISTROPHE_HOME": str(home)},
        ),
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
    # Each generation forks the next and ends, so every process is gone a moment after it is looked at. Processes that
    # fork as fast as they can would outrun every scan on a busy machine.
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
    until(lambda: len(termination.processes_of_home(tmp_path)) >= 2, "two generations")
    assert termination.sweep(tmp_path, deadline_s=20) == []
    for _ in range(20):
        assert termination.processes_of_home(tmp_path) == []


def test_a_sweep_names_what_it_could_not_end(nursery: Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Uninterruptible sleep can't be made at will, so here the kill is lost.
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
    until(lambda: busy.pid in termination.processes_of_home(tmp_path), "the busy process")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        assert busy.pid in termination.processes_of_home(tmp_path)
        assert busy.pid in termination.live_group_members(busy.pid)
        process.children_of(busy.pid)


def test_the_mark_of_a_home_is_handed_down_whatever_environment_is_given(nursery: Nursery, tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        f"{IMPORT_PROCESS}"
        "descendants.mark_home_descendants(sys.argv[2])\n"
        "child = subprocess.Popen([sys.executable, '-S', '-c', sys.argv[1]], env={}, start_new_session=True)\n"
        "child.wait()\n"
    )
    root = nursery.start(code, SAY_AND_SLEEP, str(tmp_path))
    member = nursery.number(root)
    assert termination.processes_of_home(tmp_path) == sorted([root.pid, member])
    assert termination.processes_of_home(tmp_path.parent) == []
    assert termination.sweep(tmp_path, deadline_s=10) == []
    assert process.identity_of(member) is None
