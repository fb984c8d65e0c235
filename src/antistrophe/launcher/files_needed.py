"""How many open files a system needs, and may open; one with fewer is refused."""

from __future__ import annotations

from antistrophe.errors import SystemUnavailableError
from antistrophe.linux.open_files import raise_open_files_limit, soft_limit
from antistrophe.settings import Settings

_EACH_NEEDS = 64
_FOR_ANOTHER_PROCESS = 4
_PROCESSES = 16


def files_needed(settings: Settings) -> int:
    """How many files a process of the system may have to open, while up to 16 of those that it may start run."""
    processes = settings.step_processes + settings.async_processes + settings.saga_hosts
    return _EACH_NEEDS + _FOR_ANOTHER_PROCESS * min(processes, _PROCESSES)


def allow_open_files(settings: Settings) -> None:
    """Have this process and its forks open as many files as they may. Raises SystemUnavailableError where these are too
    few. The soft limit counts, because step processes go back to it."""
    limit, needed = soft_limit(), files_needed(settings)
    if limit < needed:
        raise SystemUnavailableError(
            f"an actor system needs {needed} open files for each of its processes, and {limit:g} are allowed here:"
            f" raise the limit of the application that starts it (`ulimit -n {needed}`; LimitNOFILE= of systemd)"
        )
    raise_open_files_limit()
