"""The floor of a saga: a loop that sends msgpack over Unix sockets to workers and commits each transition to SQLite.

It supervises nothing, ends nothing, knows no timeout and could not resume: what is left is what any such system pays.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import sqlite3
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import msgpack

from tests.benchmarks.measuring import Sample, cpu_of

STEPS = 3
_PATIENCE_S = 30.0


class Floor:
    """As many workers as the actor system keeps warm. ``shared``: sagas that are ready together share a commit."""

    def __init__(self, folder: Path, *, shared: bool, workers: int = 8) -> None:
        self.name = f"floor, commits {'shared' if shared else 'alone'}"
        self._shared = shared
        self._db = sqlite3.connect(folder / f"floor-{shared}.db", isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE journal(position INTEGER PRIMARY KEY, saga, step, entry BLOB)")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._free: list[socket.socket] = []
        self._stack = contextlib.ExitStack()
        for _ in range(workers):
            self._add_worker()

    def _add_worker(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.benchmarks.floor", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        self._stack.callback(process.wait, 10)
        self._stack.callback(ours.close)
        ours.send(msgpack.packb([0, 0]))  # warm: it has imported what it needs
        if not select.select([ours], [], [], _PATIENCE_S)[0]:
            raise TimeoutError("a worker of the floor does not start")
        ours.recv(4096)
        self._processes.append(process)
        self._free.append(ours)

    def run(self, sagas: int, at_once: int, limit_s: float) -> Sample:
        """Sagas of three steps, so many at once; after ``limit_s`` nothing more is begun."""
        before = self._cpu()
        start = time.perf_counter()
        begun: dict[int, float] = {}
        each: list[float] = []
        news: list[tuple[int, int]] = []
        waiting: deque[tuple[int, int]] = deque()
        busy: dict[socket.socket, None] = {}
        while True:
            now = time.perf_counter()
            while len(begun) - len(each) < at_once and len(begun) < sagas and now - start <= limit_s:
                begun[len(begun)] = now
                news.append((len(begun) - 1, 0))
            for batch in [news] if self._shared else [[one] for one in news]:
                self._commit(batch)
                for saga, step in batch:
                    if step == STEPS:
                        each.append(time.perf_counter() - begun[saga])
                    else:
                        waiting.append((saga, step))
                while waiting and self._free:
                    worker = self._free.pop()
                    worker.send(msgpack.packb(waiting.popleft()))
                    busy[worker] = None
            news = []
            if busy:
                news = self._answers(busy)
            elif len(begun) == sagas or time.perf_counter() - start > limit_s:
                break
        after = self._cpu()
        return Sample(each, time.perf_counter() - start, {kind: after[kind] - before[kind] for kind in after})

    def _answers(self, busy: dict[socket.socket, None]) -> list[tuple[int, int]]:
        ready = select.select(list(busy), [], [], _PATIENCE_S)[0]
        if not ready:
            raise TimeoutError("no worker of the floor answers")
        news = []
        for worker in ready:
            saga, step = msgpack.unpackb(worker.recv(4096))
            news.append((saga, step + 1))
            del busy[worker]
            self._free.append(worker)
        return news

    def _commit(self, batch: list[tuple[int, int]]) -> None:
        if not batch:
            return
        self._db.execute("BEGIN IMMEDIATE")
        rows = [(saga, step, b"x" * 200) for saga, step in batch for _ in range(2)]  # a result and the next intent
        self._db.executemany("INSERT INTO journal(saga, step, entry) VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")

    def _cpu(self) -> dict[str, float]:
        return {"loop": cpu_of(os.getpid()), "step": sum(cpu_of(process.pid) for process in self._processes)}

    def close(self) -> None:
        """End the workers."""
        self._stack.close()
        self._db.close()


def work(connection: socket.socket) -> None:
    """Answer every message, until the other end is closed."""
    while message := connection.recv(4096):
        answer: Any = msgpack.unpackb(message)
        connection.send(msgpack.packb(answer))


if __name__ == "__main__":
    work(socket.socket(fileno=int(sys.argv[1])))
