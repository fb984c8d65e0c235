"""One incarnation of the actor system of a home: started by the launcher, watched, and ended as a whole."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from thespian.actors import ActorSystem, ActorSystemException

from antistrophe.actors.supervisor.supervisor import SupervisorActor
from antistrophe.errors import AntistropheError, OverloadedError
from antistrophe.linux.process import ProcessIdentity, children_of, identity_of, open_pidfd
from antistrophe.linux.process_title import set_title
from antistrophe.messages import AttachedClients, Configuration, SupervisorReady
from antistrophe.transport.address import path_of
from antistrophe.transport.mailbox import Mailbox
from antistrophe.transport.system_base import UnixSystemBase, admin_and_logger

_START_S = 10.0
CONFIGURE_AGAIN_S = 2.0

ASK_S = 4.0
"""How often a supervisor that is ready is asked whether it still answers."""

QUESTIONS = 5
"""So many questions in a row without an answer, and a living supervisor counts as dead: it is deaf, or hangs."""


class IncarnationEndedError(Exception):
    """This incarnation of the actor system has ended, or could not start; the text says why."""


class Incarnation:
    """Thespian's Admin and logger, and our supervisor below them. ``ready`` is the supervisor's message that it takes
    requests, None before it came."""

    def __init__(self, folder: Path, configuration: Configuration) -> None:
        self._folder = folder
        self._configuration = configuration
        self._base: UnixSystemBase | None = None
        self._mailbox: Mailbox | None = None
        self._pidfds: dict[str, int] = {}
        self._configure_at = 0.0
        self._unanswered = 0
        self.ready: SupervisorReady | None = None
        self.supervisor = ""
        self.pids: dict[str, int] = {}

    def start(self) -> None:
        """Start all processes of the system, within 10 s. Raises IncarnationEndedError.

        Only for the main thread: the processes die with the thread that started them.
        """
        try:
            with _bounded(_START_S):
                self._start_processes()
        except (AntistropheError, ActorSystemException, ImportError, OSError) as error:
            raise IncarnationEndedError(f"the actor system could not be started: {error}") from error

    def _start_processes(self) -> None:
        home = self._configuration.home
        set_title("system", home)  # the Admin and the logger are forked now, and keep it
        log_folder = Path(home) / "log"
        log_bytes = self._configuration.settings.log_bytes
        self._base = UnixSystemBase(self._folder, log_folder=log_folder, log_bytes=log_bytes, timeout_s=_START_S)
        admin, logger = admin_and_logger(self._folder)
        self._watch("admin", admin)
        self._watch("logger", logger)
        set_title("launcher", home)
        address = ActorSystem(self._base, transientUnique=True).createActor(SupervisorActor)
        # Thespian does not tell the pid of an actor. Its Admin has two children: the logger and the new actor.
        children = [pid for pid in children_of(self.pids["admin"]) if pid != self.pids["logger"]]
        self._watch("supervisor", identity_of(children[0]) if children else None)
        self.supervisor = path_of(address) or ""
        self._mailbox = Mailbox(self.supervisor, self._base.transport)
        self._mailbox.send(self._configuration)
        self._configure_at = time.monotonic() + CONFIGURE_AGAIN_S

    def configure_again(self) -> None:
        """Send the configuration again to a supervisor that is not ready, every 2 s: the message or its answer may be
        lost."""
        if time.monotonic() >= self._configure_at:
            self._configure_at = time.monotonic() + CONFIGURE_AGAIN_S
            self.send(self._configuration)

    def ask(self, clients: Callable[[], AttachedClients]) -> float:
        """Ask a supervisor that is ready whether it still answers, where that is due, and tell it who is attached.
        Returns in how many seconds it is due again.

        Questions are counted, not seconds: while the launcher itself was stopped, nothing was asked.
        """
        while self.receive(0.0) is not None:
            self._unanswered = 0
        now = time.monotonic()
        if now >= self._configure_at:
            self._configure_at = now + ASK_S
            self._unanswered += 1
            self.send(self._configuration)  # one that is ready answers it with SupervisorReady
            self.send(clients())
        return self._configure_at - now

    def _watch(self, role: str, identity: ProcessIdentity | None) -> None:
        pidfd = None if identity is None else open_pidfd(identity)
        if identity is None or pidfd is None:
            raise IncarnationEndedError(f"the {role} died as soon as it was started")
        self.pids[role] = identity.pid
        self._pidfds[role] = pidfd

    @property
    def pidfds(self) -> dict[str, int]:
        """The pidfds to poll, by role. A readable one means that the process is dead."""
        return dict(self._pidfds)

    def over(self) -> str | None:
        """Why this incarnation is over: a process died, or the supervisor does not answer; None while it goes on."""
        if roles := self.dead():
            return f"the {' and the '.join(roles)} died"
        if self._unanswered > QUESTIONS:
            return f"the supervisor lives but has not answered for {QUESTIONS * ASK_S:g} s"
        return None

    def dead(self) -> list[str]:
        """The roles of the processes that are dead. Who died first of several can't be told."""
        poll = select.poll()
        for pidfd in self._pidfds.values():
            poll.register(pidfd, select.POLLIN)
        gone = {pidfd for pidfd, _ in poll.poll(0)}
        return [role for role, pidfd in self._pidfds.items() if pidfd in gone]

    def send(self, message: Any) -> None:
        """Send a message to the supervisor. The message is dropped where the supervisor has a thousand unread messages:
        it hangs then, and no message of the launcher is vital."""
        if self._mailbox is not None:
            with contextlib.suppress(OverloadedError):
                self._mailbox.send(message)

    def receive(self, timeout_s: float, beside: int | None = None) -> Any:
        """The next message from the supervisor, or None; also None as soon as the descriptor ``beside`` can be read."""
        return None if self._mailbox is None else self._mailbox.receive(timeout_s, beside)

    def close(self) -> None:
        """Close the descriptors and the mailbox. The launcher's sweep ends the processes."""
        self.drop_descriptors()
        if self._base is not None:
            self._base.close()
            self._base = self._mailbox = None

    def drop_descriptors(self) -> None:
        """Close the pidfds."""
        for pidfd in self._pidfds.values():
            with contextlib.suppress(OSError):
                os.close(pidfd)
        self._pidfds.clear()


@contextlib.contextmanager
def _bounded(seconds: float) -> Iterator[None]:
    """End the block after so many seconds: Thespian waits up to 50 s for an answer that does not come."""

    def too_long(_signal: int, _frame: FrameType | None) -> None:
        raise IncarnationEndedError(f"the actor system did not start within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
