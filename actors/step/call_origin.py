"""Which call of an async worker has started a thread or a process: their starts are wrapped, and note the call."""

from __future__ import annotations

import _thread
import contextvars
import os
import subprocess
import threading
from collections.abc import Callable
from typing import Any

from antistrophe.logs.speaking import speak_as, spoken_as

# Where each is found: the modules of the library keep references of their own.
_THREAD_STARTS = (
    (_thread, "start_new_thread"),
    (_thread, "start_joinable_thread"),
    (threading, "_start_new_thread"),
    (threading, "_start_joinable_thread"),
)
_PROCESS_STARTS = (
    (os, "fork"),
    (os, "forkpty"),
    (os, "posix_spawn"),
    (os, "posix_spawnp"),
    (subprocess, "_fork_exec"),
)


class Started:
    """What one call has started. ``threads``: an object for each thread that still runs. ``processes``: the pids."""

    def __init__(self) -> None:
        self.threads: set[object] = set()
        self.processes: set[int] = set()


def note_starts(current: contextvars.ContextVar[Any]) -> None:
    """From now on, note what is started in this process. ``current`` holds the call, whose ``started`` is a `Started`;
    None where no call runs."""
    for module, name in _THREAD_STARTS:
        if (start := getattr(module, name, None)) is not None:
            setattr(module, name, _noting_threads(start, current))
    for module, name in _PROCESS_STARTS:
        if (start := getattr(module, name, None)) is not None:
            setattr(module, name, _noting_processes(start, current))


def _noting_threads(start: Callable[..., Any], current: contextvars.ContextVar[Any]) -> Callable[..., Any]:
    def start_thread(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        call = current.get()
        if call is None:
            return start(function, *arguments, **options)
        running, thread = call.started.threads, object()
        # A thread begins without context variables. This one has the call, for what it starts or gives to the loop.
        context = contextvars.Context()
        context.run(current.set, call)
        context.run(speak_as, spoken_as())

        def run(*arguments: Any, **options: Any) -> None:
            try:
                context.run(function, *arguments, **options)
            finally:
                running.discard(thread)

        running.add(thread)
        try:
            return start(run, *arguments, **options)
        except BaseException:
            running.discard(thread)
            raise

    return start_thread


def _noting_processes(start: Callable[..., Any], current: contextvars.ContextVar[Any]) -> Callable[..., Any]:
    def start_process(*arguments: Any, **options: Any) -> Any:
        started = start(*arguments, **options)
        call, pid = current.get(), started[0] if isinstance(started, tuple) else started
        if call is not None and pid:
            call.started.processes.add(pid)
        return started

    return start_process
