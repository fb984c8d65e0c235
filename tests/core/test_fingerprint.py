"""Whatever a call can change of its process is seen by a quick look, and put back or told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.actors.steps_spoil import ALL, FOR_GOOD, FOR_GOOD_AS_ROOT, LIMITS_LOWERED, PUT_BACK

_IN_FORKS = """
    import ctypes, json, os, signal
    from antistrophe.actors.step import dict_versions
    from antistrophe.actors.step.fingerprint import Fingerprint
    from tests.actors.steps_spoil import ALL, description

    dict_versions._kept = dict_versions._kept and {quick}
    answers, dump, out, leave = os.dup(1), json.dumps, os.write, os._exit


    def told(what):
        # What a look says after that change, and whether all is then as it was.
        ctypes.CDLL(None).prctl(1, int(signal.SIGKILL), 0, 0, 0)  # a step process dies with its parent
        fingerprint = Fingerprint()
        fingerprint.belong()
        before = description()
        closely = fingerprint._is_healthy_all_the_same
        fingerprint._is_healthy_all_the_same = None  # to call it would raise: a look has to be quick
        assert fingerprint.look() is None
        fingerprint._is_healthy_all_the_same = closely
        ALL[what]()
        said = fingerprint.look()
        return said or (fingerprint.look(), description() == before)


    found = {{}}
    for what in {changes}:
        reading, writing = os.pipe()
        fork = os.fork()
        if fork == 0:
            try:
                said = told(what)
            except BaseException as error:
                said = [repr(error)]
            out(writing, dump(said).encode())
            leave(0)
        os.close(writing)
        with open(reading) as answer:
            found[what] = json.loads(answer.read() or "[]")
        os.waitpid(fork, 0)
    out(answers, dump(found).encode())
"""

_FOR_A_WHILE = """
    import os
    from antistrophe.actors.step.fingerprint import Fingerprint

    fingerprint = Fingerprint()
    fingerprint.belong()
    asked = []
    closely = fingerprint._is_healthy_all_the_same
    fingerprint._is_healthy_all_the_same = lambda *looked_at: asked.append(1) or closely(*looked_at)
    assert fingerprint.look() is None and asked == []
    getpid, os.getpid = os.getpid, lambda: 1
    os.getpid = getpid
    os.environ["A"] = "b"
    del os.environ["A"]
    assert fingerprint.look() is None and not fingerprint.mended and asked == [1]
    assert fingerprint.look() is None and asked == [1]
    os.environ["A"] = "b"
    assert fingerprint.look() is None and fingerprint.mended and "A" not in os.environ
    os.getpid = lambda: 1
    assert fingerprint.look() == "functions of the standard library" and fingerprint.mended
"""


_WITH_A_TIMER = """
    import signal
    from antistrophe.actors.step.fingerprint import Fingerprint

    signal.setitimer(signal.ITIMER_VIRTUAL, 1000, 1000)
    fingerprint = Fingerprint()
    fingerprint.belong()
    fingerprint._is_healthy_all_the_same = None  # to call it would raise
    for _ in range(100):
        assert fingerprint.look() is None
    del fingerprint._is_healthy_all_the_same
    signal.setitimer(signal.ITIMER_REAL, 1000)
    assert fingerprint.look() is None and fingerprint.mended
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0) and signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    assert fingerprint.look() == "the signals"
"""

_UMASK = """
    import os, sys
    from antistrophe.actors.step.fingerprint import Fingerprint

    os.umask(0o022)
    fingerprint = Fingerprint()
    fingerprint.belong()
    os.umask(0o777)
    assert fingerprint.look(alone=False) is None
    assert os.umask(0o777) == 0o777, "the call that runs goes on with what it has set"
    del sys.stdin  # a look at the streams raises now, and none that comes after it is taken
    assert fingerprint.look() is None
    assert os.umask(0o022) == 0o022
"""


def ran(script: str) -> str:
    code = textwrap.dedent(script)
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=60, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize(
    ("quick", "changes"),
    [(True, [*ALL]), (False, ["variable", "no variables", "another environment", "patched os", "patched len"])],
    ids=["with versions", "without"],
)
def test_each_change_is_seen_and_put_back_or_told(quick: bool, changes: list[str]) -> None:
    found = json.loads(ran(_IN_FORKS.format(quick=quick, changes=changes)))
    assert [*found] == changes
    root = os.geteuid() == 0
    for what, told in found.items():
        if what in FOR_GOOD or (what in FOR_GOOD_AS_ROOT and root):
            assert isinstance(told, str), f"{what}: {told}"
        elif what in LIMITS_LOWERED:
            assert told in ([None, True], "the limits"), f"{what}: {told}"
        elif what in PUT_BACK:
            assert told == [None, True], f"{what}: {told}"


def test_what_was_replaced_for_a_while_is_looked_at_closely_once() -> None:
    ran(_FOR_A_WHILE)


def test_a_timer_that_belongs_to_the_process_runs_on_and_others_are_stopped() -> None:
    ran(_WITH_A_TIMER)


def test_the_umask_is_put_back_once_no_call_runs_whatever_else_is_gone() -> None:
    ran(_UMASK)
