"""Processes for one test, which are gone after it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from antistrophe.linux import process, termination
from antistrophe.linux.process import ProcessIdentity

SLEEP = "import time; time.sleep(600)"
# Each prints its pid, and those of its children, before it goes to sleep.
SAY_AND_SLEEP = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
FORK_AND_SLEEP = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(600)"

# This imports a module without the package's own imports: the children have only the standard library.
IMPORT_PROCESS = (
    "import sys, types\n"
    "package = sys.modules['antistrophe'] = types.ModuleType('antistrophe')\n"
    f"package.__path__ = [{str(Path(process.__file__).parents[1])!r}]\n"
    "from antistrophe.linux import descendants, process\n"
)


class Nursery:
    """Starts processes for one test, and ends them and their groups after it."""

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
        """The next pid that a child prints. That process is ended with the test, too."""
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


def known(pid: int) -> ProcessIdentity:
    identity = process.identity_of(pid)
    assert identity is not None
    return identity


def zombie(nursery: Nursery) -> tuple[subprocess.Popen[str], ProcessIdentity]:
    """A child that has died and is not reaped, and its identity."""
    child = nursery.start(SAY_AND_SLEEP)
    identity = known(nursery.number(child))
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    return child, identity
