"""The cast of the tests of the system base: a launcher program, and actors that do what a test tells them."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from thespian.actors import (
    Actor,
    ActorAddress,
    ActorSystem,
    ChildActorExited,
    ThespianWatch,
    WakeupMessage,
    WatchMessage,
)

from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.linux import process, termination
from antistrophe.transport.sockets import existing_socket_folder, socket_folder
from antistrophe.transport.system_base import UnixSystemBase
from tests.killing import await_end

ROOT = Path(__file__).parents[2]
SEARCH_PATH = os.pathsep.join([str(Path(process.__file__).parents[1]), str(ROOT)])  # the very code under test
WAIT_S = 20.0


class Player(Actor):
    """Does what it is told: a message is ``(verb, *arguments)``; most answer the sender."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Any] = []
        self.children: list[tuple[ActorAddress, Any]] = []
        self.exitcodes: dict[int, int | None] = {}
        self.watched: tuple[int, ...] = ()
        self.used_up: list[int] = []

    def receiveMessage(self, message: Any, sender: ActorAddress) -> ThespianWatch | None:  # noqa: N802
        if isinstance(message, ChildActorExited):
            self._on_exit(message.childAddress)
        elif isinstance(message, WakeupMessage):
            self.heard.append(("woke", message.payload, time.monotonic()))
        elif isinstance(message, WatchMessage):
            self.heard.append(("ready", [os.read(fd, 100) for fd in message.ready]))
        elif isinstance(message, tuple):
            getattr(self, f"do_{message[0]}")(sender, *message[1:])
        return ThespianWatch(list(self.watched)) if self.watched else None

    def _on_exit(self, dead: ActorAddress) -> None:
        for number, (address, child) in enumerate(self.children):
            if number not in self.exitcodes and address == dead:
                self.heard.append(("exited", number, time.monotonic()))
                self.exitcodes[number] = child.exitcode
                self.children[number] = (address, None)  # the process object holds two descriptors

    def do_echo(self, sender: ActorAddress, value: Any) -> None:
        self.send(sender, value)

    def do_pid(self, sender: ActorAddress) -> None:
        self.send(sender, (os.getpid(), os.getppid()))

    def do_who(self, sender: ActorAddress) -> None:
        self.send(sender, self.myAddress)

    def do_child(self, sender: ActorAddress, kind: str = "Player", *, kill_at_once: bool = False) -> None:
        address = self.createActor(globals()[kind])
        child = child_process(self, address)
        assert child is not None
        assert child.pid is not None
        if kill_at_once:
            os.kill(child.pid, signal.SIGKILL)
        self.children.append((address, child))
        self.send(sender, child.pid)

    def do_stillborn(self, sender: ActorAddress) -> None:
        self.do_child(sender, kill_at_once=True)

    def do_tell(self, _sender: ActorAddress, number: int, message: Any) -> None:
        self.send(self.children[number][0], message)

    def do_forward(self, _sender: ActorAddress, to: ActorAddress, message: Any, times: int = 1) -> None:
        for _ in range(times):
            self.send(to, message)

    def do_kill(self, _sender: ActorAddress, number: int) -> None:
        self.heard.append(("killed", number, time.monotonic()))
        self.children[number][1].kill()

    def do_exitcode(self, sender: ActorAddress, number: int) -> None:
        self.send(sender, self.exitcodes[number])

    def do_hear(self, _sender: ActorAddress, what: Any) -> None:
        self.heard.append(what)

    def do_heard(self, sender: ActorAddress) -> None:
        self.send(sender, list(self.heard))

    def do_last_words(self, sender: ActorAddress, words: int, how: str) -> None:
        for number in range(words):
            self.send(sender, ("hear", number))
        if how == "signal":
            os.kill(os.getpid(), signal.SIGKILL)
        os._exit(int(how))

    def do_wake(self, _sender: ActorAddress, *delays_s: float) -> None:
        for delay_s in delays_s:
            self.wakeupAfter(timedelta(seconds=delay_s), delay_s)

    def do_sleep(self, _sender: ActorAddress, seconds: float) -> None:
        time.sleep(seconds)

    def do_watch(self, _sender: ActorAddress, *paths: str) -> None:
        self.watched = tuple(os.open(path, os.O_RDONLY | os.O_NONBLOCK) for path in paths)

    def do_close_watched(self, sender: ActorAddress) -> None:
        for fd in self.watched:
            os.close(fd)
        self.send(sender, "closed")

    def do_descriptors(self, sender: ActorAddress) -> None:
        self.send(sender, len(os.listdir("/proc/self/fd")))

    def do_fork(self, sender: ActorAddress, folder: str) -> None:
        """What user code may do: a fork that goes on with files and children of its own."""
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            sockets = sockets_of(os.getpid())
            # Files of the child's own, with the numbers that our sockets had.
            files = [os.open(f"{folder}/{number}", os.O_CREAT | os.O_RDWR) for number in range(20)]
            grandchild = os.fork()
            if grandchild == 0:
                os._exit(0)
            os.waitpid(grandchild, 0)  # SIGCHLD comes to the handler that Thespian had installed
            written = sum(os.fstat(file).st_size for file in files)
            os.write(write_end, repr((sockets, written)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        self.send(sender, os.read(read_end, 100_000).decode())
        os.close(read_end)
        os.close(write_end)

    def do_use_up_descriptors(self, sender: ActorAddress) -> None:
        """Have none left."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 200), hard))
        with contextlib.suppress(OSError):
            while True:
                self.used_up.append(os.open("/dev/null", os.O_RDONLY))
        self.send(sender, len(self.used_up))

    def do_release_descriptors(self, sender: ActorAddress) -> None:
        for fd in self.used_up:
            os.close(fd)
        self.send(sender, "done")


class System:
    """One actor system, started by a launcher process of its own; the test attaches to it."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        environment = termination.system_environment(home, {**os.environ, "PYTHONPATH": SEARCH_PATH})
        self.launcher = subprocess.Popen(
            [sys.executable, "-m", __name__, str(home)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.launcher.stdout is not None
        assert self.launcher.stdout.readline() == "ready\n", "the system did not start"
        folder = existing_socket_folder(home)
        assert folder is not None
        self.folder = folder

    def attach(self) -> ActorSystem:
        return ActorSystem(UnixSystemBase(self.folder, attach_only=True), transientUnique=True)

    def stop(self) -> None:
        """Stop the way a launcher does: politely, then by a sweep. Fails when the polite way left something."""
        assert self.launcher.stdin is not None
        self.launcher.stdin.close()
        assert self.launcher.wait(WAIT_S) == 0
        await_end(self.home)

    def close(self) -> None:
        self.launcher.kill()
        self.launcher.wait(WAIT_S)
        for pipe in (self.launcher.stdin, self.launcher.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        assert termination.sweep(self.home, deadline_s=WAIT_S) == []


@contextlib.contextmanager
def attached(system: System) -> Iterator[ActorSystem]:
    """An application's view of a system."""
    actor_system = system.attach()
    try:
        yield actor_system
    finally:
        actor_system._systemBase.close()


def heard(actor_system: ActorSystem, player: ActorAddress, count: int) -> list[Any]:
    """What a player has heard, once it is that much."""
    end = time.monotonic() + WAIT_S
    while len(found := actor_system.ask(player, ("heard",), WAIT_S)) < count:
        assert time.monotonic() < end, f"only {found} was heard"
        time.sleep(0.005)
    return list(found)


def sockets_of(pid: int) -> list[int]:
    """The inodes of the sockets that a process has open."""
    found = []
    for entry in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            target = str(Path(f"/proc/{pid}/fd/{entry}").readlink())
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    return found


def main() -> None:
    """The launcher: starts the system, says so, and stops it when its standard input ends."""
    home = Path(sys.argv[1])
    base = UnixSystemBase(socket_folder(home), log_folder=home / "log")
    actor_system = ActorSystem(base, transientUnique=True)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    actor_system.shutdown()


if __name__ == "__main__":
    main()
