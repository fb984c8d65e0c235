"""The one base of our actors: what every process of the system does first, and how a message reaches its handler."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from thespian.actors import Actor

from antistrophe.linux.process import die_with_parent, restore_fatal_signals
from antistrophe.messages import Address, Configuration

Handler = Callable[[Any, Address], None]

log = logging.getLogger("antistrophe")

EXIT_AFTER_A_BUG = 70
"""The exit code of an actor that could not handle a message (EX_SOFTWARE of sysexits.h)."""

_this_process = os.getpid()
_ROOT, _MANAGER = logging.root, logging.Logger.manager


class RuntimeActor(Actor):
    """Hands each message to its handler, once.

    Thespian would deliver a message again whose handler raises. An actor of ours that meets an error it did not expect
    ends its process instead: whoever supervises it starts another from the journal, which is the only truth.
    """

    def __init__(self) -> None:
        super().__init__()
        global _this_process
        # Forks take the parent's value with them, so the child can tell whether its parent is still there.
        parent_pid, _this_process = _this_process, os.getpid()
        self.parent_pid = parent_pid
        restore_fatal_signals()
        self.base: Configuration | None = None
        self._handlers: dict[type, Handler] = dict(self.handlers())

    def handlers(self) -> Mapping[type, Handler]:
        """The handler of each type of message; others are ignored."""
        raise AssertionError("every actor says what it handles")

    def receiveMessage(self, message: Any, sender: Address) -> None:  # noqa: N802 - Thespian's name
        """Called by Thespian."""
        handler = self._handlers.get(type(message))
        if handler is None:
            return
        try:
            handler(message, sender)
        except BaseException:
            log.exception("%s can't handle %s", type(self).__name__, type(message).__name__)
            logging.shutdown()
            os._exit(EXIT_AFTER_A_BUG)

    def also_handle(self, handlers: Mapping[type, Handler]) -> None:
        """Handle these messages too from now on."""
        self._handlers |= handlers

    def more_is_waiting(self) -> bool:
        """Whether another message that this actor handles is there already: ``receiveMessage`` will be called with it
        next, without any wait. What is postponed while this is true can be done for several messages at once, and must
        be done when it is false. Costs one look at the sockets."""
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - Thespian's, and unknown to its stubs
        return bool(manager.transport.more_is_waiting(self._handlers))

    def hand_over(self, message: Any) -> None:
        """From any thread of this process: have this actor receive a message, which does not travel."""
        manager: Any = getattr(self, "_myRef")  # noqa: B009 - Thespian's, and unknown to its stubs
        manager.transport.hand_over(message)

    def configure(self, base: Configuration) -> None:
        """Take in what every actor is told first."""
        self.base = base
        log_to(Path(base.home), base.settings.log_level)

    def die_with_parent(self) -> None:
        """Have this process end with the one that forked it."""
        die_with_parent(self.parent_pid)

    def now(self) -> float:
        """Seconds since the epoch by the system's steady clock: no jump of the wall clock moves it."""
        assert self.base is not None, "configured before it is asked"
        return time.monotonic() + self.base.clock_offset_s

    def wake_in(self, seconds: float, payload: Any = None) -> None:
        """Have Thespian deliver a WakeupMessage; it can't be cancelled, so it must be safe to come in vain."""
        self.wakeupAfter(timedelta(seconds=max(seconds, 0.0)), payload)


class _LogFile:
    """A text stream whose every write is opened, appended and closed: the file may be moved away at any time, and a
    disk that is full costs its words and nothing else."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, text.encode("utf-8", "replace"))
            finally:
                os.close(descriptor)


def log_to(home: Path, level: str) -> None:
    """Write this process's log records to the home's log file (each record is one appending write): our own from
    ``level`` on, and what other code logs as a warning or worse."""
    # Thespian has put a root logger in their place that sends all to its own logger, and can't be configured.
    logging.root = logging.Logger.root = _ROOT
    logging.Logger.manager = _MANAGER
    handler = logging.StreamHandler(_LogFile(home / "log" / "system.log"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    for logger in (log, _ROOT):
        for old in logger.handlers[:]:
            logger.removeHandler(old)
            old.close()
        logger.addHandler(handler)
    log.setLevel(level)
    log.propagate = False
