"""Bugs of the runtime, outside the machine, that are planted in the processes of a system: each breaks one promise."""

from __future__ import annotations

import atexit
import errno
import multiprocessing
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from antistrophe.actors.registry import RegistryActor
from antistrophe.actors.supervisor import child_process, process_keeper, running_attempts
from antistrophe.saga.entries import Lease, RetryScheduled
from antistrophe.settings import Settings
from antistrophe.transport import connection

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).resolve().parents[2]
VARIABLE = "ANTISTROPHE_TEST_PLANTED"
NO_FORKS = "no-forks"
SMALL_FRAME_BYTES = 6 << 20
SLOW_EXIT_S = 3.0


def plant_in_children(patch: pytest.MonkeyPatch, name: str | None) -> None:
    """Plant that, or nothing, in every Python that is started while the patch lasts; they find the tests, too."""
    path = [] if name is None else [str(ROOT / "tests" / "actors" / "planted")]
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [*path, str(ROOT), os.environ.get("PYTHONPATH")])))
    if name is not None:
        patch.setenv(VARIABLE, name)


def _one_process_for_all() -> None:
    Settings.step_processes = property(lambda self: 1)  # type: ignore[assignment, method-assign]


def _nobody_is_told_of_news() -> None:
    serve = RegistryActor._serve_polls

    def later(self: RegistryActor) -> None:
        if any(self.now() >= poll.until for poll in self._polls):
            serve(self)

    RegistryActor._serve_polls = later  # type: ignore[method-assign]


def _what_left_the_group_lives() -> None:
    vars(child_process)["end_step_descendants"] = lambda _name: []
    _no_control_groups()


def _no_control_groups() -> None:
    """Not a bug of ours: the machine delegates none."""
    vars(process_keeper)["group_folder"] = lambda: None


def _a_late_kill() -> None:
    end = running_attempts.RunningAttempts.end

    def late(self: running_attempts.RunningAttempts, saga_id: str, lease: Lease, grace_s: float, **how: bool) -> None:
        end(self, saga_id, lease, grace_s + 2.0, **how)

    running_attempts.RunningAttempts.end = late  # type: ignore[method-assign]


def _forks_fail() -> None:
    """Not a bug of ours: an actor can't fork while its home has a file of that name."""
    fork = os.fork

    def refusing() -> int:
        home = Path(os.environ.get("ANTISTROPHE_HOME", "."))
        if multiprocessing.parent_process() is not None and (home / NO_FORKS).exists():
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return fork()

    os.fork = refusing


def _frames_are_small() -> None:
    """Not a bug of ours: what a message may hold is less, so that a test need not make so much."""
    vars(connection)["MAX_FRAME_BYTES"] = SMALL_FRAME_BYTES


PLANTED = {
    "what a step started is forgotten once it has left the group": ("G3", _what_left_the_group_lives),
    "a kill comes two seconds late": ("G10", _a_late_kill),
    "one step process for all sagas": ("G12", _one_process_for_all),
    "who follows the changes is told when the wait is over": ("G11", _nobody_is_told_of_news),
}
"""By name: the promise that it breaks, and what plants it."""


def _next_release() -> None:
    """A release that comes later: its schema has a table more, and its entries are of a kind that this one does not
    know."""
    from antistrophe.storage.postgres import open_postgres  # needs psycopg
    from antistrophe.storage.postgres_schema import POSTGRES_MIGRATIONS

    assert open_postgres.__kwdefaults__ is not None
    open_postgres.__kwdefaults__["migrations"] = (*POSTGRES_MIGRATIONS, ("CREATE TABLE antistrophe.later(n bigint)",))
    RetryScheduled.__name__ = "RetryPlanned"


def _slow_exits() -> None:
    """Not a bug of ours: a program of the system takes its time between its last word and its end."""
    atexit.register(threading.Event().wait, SLOW_EXIT_S)


def _time_for_stacks() -> None:
    """Not a bug of ours: a worker that is killed for one of its calls has longer to write its stacks, so that a busy
    machine shows them."""
    vars(running_attempts)["STACK_S"] = 2.0


WEATHER = {
    "time for stacks": _time_for_stacks,
    "slow exits": _slow_exits,
    "next release": _next_release,
    "forks fail": _forks_fail,
    "no control groups": _no_control_groups,
    "frames are small": _frames_are_small,
}
"""What a machine does to a system: no bug, and no promise may break."""


def plant(name: str) -> None:
    """Plant that in this process, and in those that it forks."""
    (WEATHER.get(name) or PLANTED[name][1])()
