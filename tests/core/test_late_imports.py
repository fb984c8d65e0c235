"""Imports that are put off: a fork waits until the one of another thread is done."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from antistrophe.linux.late_imports import late_import


def test_a_fork_waits_until_a_late_import_of_another_thread_is_done() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), []

    def importing() -> None:
        with late_import():
            begun.set()
            assert may_end.wait(30.0)
            ended.append(True)

    def forking() -> None:
        child = os.fork()
        if child == 0:
            with late_import():  # the lock is free in the fork
                os._exit(7 if ended else 8)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    codes: list[int] = []
    threads = [threading.Thread(target=importing), threading.Thread(target=forking)]
    threads[0].start()
    assert begun.wait(30.0)
    threads[1].start()
    threads[1].join(0.05)
    assert threads[1].is_alive()
    may_end.set()
    for thread in threads:
        thread.join(30.0)
    assert codes == [7]


def test_a_late_import_may_fork_and_import_late_itself() -> None:
    with late_import(), late_import():
        child = os.fork()
        if child == 0:
            with late_import():
                os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_application_loads_what_it_needs_of_a_running_system_only_when_it_opens_one() -> None:
    """Half of the package is loaded while the launcher starts, and not before it."""
    late = ("thespian", "antistrophe.transport.mailbox", "antistrophe.journal.sqlite", "antistrophe.client.session")
    shown = f"print([name for name in {late} if name in sys.modules])"
    code = f"import antistrophe, sys; antistrophe.SagaOrchestrator; {shown}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
