"""Steps that change their process as a whole, and a step that tells what its process is like."""

from __future__ import annotations

import ctypes
import datetime
import gc
import locale
import logging
import logging.config
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from antistrophe import SagaStep, StepContext, StepResult

NOBODY = 65534


def limit(kind: int, number: int) -> Callable[[], object]:
    return lambda: resource.setrlimit(kind, (number, resource.getrlimit(kind)[1]))


def leave_gone_folder() -> None:
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    shutil.rmtree(folder)


def patch(owner: Any, name: str, value: Any) -> Callable[[], object]:
    return lambda: setattr(owner, name, value)


def fail(*_arguments: Any, **_options: Any) -> Any:
    raise RuntimeError("it is patched")


def watch(*_arguments: Any) -> None:
    return None


def set_wakeup() -> None:
    ours, _ = socket.socketpair()
    ours.setblocking(False)
    signal.set_wakeup_fd(ours.detach(), warn_on_full_buffer=False)


def set_zone() -> None:
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()


class OtherDatetime(datetime.datetime):
    """What a library that freezes the time puts in the place of ``datetime.datetime``."""


PUT_BACK: dict[str, Callable[[], object]] = {
    "no files": limit(resource.RLIMIT_NOFILE, 0),
    "no file size": limit(resource.RLIMIT_FSIZE, 0),
    "little memory": limit(resource.RLIMIT_AS, 1 << 20),
    "no processes": limit(resource.RLIMIT_NPROC, 0),
    "stack": limit(resource.RLIMIT_STACK, 1 << 16),
    "nice": lambda: os.nice(5),
    "cores": lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]),
    "policy": lambda: os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)),
    "folder": lambda: os.chdir("/"),
    "folder that is gone": leave_gone_folder,
    "umask": lambda: os.umask(0o777),
    "signal that is ignored": lambda: signal.signal(signal.SIGTERM, signal.SIG_IGN),
    "signal handler": lambda: signal.signal(signal.SIGUSR1, fail),
    "default of a signal": lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    "signal of the stacks": lambda: signal.signal(signal.SIGRTMAX - 3, fail),
    "mask": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()),
    "alarm": lambda: signal.setitimer(signal.ITIMER_REAL, 600.0),
    "wakeup": set_wakeup,
    "search path": sys.path.clear,
    "another search path": patch(sys, "path", []),
    "variable": lambda: os.environ.update(PATH="/nowhere", SPOILT="1"),
    "no variables": os.environ.clear,
    "another environment": patch(os, "environ", {}),
    "time zone": set_zone,
    "stdout replaced": patch(sys, "stdout", None),
    "arguments": lambda: sys.argv.append("spoilt"),
    "trace": lambda: sys.settrace(watch),
    "profile": lambda: sys.setprofile(watch),
    "trace of threads": lambda: threading.settrace(watch),
    "recursion": lambda: sys.setrecursionlimit(200),
    "switches": lambda: sys.setswitchinterval(1.0),
    "collector": gc.disable,
    "timeout of sockets": lambda: socket.setdefaulttimeout(0.001),
    "locale": lambda: locale.setlocale(locale.LC_ALL, "C"),
    "digits": lambda: sys.set_int_max_str_digits(1_000),
    "warnings": lambda: warnings.simplefilter("error"),
    "logging": lambda: logging.disable(logging.CRITICAL),
    "loggers": lambda: logging.config.dictConfig({"version": 1}),
}


def chroot() -> None:
    os.chroot("/usr")


def no_new_rights() -> None:
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)


def become_nobody() -> None:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


FOR_GOOD: dict[str, Callable[[], object]] = {
    "stdout closed": lambda: os.close(1),
    "stdout object closed": sys.stdout.close,
    "all standard files replaced": lambda: [os.dup2(os.open(os.devnull, os.O_RDWR), number) for number in (0, 1, 2)],
    "patched os": patch(os, "getpid", lambda: 1),
    "patched fstat": patch(os, "fstat", fail),
    "patched exit": patch(os, "_exit", fail),
    "patched time": patch(time, "time", lambda: 0.0),
    "patched monotonic": patch(time, "monotonic", fail),
    "patched sleep": patch(time, "sleep", fail),
    "patched datetime": patch(datetime, "datetime", OtherDatetime),
    "patched open": patch(
        __builtins__ if not isinstance(__builtins__, dict) else sys.modules["builtins"], "open", fail
    ),
    "patched len": patch(sys.modules["builtins"], "len", fail),
    "patched socket": patch(socket.socket, "connect", fail),
    "patched subprocess": patch(subprocess, "Popen", fail),
    "patched thread": patch(threading.Thread, "start", fail),
    "no new rights": no_new_rights,
    "end with the parent": lambda: ctypes.CDLL(None).prctl(1, 0, 0, 0, 0),
}

FOR_GOOD_AS_ROOT: dict[str, Callable[[], object]] = {
    "user": become_nobody,
    "effective user": lambda: os.seteuid(NOBODY),
    "group": lambda: os.setegid(NOBODY),
    "groups": lambda: os.setgroups([NOBODY]),
    "root folder": chroot,
}

LIMITS_LOWERED: dict[str, Callable[[], object]] = {
    "files": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0)),
    "processes": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (0, 0)),
    "memory": lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    "mark": lambda: resource.setrlimit(10, (0, 0)),
}
ALL = {**PUT_BACK, **FOR_GOOD, **FOR_GOOD_AS_ROOT, **LIMITS_LOWERED}


@dataclass(frozen=True)
class Spoil(SagaStep):
    """Changes its process, and returns, or raises."""

    what: str
    fails: bool = False

    def execute(self) -> StepResult[int]:
        pid = os.getpid()
        ALL[self.what]()
        if self.fails:
            raise LookupError("no such account")
        return StepResult(pid)

    def compensate(self) -> None:
        pass


@dataclass(frozen=True)
class SpoilShared(SagaStep):
    """Changes the process that it shares with others."""

    what: str

    async def execute(self) -> StepResult[int]:
        pid = os.getpid()
        ALL[self.what]()
        return StepResult(pid)

    async def compensate(self) -> None:
        pass


@dataclass(frozen=True)
class Describe(SagaStep):
    """Tells what its process is like, and does what a process must be able to do."""

    name: str
    requires_compensation = False

    def execute(self, ctx: StepContext) -> StepResult[dict[str, str]]:
        with Path(os.devnull).open("rb"):
            pass
        subprocess.run(["true"], check=True)
        ctx.log.info("it can log")
        return StepResult({"pid": str(os.getpid()), **description()})


def disabled_loggers() -> list[str]:
    loggers = logging.Logger.manager.loggerDict.items()
    return [name for name, each in loggers if name.startswith("antistrophe.step.") and getattr(each, "disabled", False)]


def description() -> dict[str, str]:
    status = Path("/proc/self/status").read_text().splitlines()
    kept = ("Umask", "Uid", "Gid", "Groups", "SigBlk", "SigIgn", "SigCgt", "Cap", "NoNew", "Seccomp", "Cpus_allowed:")
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    values: dict[str, Any] = {
        "status": [line for line in status if line.startswith(kept)],
        "limits": [resource.getrlimit(kind) for kind in range(16) if kind != 10],
        "priority": (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0)),
        "folder": Path.cwd(),
        "root": os.stat("/")[1:3],
        "handlers": sorted((number, getattr(each, "__qualname__", str(each))) for number, each in handlers.items()),
        "path": sys.path,
        "environment": sorted(os.environ.items()),
        "zone": time.tzname,
        "alarm": signal.getitimer(signal.ITIMER_REAL),
        "files": [Path(f"/proc/self/fd/{number}").readlink() for number in (0, 1, 2)],
        "streams": [(type(each).__name__, each.closed) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "arguments": sys.argv,
        "tracing": (sys.gettrace(), sys.getprofile(), threading.gettrace()),
        "switches": (sys.getrecursionlimit(), sys.getswitchinterval(), gc.isenabled(), socket.getdefaulttimeout()),
        "locale": (locale.setlocale(locale.LC_ALL), sys.get_int_max_str_digits()),
        "loggers": disabled_loggers(),
        "messages": ([str(each) for each in warnings.filters], logging.root.manager.disable),
        "functions": (os.getpid.__module__, time.time.__module__, datetime.datetime.__name__, open.__module__),
    }
    return {name: str(value) for name, value in values.items()}


@dataclass(frozen=True)
class DescribeShared(SagaStep):
    """Tells what a shared process is like, and what the thread of its loop is like."""

    name: str
    requires_compensation = False

    async def execute(self) -> StepResult[dict[str, str]]:
        os.close(os.open(os.devnull, os.O_RDONLY))
        nice, cores = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
        return StepResult({"pid": str(os.getpid()), "thread": f"{nice} {cores}", **description()})
