"""What a step process has started is found by its mark and ended, wherever it went, the systems of other homes too."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.linux import control_groups, descendants, process, termination
from antistrophe.linux.home_identity import former_marks, home_mark, read_identity, renew_identity
from antistrophe.linux.process import ProcessIdentity, identity_of
from tests.waiting import until

# Prints the pid of a child that has left its group, its session and its environment behind, and ends.
MARKED = """
import os, subprocess, sys
from antistrophe.linux import descendants, process, termination
descendants.mark_home_descendants(sys.argv[1])
descendants.mark_step_descendants(sys.argv[2])
if len(sys.argv) > 3:  # it opens another home, and is a step process there
    descendants.mark_home_descendants(sys.argv[3])
    descendants._own_marks.clear()
    descendants.mark_step_descendants(sys.argv[4])
sleeper = [sys.executable, "-S", "-c", "import time; print(0, flush=True); time.sleep(600)"]
child = subprocess.Popen(sleeper, env={}, start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
os._exit(0)
"""


@pytest.fixture(autouse=True)
def _home(tmp_path: Path) -> Iterator[None]:
    """Mark this process as one of the home, like a supervisor; its limits are put back after the test."""
    before = resource.getrlimit(10)
    descendants.mark_home_descendants(tmp_path)
    yield
    resource.setrlimit(10, before)


def orphan(*arguments: str) -> ProcessIdentity:
    """A process whose parent carried these marks and has ended."""
    starter = subprocess.run([sys.executable, "-c", MARKED, *arguments], stdout=subprocess.PIPE, check=True, timeout=30)
    found = identity_of(int(starter.stdout))
    assert found is not None
    return found


def test_what_left_its_group_its_session_and_its_environment_is_ended(tmp_path: Path) -> None:
    name = f"lease-{os.getpid()}-a"
    found = orphan(str(tmp_path), name)
    assert descendants.end_step_descendants(f"{name}b") == [], "of another name"
    assert process.is_alive(found)
    assert descendants.end_step_descendants(name) == [found.pid], "it was there, so nothing is proven yet"
    until(lambda: not descendants.end_step_descendants(name), "the proof")
    assert not process.is_alive(found)


def test_a_system_of_another_home_that_it_has_started_ends_with_it(tmp_path: Path) -> None:
    name = f"lease-{os.getpid()}-c"
    found = orphan(str(tmp_path), name, str(tmp_path / "other"), f"{name}-within")
    assert termination.sweep(tmp_path, deadline_s=10) == [], "it belongs to the other home"
    assert process.is_alive(found)
    assert descendants.end_step_descendants(f"{name}-within") == [], "it is one of the other system's step process"
    assert descendants.end_step_descendants(name) == [found.pid]
    until(lambda: not descendants.end_step_descendants(name), "the proof")


def test_an_earlier_life_spares_the_homes_that_it_is_told(tmp_path: Path) -> None:
    name = f"lease-{os.getpid()}-d"
    found = orphan(str(tmp_path), name)
    assert descendants.end_step_descendants(name, spare_homes={home_mark(tmp_path)}) == []
    assert process.is_alive(found)
    until(lambda: not descendants.end_step_descendants(name), "the proof")


# Becomes nobody, marks itself three systems deep, and prints the marks.
NESTED = """
import os, resource, sys
from antistrophe.linux import descendants
if os.geteuid() == 0:
    os.setgroups([]), os.setresgid(65534, 65534, 65534), os.setresuid(65534, 65534, 65534)
for depth in range(4):
    print(descendants.can_mark(), end=" ")
    descendants.mark_home_descendants(f"/home-{depth}")
    descendants.mark_step_descendants(f"{sys.argv[1]}-{depth}")
    print(*resource.getrlimit(10), flush=True)
"""


@pytest.mark.parametrize("seed", range(8))
def test_systems_within_systems_have_marks_without_any_rights(seed: int) -> None:
    """The outermost one may start with the highest limit that there is, or with one that an administrator has set."""
    told = subprocess.run([sys.executable, "-c", NESTED, str(seed)], stdout=subprocess.PIPE, check=True, timeout=30)
    can, soft, hard = zip(*(line.split() for line in told.stdout.decode().splitlines()), strict=True)
    assert can == ("True", "True", "True", "False")
    assert len({*soft}) == 4, "each home has its mark"
    marks = [int(each) for each in hard[:3]]
    assert marks == sorted(marks, reverse=True)
    assert len({*marks}) == 3
    assert hard[3] == hard[2], "there is no room for another"


def test_a_home_that_is_moved_keeps_its_mark_and_a_copy_gets_another(tmp_path: Path) -> None:
    home, copy = tmp_path / "home", tmp_path / "copy"
    home.mkdir()
    by_path = home_mark(home)
    renew_identity(home)
    mark = home_mark(home)
    assert mark != by_path
    shutil.copytree(home, copy)
    assert home_mark(copy) == mark, "until it is opened"
    moved = home.rename(tmp_path / "moved")
    assert home_mark(moved) == mark
    identity, copied = read_identity(moved), read_identity(copy)
    assert identity is not None
    assert copied is not None
    assert identity.is_of(moved)
    assert not copied.is_of(copy)
    renew_identity(copy)
    assert home_mark(copy) not in (mark, by_path)
    assert former_marks(copy) == {mark}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"id": 1}', b"\xff"])
def test_an_identity_that_cannot_be_read_is_none(tmp_path: Path, content: bytes) -> None:
    before = home_mark(tmp_path)
    (tmp_path / "identity").write_bytes(content)
    assert read_identity(tmp_path) is None
    assert home_mark(tmp_path) == before


def test_a_process_that_may_not_be_marked_goes_on_unmarked(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr("resource.setrlimit", refuse)
    descendants.mark_step_descendants("any")
    assert descendants.end_step_descendants("any") == []


# Takes orphans, and has a child that looks for those of a step process; its parent is not above the second one.
BELOW_A_TAKER = """
import os, subprocess, sys
from antistrophe.linux import descendants, hunt, process
looked = []
hunt.all_pids = lambda all_pids=hunt.all_pids: looked.append(1) or all_pids()
process.become_subreaper()
taker, keeper = os.getpid(), os.fork()
if keeper:
    while os.wait()[0] != keeper:
        pass
    sys.exit()
descendants.orphans_fall_to(taker if sys.argv[4] == "known" else 1 << 22)
starter = subprocess.run([sys.executable, "-c", *sys.argv[1:4]], stdout=subprocess.PIPE, check=True, timeout=30)
found = process.identity_of(int(starter.stdout))
print(descendants.end_step_descendants(sys.argv[3]) == [found.pid], len(looked), flush=True)
while descendants.end_step_descendants(sys.argv[3]):
    pass
print(process.is_alive(found), len(looked), flush=True)
"""


@pytest.mark.parametrize(("taker", "looks"), [("known", False), ("a stranger", True)])
def test_a_death_costs_the_same_however_many_processes_there_are(tmp_path: Path, taker: str, looks: bool) -> None:
    """All processes are looked at only where nobody is known to take the orphans."""
    arguments = [BELOW_A_TAKER, MARKED, str(tmp_path), f"lease-{os.getpid()}-e", taker]
    told = subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.PIPE, check=True, timeout=60)
    (found, first), (alive, last) = (line.split() for line in told.stdout.decode().splitlines())
    assert (found, alive) == ("True", "False")
    assert (int(first) > 0, int(last) > 0) == (looks, looks)


# Below one that takes orphans: a step process that is alone, has a child, has an orphan that went past it, is alone.
ALONE = """
import os, signal, subprocess, sys
from antistrophe.linux import descendants, hunt, own_tasks, procfs
process_list, looked = procfs.all_pids, []
for module in (hunt, descendants, procfs):
    module.all_pids = lambda: looked.append(1) or process_list()
from antistrophe.linux.process import become_subreaper, identity_of
become_subreaper()
taker, step = os.getpid(), os.fork()
if step:
    while os.wait()[0] != step:
        pass
    sys.exit()
descendants.orphans_fall_to(taker)
descendants.mark_home_descendants(sys.argv[2])
descendants.mark_step_descendants(sys.argv[3])
print(own_tasks.is_alone(sys.argv[3]), len(looked))
child = subprocess.Popen(["sleep", "60"])
print(own_tasks.is_alone(sys.argv[3]), len(looked) > 0)
child.kill(), child.wait()
orphan = int(subprocess.run([sys.executable, "-c", sys.argv[1], *sys.argv[2:]], stdout=subprocess.PIPE).stdout)
print(own_tasks.is_alone(sys.argv[3]))
os.kill(orphan, signal.SIGKILL)
while not own_tasks.is_alone(sys.argv[3]):
    pass
print(identity_of(orphan) is not None)
"""


def test_a_step_process_knows_that_it_is_alone(tmp_path: Path) -> None:
    """It looks at all processes only where it has children. Its orphans may have gone past it."""
    arguments = [ALONE, MARKED, str(tmp_path), f"lease-{os.getpid()}-f"]
    told = subprocess.run([sys.executable, "-c", *arguments], stdout=subprocess.PIPE, check=True, timeout=60)
    assert told.stdout.decode().splitlines() == ["True 0", "False True", "False", "False"]


# Forks again and again, and each process ends at once. Each writes when it was there.
CHAIN = """
import os, sys, time
from antistrophe.linux import descendants
descendants.mark_home_descendants(sys.argv[1])
descendants.mark_step_descendants(sys.argv[2])
while True:
    with open(sys.argv[3], "a") as file:
        file.write(f"{time.monotonic()}\\n")
    if os.fork():
        os._exit(0)
"""


@pytest.mark.parametrize("way", ["its step process", "its home"])
def test_a_chain_of_forks_does_not_outrun_its_end(tmp_path: Path, way: str) -> None:
    name, beats = f"lease-{os.getpid()}-{way[-4:]}", tmp_path / "beats"

    def end() -> list[int]:
        if way == "its home":
            return descendants.end_home_descendants(home_mark(tmp_path), ())
        return descendants.end_step_descendants(name)

    starter = [sys.executable, "-c", CHAIN, str(tmp_path), name, str(beats)]
    subprocess.run(starter, start_new_session=True, check=True, timeout=30)
    until(lambda: beats.exists() and beats.read_text().count("\n") > 20, "the chain")
    until(lambda: not end(), "the proof")
    ended = time.monotonic()
    until(lambda: time.monotonic() - ended > 0.3, "a while")
    assert float(beats.read_text().split()[-1]) < ended


def test_a_kernel_without_control_groups_that_can_be_ended_makes_none(tmp_path: Path) -> None:
    assert control_groups.make_group(tmp_path, 1, "a") == ""
    assert list(tmp_path.iterdir()) == []
    assert control_groups.make_group(tmp_path / "missing", 1, "a") == ""


@pytest.mark.skipif(control_groups.group_folder() is None, reason="this machine delegates no control group")
def test_a_control_group_ends_at_once_with_all_that_is_in_it() -> None:
    folder = control_groups.group_folder()
    assert folder is not None
    group = control_groups.make_group(folder, os.getpid(), "test")
    enter = "import sys, time; from antistrophe.linux.control_groups import *; enter_group(sys.argv[1])"
    starter = [sys.executable, "-c", f"{enter}; print(1, flush=True); time.sleep(600)", group]
    with subprocess.Popen(starter, stdout=subprocess.PIPE) as member:
        assert member.stdout is not None
        assert member.stdout.readline() == b"1\n"
        assert not control_groups.is_empty(group)
        control_groups.end_groups(os.getpid())
        member.wait()
    until(lambda: control_groups.is_empty(group), "the kernel to notice")
    control_groups.end_groups(os.getpid())
    assert not Path(group).exists()


def test_the_fence_is_told_in_words() -> None:
    told = {
        control_groups.fence_in_words(folder, marks=marks) for folder in (None, Path("/x")) for marks in (True, False)
    }
    assert len(told) == 4
