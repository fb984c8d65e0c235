"""Adds finished and parked sagas to the index of texts, a few at a time, beside the work of the registry."""

from __future__ import annotations

import time

from antistrophe.actors.base import log
from antistrophe.errors import JournalBusyError, JournalError
from antistrophe.journal import StoredJournal

SAGAS_AT_ONCE = 128
"""So many sagas share a transaction of some milliseconds. Fewer are searched as quickly without the index."""

PAUSE_S = 1.0
PAUSE_AFTER_FAILURE_S = 60.0

REST = 4
"""After a step, the registry has so many times as long for its answers, and everybody else for the write lock."""


class TextIndexing:
    """Looks for what is to be added at each call of ``step``, and adds a part of it."""

    def __init__(self, journal: StoredJournal) -> None:
        self._index = journal.texts
        self._fails = False
        self._not_before = 0.0

    def step(self) -> float | None:
        """Add the next sagas, where there are enough and it is time. Returns in how many seconds to go on; None: not
        before more sagas have finished."""
        begun = time.monotonic()
        if begun < self._not_before:
            return None
        try:
            wanted = self._index.behind(SAGAS_AT_ONCE) >= SAGAS_AT_ONCE or self._index.lacks_parked()
            added = wanted and self._index.add(SAGAS_AT_ONCE)
        except JournalBusyError:
            return self._pause(PAUSE_S)
        except JournalError as error:  # lists find the same without the index, later
            if not self._fails:
                log.warning("the index of texts does not grow now, and lists with a text take longer: %s", error)
            self._fails = True
            return self._pause(PAUSE_AFTER_FAILURE_S)
        self._fails = False
        if not added:
            self._pause(PAUSE_S)
            return None
        return self._pause(REST * (time.monotonic() - begun))

    def _pause(self, pause_s: float) -> float:
        self._not_before = time.monotonic() + pause_s
        return pause_s
