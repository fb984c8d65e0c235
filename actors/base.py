"""The base of all actors: what every process of the system does first, and how a message reaches its handler."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

from thespian.actors import Actor

from antistrophe.errors import NotSerializableError, PayloadTooLargeError
from antistrophe.linux.descriptor import OpenFile, files_behind
from antistrophe.linux.log_file import LogFile
from antistrophe.linux.process import (
    die_with_parent,
    ignore_file_size_signal,
    restore_ending_signals,
    restore_fatal_signals,
)
from antistrophe.linux.process_title import set_title
from antistrophe.messages import Address, Configuration, Rejected
from antistrophe.serialization.log_lines import formatter
from antistrophe.settings import Settings

Handler = Callable[[Any, Address], None]

log = logging.getLogger("antistrophe")

EXIT_AFTER_A_BUG = 70
"""The exit code of an actor that could not handle a message (EX_SOFTWARE of sysexits.h)."""

_this_process = os.getpid()
# Python's own loggers, kept before Thespian puts others in their place.
_ROOT, _MANAGER = logging.root, logging.Logger.manager


class RuntimeActor(Actor):
    """Hands each message to its handler, once.

    An actor whose handler raises ends its process: its supervisor starts another from the journal, which is the only
    truth. (Thespian alone would deliver the message again.) ``role`` is what people see of its process.
    """

    role: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        global _this_process
        # A fork inherits this value from its parent, so the child can tell whether its parent is still there.
        parent_pid, _this_process = _this_process, os.getpid()
        self.parent_pid = parent_pid
        restore_fatal_signals()
        # Thespian would ask the children to exit and wait for each of them; meanwhile this actor would be deaf. The
        # journal has everything, so there is nothing to do before the end.
        restore_ending_signals()
        # Thespian would log each write that a limit of a file's size refuses: thousands of lines, like a full disk's.
        ignore_file_size_signal()
        self.base: Configuration | None = None
        self._handlers: dict[type, Handler] = dict(self.handlers())
        self._own_files: dict[bool, tuple[int, dict[int, OpenFile | None]]] = {}

    def handlers(self) -> Mapping[type, Handler]:
        """The handler for each type of message. A message of another type is ignored."""
        raise AssertionError("every actor says what it handles")

    def receiveMessage(self, message: Any, sender: Address) -> None:  # noqa: N802 - Thespian's name
        """Thespian calls this with each message."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return
        try:
            handler(message, sender)
        except BaseException:
            log.exception("%s can't handle %s", type(self).__name__, type(message).__name__)
            logging.shutdown()
            os._exit(EXIT_AFTER_A_BUG)

    def send(self, target: Address, message: Any) -> None:
        """Send a message. One that can't be sent, because it is too large or holds what can't travel, fails alone: the
        log says so, and whoever waits for it as an answer gets the refusal in its place."""
        try:
            super().send(target, message)
        except (NotSerializableError, PayloadTooLargeError) as error:
            kind = type(message).__name__
            log.error("a message (%s) can't be sent: %s", kind, error)
            correlation = getattr(message, "correlation", None)
            if correlation is not None:
                text = f"the answer ({kind}) can't be sent: {error}"
                super().send(target, Rejected(correlation, type(error).__name__, text))

    def also_handle(self, handlers: Mapping[type, Handler]) -> None:
        """Handle these types of messages, too, from now on."""
        self._handlers |= handlers

    def more_is_waiting(self) -> bool:
        """Whether another message for this actor is there already, so that ``receiveMessage`` is called next without a
        wait.

        An actor may postpone work while this is true, to do it once for several messages. It must do the work when this
        is false. The question costs one look at the sockets.
        """
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - an attribute of Thespian's that its stubs do not know
        return bool(manager.transport.more_is_waiting(self._handlers))

    def make_ready_for(self, classes: Collection[type]) -> None:
        """Make what reads and writes these messages, so that the forks of this process need not."""
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - an attribute of Thespian's that its stubs do not know
        manager.transport.prepare(classes)

    def own_files(self, *, connections: bool) -> dict[int, OpenFile | None]:
        """What is open under the numbers through which this actor receives and, with ``connections``, sends, as it was
        when the last of them came or went."""
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - an attribute of Thespian's that its stubs do not know
        transport = manager.transport
        changes, known = self._own_files.get(connections, (-1, {}))
        if changes != transport.changes:
            others = transport.protectedFileNumList() if connections else ()
            changes, known = transport.changes, files_behind({*transport.lasting_filenos, *others})
            self._own_files[connections] = changes, known
        return known

    def hand_over(self, message: Any) -> None:
        """Have this actor receive a message that does not travel. Any thread of this process may call this."""
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - an attribute of Thespian's that its stubs do not know
        manager.transport.hand_over(message)

    def configure(self, base: Configuration) -> None:
        """Take the configuration, which is the first message of every actor, and log to the home from now on."""
        self.base = base
        set_title(self.role, base.home)
        log_to(Path(base.home), base.settings)

    def die_with_parent(self) -> None:
        """Have the kernel end this process when the process that forked it dies."""
        die_with_parent(self.parent_pid)

    def now(self) -> float:
        """Seconds since the epoch by the system's steady clock, which no jump of the wall clock moves."""
        assert self.base is not None, "configured before it is asked"
        return time.monotonic() + self.base.clock_offset_s

    def wall(self) -> float:
        """Seconds since the epoch by the machine's own clock, which people and user code see, and which may jump."""
        return time.time()

    def wake_in(self, seconds: float, payload: Any = None) -> None:
        """Have Thespian deliver a WakeupMessage after so many seconds. Nobody can cancel it, so its handler must expect
        that there is nothing to do any more."""
        self.wakeupAfter(timedelta(seconds=max(seconds, 0.0)), payload)


def log_to(home: Path, settings: Settings) -> None:
    """Write the log records of this process to the log file of the home: our own from ``log_level`` on, and
    warnings and worse from all other code. Each record is one appending write."""
    # Thespian replaces the root logger by one that sends all records to a process of its own. Put Python's back.
    logging.root = logging.Logger.root = _ROOT
    logging.Logger.manager = _MANAGER
    handler = logging.StreamHandler(LogFile(home / "log" / "system.log", settings.log_bytes))
    handler.setFormatter(formatter(settings.log_format))
    for logger in (log, _ROOT):
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
    log.setLevel(settings.log_level)
    log.propagate = False
