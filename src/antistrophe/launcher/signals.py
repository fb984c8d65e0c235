"""The launcher's signals, as events of its loop: SIGTERM asks it to stop, SIGCHLD to reap children."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from types import FrameType

_HANDLED = (signal.SIGTERM, signal.SIGCHLD)
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Signals:
    """Wakes the selector at every signal. ``asked_to_stop`` is true from SIGTERM on. Only for the main thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.asked_to_stop = False
        # A process inherits the signals that its parent ignored or blocked: undo that first.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in _HANDLED:
            signal.signal(number, self._on_signal)
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        selector.register(self._reader, selectors.EVENT_READ, self._empty)

    def reap(self) -> None:
        """Reap every dead child. Orphans of the actor system become children of the launcher."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def forget(self) -> None:
        """In a fork: remove the launcher's handlers, and close its descriptors."""
        signal.set_wakeup_fd(-1)
        for number in (*_HANDLED, *_IGNORED, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        os.close(self._reader)
        os.close(self._writer)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGTERM:
            self.asked_to_stop = True

    def _empty(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass
