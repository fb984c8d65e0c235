"""The log of a process says when the journal begins to refuse, and when it takes entries again; nothing in between."""

from __future__ import annotations

import time
from collections.abc import Callable

from antistrophe.actors.base import log
from antistrophe.errors import JournalError
from antistrophe.journal import Group

_TOLD_AGAIN_S = 10.0
"""A refusal so soon after another one that was told is told only if it lasts."""


class JournalRefusals:
    """Whether the journal refuses what this process writes, and since when."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._told = False
        self._told_at = -_TOLD_AGAIN_S

    def refused(self, error: JournalError) -> None:
        """A write was refused."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if not self._told and now - self._told_at >= _TOLD_AGAIN_S:
            self._told, self._told_at = True, now
            log.error("the journal takes no entries; what needs it waits, and running attempts go on: %s", error)

    def taken(self) -> None:
        """A write is durable."""
        if self._since is None:
            return
        if self._told:
            log.warning("the journal takes entries again, after %.1f s", time.monotonic() - self._since)
        self._since, self._told = None, False


class WatchedGroup:
    """A group of commits; see ``GroupPort``. Where the journal refuses it, its commits are made again one by one, and
    each notes that by itself."""

    def __init__(self, group: Group, refusals: JournalRefusals, reached: Callable[[int], None]) -> None:
        """``reached`` is told the position of the last entry, where the commit alone has written it."""
        self._group = group
        self._refusals = refusals
        self._reached = reached
        self.is_open = False

    @property
    def broken(self) -> bool:
        """See ``GroupPort``."""
        return self._group.broken

    def open(self) -> None:
        """See ``GroupPort``."""
        self._group.open()
        self.is_open = True

    def commit(self) -> None:
        """See ``GroupPort``."""
        self.is_open, wrote = False, self._group.begun
        self._group.commit()
        if wrote:
            self._refusals.taken()
        if self._group.position is not None:
            self._reached(self._group.position)

    def roll_back(self) -> None:
        """See ``GroupPort``."""
        self.is_open = False
        self._group.roll_back()
