"""What a call has left or replaced is found, whether or not the kernel and the interpreter offer a quick look."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable

import pytest

from antistrophe.actors.step import dict_versions
from antistrophe.actors.step.fingerprint import seen_by
from antistrophe.actors.step.interpreter_state import Functions

_QUICK = pytest.mark.parametrize("quick", [True, False], ids=["with versions", "without"])
Healthy = Callable[[], bool]


@pytest.fixture
def healthy(quick: bool, monkeypatch: pytest.MonkeyPatch) -> Healthy:
    """Whether no function is replaced, as a fingerprint asks: closely where a look sees something else."""
    monkeypatch.setattr(dict_versions, "_kept", quick and dict_versions._kept)
    functions = Functions()
    looks = functions.belong()
    seen = seen_by(looks)
    assert seen_by(looks) == seen
    assert functions.is_healthy()
    return lambda: seen_by(looks) == seen or functions.is_healthy()


def test_this_interpreter_keeps_versions() -> None:
    assert dict_versions._kept or sys.version_info >= (3, 14)


@_QUICK
@pytest.mark.parametrize(("owner", "name"), [(os, "getpid"), (socket.socket, "close")])
def test_a_function_that_is_replaced_is_found_and_one_that_is_back_is_healthy(
    healthy: Healthy, owner: object, name: str
) -> None:
    for _ in range(3):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(owner, name, print)
            assert not healthy()
            assert not healthy(), "it is found however often somebody looks"
        assert healthy()


@_QUICK
def test_a_method_that_hides_an_inherited_one_is_found(healthy: Healthy) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "recv", print, raising=False)
        assert not healthy()
    assert healthy()


_LEFT = """
    import subprocess, threading, time
    from antistrophe.actors.step.leftovers import Leftovers
    from antistrophe.linux import own_tasks

    if not {quick}:
        import antistrophe.actors.step.leftovers as module
        module.has_one_thread = lambda: False

    left = Leftovers()
    left.belong()
    assert own_tasks.links_are_threads()
    assert left.look() is None
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="mine")
    thread.start()
    assert left.look() == "1 thread (mine)", left.look()
    left.belong()
    assert left.look() is None
    other = threading.Thread(target=go_on.wait, name="other")
    other.start()
    assert left.look() == "1 thread (other)", "one that belongs does not hide one that does not"
    go_on.set()
    thread.join()
    other.join()
    assert left.look() is None
    left.belong()
    child = subprocess.Popen(["sleep", "60"])
    assert left.look() == f"1 process ({{child.pid}})", left.look()
    child.kill()
    deadline = time.monotonic() + 20
    while left.look() is not None:
        assert time.monotonic() < deadline
    try:
        import os
        os.waitpid(child.pid, 0)
    except ChildProcessError:
        pass
    else:
        raise AssertionError("the dead are reaped")
"""


@_QUICK
def test_threads_and_processes_that_a_call_has_left_are_found(quick: bool) -> None:
    script = textwrap.dedent(_LEFT).format(quick=quick)
    ended = subprocess.run([sys.executable, "-c", script], check=False, timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
