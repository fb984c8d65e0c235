"""The commits that saga hosts have reported to the registry, added up over all hosts that there have been."""

from __future__ import annotations

from antistrophe.messages import LifecycleReport

_HOSTS_KEPT = 64
"""Of so many hosts the last report is kept; those before have died, and report no more."""


class ReportedCommits:
    """Each report has what its host has counted since it started, so a lost one is made up for by the next."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, float]] = {}
        self._commits, self._seconds = 0, 0.0

    @property
    def total(self) -> tuple[int, float]:
        """The number of commits, and the seconds that they took. Neither ever gets less."""
        return self._commits, self._seconds

    def reported(self, host: str, report: LifecycleReport) -> None:
        """A host has reported. A report that comes late, after a newer one, counts nothing."""
        commits, seconds = self._last.pop(host, (0, 0.0))
        self._commits += max(0, report.commits - commits)
        self._seconds += max(0.0, report.commits_s - seconds)
        self._last[host] = max(commits, report.commits), max(seconds, report.commits_s)
        while len(self._last) > _HOSTS_KEPT:
            del self._last[next(iter(self._last))]
