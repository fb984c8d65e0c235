"""What an end of the actor system turned away: counted, and said in the log."""

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
    """Counts by what it was. The first of each is logged, then the 10th, the 100th and so on: who sends garbage all day
    must not fill the disk as well."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def add(self, what: str, detail: object) -> None:
        """One more of that; ``detail`` is for the log alone."""
        self.counts[what] += 1
        number = self.counts[what]
        if str(number).rstrip("0") == "1":
            log.warning("%d %s so far; this time: %s", number, what, detail)
