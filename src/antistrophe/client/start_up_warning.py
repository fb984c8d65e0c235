"""One line in the application's log where a saga that somebody waits for does not begin."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from antistrophe.records import SagaMetadata

log = logging.getLogger("antistrophe")

WARN_AFTER_S = 5.0
"""How long a call waits before it looks whether its saga has begun."""

_PAUSE_S = 0.5
_MOST_REASONS = 20


class StartUpWarning:
    """Says each reason once. Of many calls that wait, one looks at a time, and not more often than twice a second."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._look_at = 0.0
        self._told: set[str] = set()

    def is_due(self) -> bool:
        """Whether the caller should look at its saga now."""
        with self._lock:
            now = time.monotonic()
            due = now >= self._look_at
            if due:
                self._look_at = now + _PAUSE_S
            return due

    def tell(self, saga: SagaMetadata) -> None:
        """Say what a saga waits for whose first step has not begun."""
        reason = saga.waiting
        if reason is None or not saga.status.running or any(step.attempts for step in saga.steps):
            return
        with self._lock:
            told = reason in self._told or len(self._told) >= _MOST_REASONS
            if not told:
                self._told.add(reason)
        if not told:
            log.warning(
                "saga %r has not begun after %g s. It waits: %s (more may stand in %s)",
                saga.id,
                WARN_AFTER_S,
                reason,
                self._home / "log" / "system.log",
            )
