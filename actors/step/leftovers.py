"""What a call has left behind in its process: threads and processes that would run on beside the next attempt."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Sequence

from antistrophe.linux.own_tasks import has_children, has_one_thread, links_are_threads, own_children, own_threads, reap

LEAVE_S = 0.05
"""How long what a call has started may take to end after the call."""

_LOOK_S = 0.001


class Leftovers:
    """Tells what a call has started from what belongs to the process: that was there after the user's code had been
    imported.

    The process is a subreaper, so whatever a call has started stands below it, daemons too, and a process without
    children has left none.
    """

    def __init__(self) -> None:
        self._threads: frozenset[int] = frozenset()
        self._children: frozenset[int] = frozenset()
        self._alone = False

    def belong(self) -> None:
        """What runs now belongs to the process."""
        counted = links_are_threads()  # found out before user code has run
        self._threads, self._children = own_threads(), own_children()
        self._alone = counted and len(self._threads) == 1

    def is_left(self) -> bool:
        """Whether this thread was started by a call."""
        return threading.get_native_id() not in self._threads

    def look(self) -> str | None:
        """What the last call has left, in words, or None. A thread that has just returned is given a moment."""
        if self._alone and has_one_thread() and not has_children():
            return None
        give_up_at = time.monotonic() + LEAVE_S
        while True:
            threads, children = own_threads() - self._threads, own_children() - self._children
            if not threads and not children:
                reap(self._children)
                return None
            if time.monotonic() >= give_up_at:
                names = sorted(each.name for each in threading.enumerate() if each.native_id in threads)
                return left_in_words(len(threads), names, children)
            time.sleep(_LOOK_S)


def left_in_words(threads: int, names: Sequence[str], children: Collection[int]) -> str:
    """So many threads, of which these have names, and these processes."""
    return " and ".join(filter(None, (_threads_text(threads, names), _children_text(children))))


def _threads_text(threads: int, names: Sequence[str]) -> str:
    if not threads:
        return ""
    shown = f" ({', '.join(names[:5])})" if names else ""
    return f"{threads} thread{'s' * (threads != 1)}{shown}"


def _children_text(children: Collection[int]) -> str:
    if not children:
        return ""
    return f"{len(children)} process{'es' * (len(children) != 1)} ({', '.join(map(str, sorted(children)[:5]))})"
