"""Message round trips between two actors: our base beside Thespian's TCP base, in one run.

Usage: python -m tests.benchmarks.bench_messages [--runs N] [--peers N]
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from thespian.actors import Actor, ActorAddress, ActorSystem

from antistrophe import process
from antistrophe.system.base import UnixSystemBase

WAIT_S = 120.0
ADMIN_PORT = 19_017  # of the TCP base only


class Ponger(Actor):
    """Sends back what it gets; told "quiet", it says hello and then nothing."""

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:  # noqa: N802 - Thespian's name
        if isinstance(message, (tuple, str)):
            self.send(sender, message)


class Pinger(Actor):
    """Plays ping-pong on demand, and counts."""

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:  # noqa: N802 - Thespian's name
        if isinstance(message, dict):
            self.order, self.asker, self.left = message, sender, message["rounds"]
            self.sent = self.returned = 0
            self.began_at, self.cpu_at = time.perf_counter(), time.process_time()
            for _ in range(message["window"]):
                self._serve()
        elif isinstance(message, tuple):
            self.returned += 1
            if self.returned == self.order["rounds"]:
                wall, cpu = time.perf_counter() - self.began_at, time.process_time() - self.cpu_at
                self.send(self.asker, [1e6 * wall / self.returned, 1e6 * cpu / self.returned])
            else:
                self._serve()
        elif isinstance(message, int):
            for _ in range(message):
                self.send(self.createActor(Ponger), "quiet")
            self.send(sender, "made")

    def _serve(self) -> None:
        if self.sent < self.order["rounds"]:
            self.sent += 1
            self.send(self.order["ponger"], (self.sent, self.order["payload"]))


def measure(actor_system: ActorSystem, name: str, runs: int, peers: int) -> None:
    ponger, pinger = actor_system.createActor(Ponger), actor_system.createActor(Pinger)
    rows = [
        ("10 B", 10, 2000, 1),
        ("10 B, 8 in flight", 10, 2000, 8),
        ("100 KB", 100_000, 200, 1),
        ("1 MB", 10**6, 50, 1),
    ]
    _table(actor_system, name, runs, ponger, pinger, rows)
    with actor_system.private() as private:
        assert private.ask(pinger, peers, WAIT_S) == "made"
    _table(actor_system, name, runs, ponger, pinger, [(f"10 B, {peers} other peers", 10, 2000 // 4, 1)])
    asked = []
    for _ in range(200):
        began_at = time.perf_counter()
        actor_system.ask(ponger, (0, "x"), WAIT_S)
        asked.append(1e6 * (time.perf_counter() - began_at))
    print(f"{name:6}  {'ask by an application':24} {statistics.median(asked):9.0f} µs")


def _table(
    actor_system: ActorSystem,
    name: str,
    runs: int,
    ponger: ActorAddress,
    pinger: ActorAddress,
    rows: list[tuple[str, int, int, int]],
) -> None:
    for label, size, rounds, window in rows:
        order = {"ponger": ponger, "payload": "x" * size, "rounds": rounds, "window": window}
        found = [actor_system.ask(pinger, order, WAIT_S) for _ in range(runs)]
        wall = [row[0] for row in found]
        cpu = statistics.median(row[1] for row in found)
        low, middle, high = min(wall), statistics.median(wall), max(wall)
        print(
            f"{name:6}  {label:24} {middle:9.0f} µs  ({low:.0f} to {high:.0f})  {cpu:7.0f} µs CPU in each", flush=True
        )


def play(base: str, folder: Path, runs: int, peers: int) -> None:
    if base == "unix":
        actor_system = ActorSystem(UnixSystemBase(folder), transientUnique=True)
    else:
        actor_system = ActorSystem("multiprocTCPBase", {"Admin Port": ADMIN_PORT}, transientUnique=True)
    measure(actor_system, base, runs, peers)
    actor_system.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--base", choices=["unix", "tcp"], help="only this one, started in --folder")
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    if arguments.base:
        play(arguments.base, arguments.folder, arguments.runs, arguments.peers)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    print(f"median of {arguments.runs} runs (least to most): per round trip", flush=True)
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        environment = {**process.system_environment(folder, os.environ), "THESPIAN_BASE_IPADDR": "127.0.0.1"}
        try:
            for base in ("unix", "tcp"):
                command = [sys.executable, "-m", "tests.benchmarks.bench_messages", "--base", base, "--folder", folder]
                numbers = ["--runs", str(arguments.runs), "--peers", str(arguments.peers)]
                subprocess.run([*command, *numbers], env=environment, check=True)
        finally:
            process.sweep(folder, deadline_s=10)


if __name__ == "__main__":
    main()
