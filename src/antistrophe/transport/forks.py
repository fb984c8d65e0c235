"""Forks the processes of actors; a fork that fails leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
from multiprocessing import popen_fork, util
from multiprocessing.context import ForkContext, ForkProcess
from typing import Any


class _Popen(popen_fork.Popen):
    """A child of multiprocessing. Its own way to fork leaves four descriptors open each time that a fork fails."""

    def _launch(self, process_obj: Any) -> None:
        with contextlib.ExitStack() as undo:
            parent_reads, child_writes = _pipe(undo)
            child_reads, parent_writes = _pipe(undo)
            self.pid = os.fork()
            undo.pop_all()
        if self.pid == 0:
            code = 1
            try:
                os.close(parent_reads)
                os.close(parent_writes)
                code = process_obj._bootstrap(parent_sentinel=child_reads)
            finally:
                os._exit(code)
        os.close(child_writes)
        os.close(child_reads)
        self.finalizer = util.Finalize(self, _close, (parent_reads, parent_writes))
        self.sentinel = parent_reads


def _pipe(undo: contextlib.ExitStack) -> tuple[int, int]:
    reads, writes = os.pipe()
    undo.callback(os.close, reads)
    undo.callback(os.close, writes)
    return reads, writes


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class _Process(ForkProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> _Popen:  # noqa: N802 - the name that multiprocessing asks for
        return _Popen(process_obj)


class Forks(ForkContext):
    """The context of multiprocessing for an actor's children."""

    Process = _Process
