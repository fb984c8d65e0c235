"""What the interpreter of a step process keeps for all its attempts, and how it is put back after a call.

Functions that are used after a call are bound when this module is imported, because user code may have replaced them.
What looks are is said in `linux/own_state`.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import attrgetter
from signal import SIG_BLOCK, SIG_SETMASK, getitimer, set_wakeup_fd, setitimer
from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.step.dict_versions import DictVersions
from antistrophe.linux.own_state import Looks

# The functions of `signal` turn each number into an enum, which costs twenty times as much.
_in_c: Any = importlib.import_module("_signal")
_locale_in_c: Any = importlib.import_module("_locale")
_getsignal: Callable[[int], Any] = _in_c.getsignal
_sigmask: Callable[[int, Iterable[int]], set[int]] = _in_c.pthread_sigmask
_signal, _tzset, _setlocale = signal.signal, time.tzset, locale.setlocale
_BLOCK, _SETMASK = int(SIG_BLOCK), int(SIG_SETMASK)
_SIGNALS = tuple(sorted(map(int, signal.valid_signals())))
_TIMERS = tuple(map(int, (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)))

_WITH_FUNCTIONS = ("builtins", "os", "posixpath", "io", "time", "datetime", "socket", "threading", "subprocess")
_WITH_METHODS = (socket.socket, threading.Thread)


# --- signals ------------------------------------------------------------------------------------------------------


_STOPPED = (0.0, 0.0)


def looks_at_signals() -> Looks:
    """The handlers, and the timers. Of a timer that belongs to the process only that it runs is looked at."""
    timers = (partial(getitimer if getitimer(each) == _STOPPED else _runs, each) for each in _TIMERS)
    return _handlers, *timers


def _handlers() -> tuple[Any, ...]:
    return (*map(_getsignal, _SIGNALS),)


def _runs(timer: int) -> bool:
    return getitimer(timer)[0] > 0


def put_back_signals(healthy: Sequence[Any]) -> None:
    """Stop the timers, and set the handlers."""
    handlers, *timers = healthy
    for timer, state in zip(_TIMERS, timers, strict=True):
        if state == _STOPPED:
            setitimer(timer, 0)
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        if handler is not None and _getsignal(number) is not handler:
            _signal(number, handler)


def looks_at_mask() -> Looks:
    """The signals that this thread holds back."""
    return (partial(_sigmask, _BLOCK, ()),)


def put_back_mask(healthy: Sequence[set[int]]) -> None:
    """Hold back these signals and no others."""
    _sigmask(_SETMASK, healthy[0])


def looks_at_wakeup() -> Looks:
    """The descriptor to which signals are written. Only who sets it can read it, so a look puts it back."""
    healthy = set_wakeup_fd(-1)
    set_wakeup_fd(healthy)
    return (partial(set_wakeup_fd, healthy),)


# --- environment, streams, search path ----------------------------------------------------------------------------


class Environment:
    """The variables of ``os.environ``, and the time zone that the C library has made of them."""

    def __init__(self) -> None:
        self._environ: Any = os.environ
        self._kept: tuple[Any, ...] = ()

    def belong(self) -> Looks:
        """The present variables are healthy from now on. The looks see the version of their dict, where there is one:
        another version may have the same variables."""
        self._environ = os.environ
        variables = self._environ._data
        self._kept = self._environ, dict(variables), time.tzname, time.timezone
        versions = DictVersions((variables,))
        return (
            partial(getattr, os, "environ"),
            partial(getattr, self._environ, "_data"),
            versions.read if versions.read() else partial(dict, variables),
            partial(attrgetter("tzname", "timezone"), time),
        )

    def is_healthy(self) -> bool:
        """Whether the variables are as they were."""
        environ: Any = os.environ
        return (environ, environ._data, time.tzname, time.timezone) == self._kept

    def put_back(self, _healthy: object) -> bool:
        """Set what has been changed or removed, and remove what is new."""
        environ, kept = self._environ, self._kept[1]
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

    def belong(self) -> Looks:
        """What is there now is healthy from now on."""
        self._path = sys.path
        streams = partial(attrgetter("stdin", "stdout", "stderr"), sys)
        closed = (partial(attrgetter("closed"), each) for each in streams() if each is not None)
        return streams, partial(getattr, sys, "path"), partial(getattr, sys, "argv"), *closed

    def put_back(self, healthy: Sequence[Any]) -> bool:
        """Set it again. A stream that is closed stays so."""
        (sys.stdin, sys.stdout, sys.stderr), path, argv, *_ = healthy
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

    def looks(self) -> Looks:
        return tuple(partial(self._tool, number) for number in self._numbers)

    def put_back(self, healthy: Sequence[Any]) -> None:
        for number, tool in zip(self._numbers, healthy, strict=True):
            if tool is None and self._tool(number) is not None:
                self._free(number)


_monitoring = _Monitoring()
_gettrace, _getprofile, _settrace, _setprofile = sys.gettrace, sys.getprofile, sys.settrace, sys.setprofile


def looks_at_tracing() -> Looks:
    """The functions that trace and profile this thread and new ones, and the tools that watch the interpreter."""
    return _gettrace, _getprofile, threading.gettrace, threading.getprofile, *_monitoring.looks()


def put_back_tracing(healthy: Sequence[Any]) -> bool:
    """Set what those looks have seen."""
    trace, profile, trace_of_new, profile_of_new, *tools = healthy
    threading.settrace(trace_of_new)
    threading.setprofile(profile_of_new)
    _monitoring.put_back(tools)
    _setprofile(profile)
    _settrace(trace)
    return True


def looks_at_switches() -> Looks:
    """Numbers and switches of the interpreter and its library that hold for all code."""
    return (
        sys.getrecursionlimit,
        sys.getswitchinterval,
        gc.isenabled,
        gc.get_threshold,
        socket.getdefaulttimeout,
        partial(_locale_in_c.setlocale, locale.LC_ALL),
        sys.get_int_max_str_digits,
    )


def put_back_switches(healthy: Sequence[Any]) -> bool:
    """Set what those looks have seen."""
    recursion, interval, collects, threshold, timeout_s, place, digits = healthy
    sys.setrecursionlimit(recursion)
    sys.setswitchinterval(interval)
    (gc.enable if collects else gc.disable)()
    gc.set_threshold(*threshold)
    socket.setdefaulttimeout(timeout_s)
    _setlocale(locale.LC_ALL, place)
    sys.set_int_max_str_digits(digits)
    return True


def looks_at_messages() -> Looks:
    """What decides which warnings and log records appear."""
    return (
        partial(getattr, warnings, "filters"),
        partial(attrgetter("root.manager.disable"), logging),
        partial(attrgetter("disabled", "level", "propagate"), log),
        partial(getattr, log, "handlers"),
    )


def put_back_messages(healthy: Sequence[Any]) -> bool:
    """Set what those looks have seen."""
    filters, disabled_below, (log.disabled, level, log.propagate), handlers = healthy
    warnings.filters[:] = filters  # type: ignore[index]  # it is a list
    with warnings.catch_warnings():  # makes the module look at its filters again
        pass
    logging.disable(disabled_below)
    log.handlers[:] = handlers
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

    def belong(self) -> Looks:
        """The present functions are healthy from now on. The looks see the versions of their dicts, where there are
        any."""
        self._owners = [*filter(None, map(sys.modules.get, _WITH_FUNCTIONS)), *_WITH_METHODS]
        self._names = [vars(owner) for owner in self._owners]
        self._versions = DictVersions(self._names)
        self._keep()
        return (self._versions.read if self._versions.read() else self.is_healthy,)

    def is_healthy(self) -> bool:
        """Whether nothing of the modules is replaced."""
        return [[*names.values()] for names in self._names] == self._kept

    def put_back(self, _healthy: object) -> bool:
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
        self._kept = [[*names.values()] for names in self._names]
        self._by_name = [dict(names) for names in self._names]


def _replaced(names: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterable[str]:
    return [name for name, value in kept.items() if callable(value) and names.get(name) is not value]


def _added(owner: Any, kept: Mapping[str, Any]) -> Iterable[str]:
    """The names that now hide a method which the class has inherited."""
    return [name for name in vars(owner) if name not in kept] if isinstance(owner, type) else ()
