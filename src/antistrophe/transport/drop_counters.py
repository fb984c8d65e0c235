"""What a process of the actor system dropped or refused: counted and logged."""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger("antistrophe.transport")

OTHER_USERS = "connections with processes of other users were refused"
MALFORMED = "malformed frames were dropped"
BROKEN = "connections were closed that brought no stream of ours"
FROM_OUTSIDERS = "messages of processes outside the system were dropped that only its own may send"
REFUSED = "messages were refused because their receiver does not read"


class DropCounters:
    """Counts each kind of drop. The 1st, 10th, 100th ... of each kind is logged, so that garbage without end does not
    fill the disk."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, what: str, detail: object) -> None:
        """Count one more drop of this kind; ``detail`` is for the log only."""
        self.counts[what] += 1
        number = self.counts[what]
        if str(number).rstrip("0") == "1":
            log.warning("%d %s so far; this time: %s", number, what, detail)
