"""What the interpreter of a step process keeps for all its attempts, and how it is put back after a call.

Functions that are used after a call are bound when this module is imported, because user code may have replaced them.
"""

from __future__ import annotations

import gc
import importlib
import locale
import logging
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from signal import SIG_BLOCK, SIG_SETMASK, getitimer, set_wakeup_fd, setitimer
from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.step.dict_versions import DictVersions

# The functions of `signal` turn each number into an enum, which costs twenty times as much.
_in_c: Any = importlib.import_module("_signal")
_getsignal: Callable[[int], Any] = _in_c.getsignal
_sigmask: Callable[[int, Iterable[int]], set[int]] = _in_c.pthread_sigmask
_signal, _tzset, _setlocale = signal.signal, time.tzset, locale.setlocale
_BLOCK, _SETMASK = int(SIG_BLOCK), int(SIG_SETMASK)
_SIGNALS = tuple(sorted(map(int, signal.valid_signals())))
_TIMERS = tuple(map(int, (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)))

_WITH_FUNCTIONS = ("builtins", "os", "posixpath", "io", "time", "datetime", "socket", "threading", "subprocess")
_WITH_METHODS = (socket.socket, threading.Thread)


# --- signals ------------------------------------------------------------------------------------------------------


def read_signals() -> tuple[Any, ...]:
    """The handlers, and which timers run."""
    return (*map(_getsignal, _SIGNALS), *(getitimer(each)[0] > 0 for each in _TIMERS))


def put_back_signals(healthy: tuple[Any, ...]) -> None:
    """Stop the timers, and set the handlers."""
    for timer, runs in zip(_TIMERS, healthy[-len(_TIMERS) :], strict=True):
        if not runs:
            setitimer(timer, 0)
    for number, handler in zip(_SIGNALS, healthy, strict=False):
        if handler is not None and _getsignal(number) is not handler:
            _signal(number, handler)


def read_mask() -> set[int]:
    """The signals that this thread holds back."""
    return _sigmask(_BLOCK, ())


def put_back_mask(healthy: set[int]) -> None:
    """Hold back these signals and no others."""
    _sigmask(_SETMASK, healthy)


class WakeupDescriptor:
    """The descriptor to which signals are written. Only who sets it can read it, so reading it puts it back."""

    def __init__(self) -> None:
        self._healthy = -1

    def belong(self) -> int:
        """The descriptor that is healthy from now on."""
        self._healthy = set_wakeup_fd(-1)
        set_wakeup_fd(self._healthy)
        return self._healthy

    def read(self) -> int:
        """The descriptor until now."""
        return set_wakeup_fd(self._healthy)


# --- environment, streams, search path ----------------------------------------------------------------------------


class Environment:
    """The variables of ``os.environ``, and the time zone that the C library has made of them."""

    def __init__(self) -> None:
        self._environ: Any = os.environ

    def belong(self) -> tuple[Any, ...]:
        """The variables that are healthy from now on."""
        self._environ = os.environ
        return self._environ, dict(self._environ._data), time.tzname, time.timezone

    def read(self) -> tuple[Any, ...]:
        """The present variables."""
        environ: Any = os.environ
        return environ, environ._data, time.tzname, time.timezone

    def put_back(self, healthy: tuple[Any, ...]) -> bool:
        """Set what has been changed or removed, and remove what is new."""
        environ, kept = self._environ, healthy[1]
        os.environ = environ  # noqa: B003 - the very object that was there
        for name in [each for each in environ._data if each not in kept]:
            del environ[environ.decodekey(name)]
        for name, value in kept.items():
            if environ._data.get(name) != value:
                environ[environ.decodekey(name)] = environ.decodevalue(value)
        _tzset()
        return True


class Streams:
    """The standard streams, the arguments and the search path: objects of `sys` that a call may replace."""

    def __init__(self) -> None:
        self._path = sys.path

    def belong(self) -> tuple[Any, ...]:
        """What is healthy from now on."""
        self._path = sys.path
        streams, closed, path, argv = self.read()
        return streams, closed, [*path], [*argv]

    def read(self) -> tuple[Any, ...]:
        """What is there now."""
        streams = sys.stdin, sys.stdout, sys.stderr
        return streams, [each is None or each.closed for each in streams], sys.path, sys.argv

    def put_back(self, healthy: tuple[Any, ...]) -> bool:
        """Set it again. A stream that is closed stays so."""
        (sys.stdin, sys.stdout, sys.stderr), _, path, argv = healthy
        self._path[:] = path
        sys.path, sys.argv = self._path, [*argv]
        return True


# --- switches -----------------------------------------------------------------------------------------------------


class _Monitoring:
    """The tools that watch the interpreter, from Python 3.12 on."""

    def __init__(self) -> None:
        monitoring = getattr(sys, "monitoring", None)
        self._tool: Callable[[int], Any] = getattr(monitoring, "get_tool", lambda _: None)
        self._free: Callable[[int], Any] = getattr(monitoring, "free_tool_id", lambda _: None)
        self._numbers = range(6 if monitoring is not None else 0)

    def read(self) -> list[Any]:
        return [*map(self._tool, self._numbers)]

    def put_back(self, healthy: list[Any]) -> None:
        for number, tool in zip(self._numbers, healthy, strict=True):
            if tool is None and self._tool(number) is not None:
                self._free(number)


_monitoring = _Monitoring()
_gettrace, _getprofile, _settrace, _setprofile = sys.gettrace, sys.getprofile, sys.settrace, sys.setprofile


def read_tracing() -> tuple[Any, ...]:
    """The functions that trace and profile this thread and new ones, and the tools that watch the interpreter."""
    return _gettrace(), _getprofile(), threading.gettrace(), threading.getprofile(), _monitoring.read()


def put_back_tracing(healthy: tuple[Any, ...]) -> bool:
    """Set what `read_tracing` has read."""
    threading.settrace(healthy[2])
    threading.setprofile(healthy[3])
    _monitoring.put_back(healthy[4])
    _setprofile(healthy[1])
    _settrace(healthy[0])
    return True


def read_switches() -> tuple[Any, ...]:
    """Numbers and switches of the interpreter and its library that hold for all code."""
    return (
        sys.getrecursionlimit(),
        sys.getswitchinterval(),
        gc.isenabled(),
        gc.get_threshold(),
        socket.getdefaulttimeout(),
        _setlocale(locale.LC_ALL),
        sys.get_int_max_str_digits(),
    )


def put_back_switches(healthy: tuple[Any, ...]) -> bool:
    """Set what `read_switches` has read."""
    recursion, interval, collects, threshold, timeout_s, place, digits = healthy
    sys.setrecursionlimit(recursion)
    sys.setswitchinterval(interval)
    (gc.enable if collects else gc.disable)()
    gc.set_threshold(*threshold)
    socket.setdefaulttimeout(timeout_s)
    _setlocale(locale.LC_ALL, place)
    sys.set_int_max_str_digits(digits)
    return True


def keep_messages() -> tuple[Any, ...]:
    """What decides which warnings and log records appear, as it is healthy from now on."""
    filters, *others = read_messages()
    return [*filters], *others


def read_messages() -> tuple[Any, ...]:
    """What decides now which warnings and log records appear."""
    return warnings.filters, logging.root.manager.disable, log.disabled, log.level, log.handlers[0], log.propagate


def put_back_messages(healthy: tuple[Any, ...]) -> bool:
    """Set what `read_messages` has read."""
    filters, disabled_below, log.disabled, level, handler, log.propagate = healthy
    warnings.filters[:] = filters  # type: ignore[index]  # it is a list
    with warnings.catch_warnings():  # makes the module look at its filters again
        pass
    logging.disable(disabled_below)
    log.handlers[:] = [handler]
    log.setLevel(level)
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith(f"{log.name}.") and isinstance(logger, logging.Logger):
            logger.disabled = False  # a configuration of logging disables the loggers that it does not name
    return True


# --- functions ----------------------------------------------------------------------------------------------------


class Functions:
    """The functions and classes of modules that all code uses, and the methods of some classes."""

    def __init__(self) -> None:
        self._owners: list[Any] = []
        self._names: list[Mapping[str, Any]] = []
        self._kept: list[list[Any]] = []
        self._by_name: list[dict[str, Any]] = []
        self._versions = DictVersions(())
        self._unchanged: list[int] | None = None

    def belong(self) -> bool:
        """The functions that are healthy from now on."""
        self._owners = [*filter(None, map(sys.modules.get, _WITH_FUNCTIONS)), *_WITH_METHODS]
        self._names = [vars(owner) for owner in self._owners]
        self._versions = DictVersions(self._names)
        self._keep()
        return True

    def read(self) -> bool:
        """Whether nothing of the modules has been replaced."""
        versions = self._versions.read()
        if versions is not None and versions == self._unchanged:
            return True
        same = [[*names.values()] for names in self._names] == self._kept
        if same:  # what was replaced is back
            self._unchanged = versions
        return same

    def put_back(self, _healthy: bool) -> bool:
        """Put back the functions that were replaced. False if any was: nobody knows what else was replaced with it. Of
        the rest, such as counters, modules take care themselves."""
        replaced = False
        for owner, kept in zip(self._owners, self._by_name, strict=True):
            for name in _replaced(vars(owner), kept):
                setattr(owner, name, kept[name])
                replaced = True
            for name in _added(owner, kept):
                delattr(owner, name)
                replaced = True
        self._keep()
        return not replaced

    def _keep(self) -> None:
        self._unchanged = self._versions.read()
        self._kept = [[*names.values()] for names in self._names]
        self._by_name = [dict(names) for names in self._names]


def _replaced(names: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, value in kept.items() if callable(value) and names.get(name) is not value]


def _added(owner: Any, kept: Mapping[str, Any]) -> Iterable[str]:
    """The names that now hide a method which the class has inherited."""
    return [name for name in vars(owner) if name not in kept] if isinstance(owner, type) else ()
