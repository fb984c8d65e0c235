"""The launcher's signals, as events of its loop: the order to stop, and children to be reaped."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
from types import FrameType

_HANDLED = (signal.SIGTERM, signal.SIGCHLD)
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)


class Signals:
    """``asked_to_stop`` is true from SIGTERM on. Only for the main thread."""

    def __init__(self, selector: selectors.BaseSelector) -> None:
        self.asked_to_stop = False
        # The application that started this process may have ignored or blocked some, and that is inherited.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        for number in _HANDLED:
            signal.signal(number, self._on_signal)
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        selector.register(self._reader, selectors.EVENT_READ, self._empty)

    def reap(self) -> None:
        """Bury the dead: orphans of the actor system become children of the launcher."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass

    def forget(self) -> None:
        """In a fork: no handler and no descriptor of the launcher's stays."""
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
