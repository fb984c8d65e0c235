"""One line in the application's log where the actor system is not up after some seconds."""

from __future__ import annotations

import logging
from pathlib import Path

log = logging.getLogger("antistrophe")

WARN_AFTER_S = 5.0
"""How long a caller waits for the system before the log says why."""


class SlowStart:
    """Says why there is no system yet, once until there is one. Whoever uses it holds a lock."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._told = False

    def look(self, waited_s: float, why: object) -> float:
        """A caller has waited for so long. Returns in how many seconds to look again."""
        if waited_s >= WARN_AFTER_S and not self._told:
            self._told = True
            log.warning("no actor system for %s after %g s: %s", self._home, WARN_AFTER_S, why)
        return float("inf") if self._told else WARN_AFTER_S - waited_s

    def over(self) -> None:
        """The system is up."""
        self._told = False
