"""Messages between two actors: our base beside Thespian's and a floor of a few lines, taking turns in one run.

Usage: python -m tests.benchmarks.bench_messages [--runs N] [--peers N] [--bases NAME ...] [--codec]

The floor is a socket pair, a loop of two processes and msgpack. Each other row is two actors in processes of their own:
one sends a message of the runtime, the other sends it back. All systems are up during the whole run, and are measured
in turns.

With --codec, only packing and unpacking are measured, beside msgpack alone, which checks nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgpack
from thespian.actors import Actor, ActorAddress, ActorSystem, ChildActorExited

from antistrophe import messages
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.linux import termination
from antistrophe.messages import Rejected
from antistrophe.saga.entries import Action, Lease
from antistrophe.saga.inputs import Returned
from antistrophe.transport.address import address_of
from antistrophe.transport.codec import pack_message, unpack_message
from antistrophe.transport.system_base import UnixSystemBase

WAIT_S = 120.0
ADMIN_PORT = 19_017  # of the TCP base only
ASKS = 200
SLOWER = 8  # so many times fewer round trips for the bases that need so many times longer
BASES = ("raw", "unix", "tcp", "queue")
NAMES = {
    "raw": "Unix socket + msgpack",
    "unix": "antistrophe",
    "tcp": "multiprocTCPBase",
    "queue": "multiprocQueueBase",
}
ROWS: dict[str, tuple[int, int, int]] = {  # bytes, round trips, in flight
    "round trip": (10, 2000, 1),
    "8 in flight": (10, 4000, 8),
    "64 in flight": (10, 4000, 64),
    "100 KB": (100_000, 200, 1),
    "1 MB": (10**6, 30, 1),
}


class Ponger(Actor):
    """Sends back what it gets."""

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:  # noqa: N802 - Thespian's name
        if isinstance(message, (Rejected, str)):
            self.send(sender, message)


class Pinger(Actor):
    """Plays ping-pong on demand, and counts; has children on demand, and sees them die."""

    asker: ActorAddress
    order: dict[str, Any]
    then: Callable[[], None]
    child: ActorAddress | None
    late: list[float]

    def receiveMessage(self, message: Any, sender: ActorAddress) -> None:  # noqa: N802 - Thespian's name
        if isinstance(message, Rejected):
            self._returned()
        elif isinstance(message, dict):
            self.asker = sender
            getattr(self, f"do_{message['what']}")(message)
        elif isinstance(message, str):
            self._greeted()
        elif isinstance(message, ChildActorExited) and message.childAddress == self.child:
            self.late.append(1e3 * (time.perf_counter() - self.killed_at))
            self.child = None
            self._next_death()

    def do_play(self, order: dict[str, Any]) -> None:
        self.order, self.sent, self.returned = order, 0, 0
        self.began_at, self.cpu_at = time.perf_counter(), time.process_time()
        for _ in range(order["window"]):
            self._serve()

    def _serve(self) -> None:
        if self.sent < self.order["rounds"]:
            self.sent += 1
            self.send(self.order["ponger"], Rejected("correlation", "name", self.order["payload"]))

    def _returned(self) -> None:
        self.returned += 1
        if self.returned == self.order["rounds"]:
            wall, cpu = time.perf_counter() - self.began_at, time.process_time() - self.cpu_at
            self.send(self.asker, [1e6 * wall / self.returned, 1e6 * cpu / self.returned])
        else:
            self._serve()

    def do_peers(self, order: dict[str, Any]) -> None:
        self.left = order["count"]
        self.then = lambda: self.send(self.asker, ["made"])
        for _ in range(order["count"]):
            self.send(self.createActor(Ponger), "hello")

    def do_alarms(self, order: dict[str, Any]) -> None:
        for number in range(order["count"]):
            self.wakeupAfter(600 + number, "never")
        self.send(self.asker, ["set"])

    def do_deaths(self, order: dict[str, Any]) -> None:
        self.left_to_die, self.late = order["count"], []
        self._next_death()

    def _next_death(self) -> None:
        if self.left_to_die == 0:
            self.send(self.asker, [statistics.median(self.late), max(self.late)])
            return
        self.left_to_die -= 1
        self.left, self.then = 1, self._kill
        self.child = self.createActor(Ponger)
        self.process = child_process(self, self.child)
        self.send(self.child, "hello")

    def _kill(self) -> None:
        assert self.process is not None
        self.killed_at = time.perf_counter()
        self.process.kill()

    def _greeted(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.then()


# --- one of them, in a process of its own ---------------------------------------------------------------------------


def serve(base: str, folder: Path) -> None:
    """Carry out one order of JSON for each line of standard input."""
    with raw_player() if base == "raw" else actors_player(base, folder) as play:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        for line in sys.stdin:
            sys.stdout.write(json.dumps(play(json.loads(line))) + "\n")
            sys.stdout.flush()


@contextlib.contextmanager
def actors_player(base: str, folder: Path) -> Iterator[Callable[[dict[str, Any]], Any]]:
    if base == "unix":
        actor_system = ActorSystem(UnixSystemBase(folder), transientUnique=True)
    else:
        capabilities = {"Admin Port": ADMIN_PORT} if base == "tcp" else {}
        actor_system = ActorSystem(f"multiproc{NAMES[base][9:]}", capabilities, transientUnique=True)
    ponger, pinger = actor_system.createActor(Ponger), actor_system.createActor(Pinger)

    def play(order: dict[str, Any]) -> Any:
        if base != "unix":
            order = {**order, "rounds": order.get("rounds", 0) // SLOWER + 8}
        if order["what"] == "ask":
            return _asked(actor_system, ponger)
        extra = {"ponger": ponger, "payload": "x" * order["size"]} if order["what"] == "play" else {}
        return actor_system.ask(pinger, {**order, **extra}, WAIT_S)

    yield play
    actor_system.shutdown()


def _asked(actor_system: ActorSystem, ponger: ActorAddress) -> list[float]:
    asked = []
    for _ in range(ASKS):
        began_at = time.perf_counter()
        actor_system.ask(ponger, "hello", WAIT_S)
        asked.append(1e6 * (time.perf_counter() - began_at))
    return [statistics.median(asked), 0.0]


@contextlib.contextmanager
def raw_player() -> Iterator[Callable[[dict[str, Any]], Any]]:
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _echo(theirs)
        os._exit(0)
    theirs.close()
    yield lambda order: _play_raw(ours, order)
    ours.close()
    os.waitpid(child, 0)


def _echo(sock: socket.socket) -> None:
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    while data := sock.recv(65_536):
        unpacker.feed(data)
        for message in unpacker:
            sock.sendall(msgpack.packb(message))


def _play_raw(sock: socket.socket, order: dict[str, Any]) -> list[float] | None:
    if order["what"] != "play":
        return None
    unpacker, payload = msgpack.Unpacker(max_buffer_size=0), "x" * order["size"]
    began_at, cpu_at = time.perf_counter(), time.process_time()
    for _ in range(order["window"]):
        sock.sendall(msgpack.packb(("Rejected", "correlation", "name", payload)))
    sent, returned = order["window"], 0
    while returned < order["rounds"]:
        unpacker.feed(sock.recv(65_536))
        for _ in unpacker:
            returned += 1
            if sent < order["rounds"]:
                sock.sendall(msgpack.packb(("Rejected", "correlation", "name", payload)))
                sent += 1
    wall, cpu = time.perf_counter() - began_at, time.process_time() - cpu_at
    return [1e6 * wall / returned, 1e6 * cpu / returned]


# --- the codec alone ------------------------------------------------------------------------------------------------

_ORIGIN = Origin("/srv/shop.py", ("/srv", "/usr/lib/python3.11"), "/srv")
_LEASE = Lease("a" * 32, 4711, 123_456, "b" * 36)
_STEPS = tuple(
    StepSpec(
        name,
        f"shop:{name}",
        b"x" * 60,
        10.0,
        1.0,
        RetryPolicy(),
        3,
        10.0,
        RetryPolicy(),
        False,
        False,
        True,
        False,
        False,
    )
    for name in ("Debit", "Credit", "Ship")
)
SAMPLES: tuple[Any, ...] = (
    messages.Accepted("c" * 32, "saga", 5),
    messages.StartSaga("c" * 32, "r" * 32, "k" * 32, SagaSpec("saga", "transfer", None, True, _STEPS, _ORIGIN)),
    messages.ProcessGrant("saga", _LEASE, address_of("/run/peer")),
    messages.StepAnswer("saga", 0, Action.EXECUTE, 1, "a" * 32, Returned(b"x" * 40)),
)


def measure_codec(runs: int) -> None:
    """Print the least µs of CPU that packing and unpacking one message took, and what msgpack alone took."""
    print(f"{'least CPU in µs of':24}{'pack':>10}{'unpack':>10}{'msgpack':>10}{'unpack':>10}")
    for message in SAMPLES:
        frame = pack_message(message)
        row = msgpack.unpackb(frame)
        ways: tuple[Callable[[], Any], ...] = (
            lambda message=message: pack_message(message),  # type: ignore[misc]
            lambda frame=frame: unpack_message(frame),  # type: ignore[misc]
            lambda row=row: msgpack.packb(row),  # type: ignore[misc]
            lambda frame=frame: msgpack.unpackb(frame),  # type: ignore[misc]
        )
        took = [min(timeit.repeat(way, time.process_time, number=2_000, repeat=runs)) / 2_000 for way in ways]
        print(f"{type(message).__name__:24}" + "".join(f"{1e6 * each:10.2f}" for each in took), flush=True)


# --- all of them, in turns ------------------------------------------------------------------------------------------


class Player:
    """A process that carries out orders."""

    def __init__(self, base: str, folder: Path) -> None:
        self.base = base
        folder.mkdir()
        command = [sys.executable, "-m", "tests.benchmarks.bench_messages", "--serve", base, "--folder", str(folder)]
        environment = {**termination.system_environment(folder.parent, os.environ), "THESPIAN_BASE_IPADDR": "127.0.0.1"}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready\n"

    def order(self, what: str, **details: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **details}) + "\n")
        self._process.stdin.flush()
        return json.loads(self._read())

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def measure(players: list[Player], runs: int, label: str, what: str, **details: Any) -> None:
    """One row of the table: medians of all, and what they are times the floor's and of the TCP base's."""
    found: dict[str, list[list[float]]] = {player.base: [] for player in players}
    for _ in range(runs):
        for player in players:
            answer = player.order(what, **details)
            if answer is not None:
                found[player.base].append(answer)
    middle = {base: statistics.median(row[0] for row in rows) for base, rows in found.items() if rows}
    cells = []
    for base in BASES:
        value = middle.get(base)
        text = "-" if value is None else f"{value:.{1 if value < 10 else 0}f} {_spread(found[base])}"
        cells.append(f"{text:>24}")
    ours = middle.get("unix")
    to_floor = f"{ours / middle['raw']:8.1f}x" if ours and "raw" in middle else f"{'-':>9}"
    to_tcp = f"{middle['tcp'] / ours:8.1f}x" if ours and "tcp" in middle else f"{'-':>9}"
    cpu = {base: statistics.median(row[1] for row in rows) for base, rows in found.items() if rows}
    to_cpu = f"{cpu['unix'] / cpu['raw']:8.1f}x" if cpu.get("raw") and "unix" in cpu else f"{'-':>9}"
    print(f"{label:24}" + "".join(cells) + to_floor + to_cpu + to_tcp, flush=True)


def _spread(rows: list[list[float]]) -> str:
    low, high = min(row[0] for row in rows), max(row[0] for row in rows)
    digits = 1 if high < 10 else 0
    return f"({low:.{digits}f}-{high:.{digits}f})"


def play_all(players: list[Player], runs: int, peers: int) -> None:
    print(f"median of {runs} runs (least-most), in µs for each round trip; all in turns", flush=True)
    heads = "".join(f"{NAMES[base]:>24}" for base in BASES)
    print(f"{'':24}{heads}{'of floor':>9}{'its CPU':>9}{'TCP/ours':>9}")
    for label, (size, rounds, window) in ROWS.items():
        # Thespian's bases stand still where more than 20 messages are under way.
        able = [player for player in players if window < 20 or player.base in ("raw", "unix")]
        measure(able, runs, label, "play", size=size, rounds=rounds, window=window)
    measure(players, runs, "asked by an application", "ask")
    actors = [player for player in players if player.base not in ("raw", "queue")]
    for count in (1_000, 10_000):
        for player in actors:
            player.order("alarms", count=count - (1_000 if count > 1_000 else 0))
        measure(actors, runs, f"{count:,} pending wakeups", "play", size=10, rounds=500, window=1)
    for player in actors:
        player.order("peers", count=peers)
    measure(actors, runs, f"{peers} children", "play", size=10, rounds=500, window=1)
    print("in ms, until a parent hears of a death:", flush=True)
    measure(actors, 3, f"{peers} other children", "deaths", count=20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--peers", type=int, default=100)
    parser.add_argument("--bases", nargs="+", choices=BASES, default=BASES)
    parser.add_argument("--codec", action="store_true", help="measure packing and unpacking alone")
    parser.add_argument("--serve", choices=BASES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder)
        return
    if arguments.codec:
        measure_codec(arguments.runs)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        try:
            play_all([Player(base, Path(folder, base)) for base in arguments.bases], arguments.runs, arguments.peers)
        finally:
            termination.sweep(folder, deadline_s=10)


if __name__ == "__main__":
    main()
