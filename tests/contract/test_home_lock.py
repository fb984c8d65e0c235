"""The lock of a home: who holds it, and whose death the next system comes after."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import pytest

from antistrophe.launcher.home_lock import HomeLock, holder_of, without_system


def test_what_fails_while_a_home_is_held_is_no_death_of_its_system(tmp_path: Path) -> None:
    with contextlib.suppress(ZeroDivisionError), without_system(tmp_path, "this test has it"):
        raise ZeroDivisionError
    lock = HomeLock.take(tmp_path)
    assert lock is not None
    assert not lock.after_death
    lock.release()


@pytest.mark.parametrize("died_before", [False, True])
def test_a_verb_that_is_killed_while_it_holds_a_home_is_no_death_of_its_system(
    tmp_path: Path, died_before: bool
) -> None:
    system = HomeLock.take(tmp_path)
    assert system is not None
    if not died_before:
        system.ends_well()
    system.release()
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException), without_system(tmp_path, "this test has it"):
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    assert holder_of(tmp_path) == f"process {pid}"
    with without_system(tmp_path, "another call of it comes to its end"):
        pass
    lock = HomeLock.take(tmp_path)
    assert lock is not None
    assert lock.after_death is died_before
    lock.release()
