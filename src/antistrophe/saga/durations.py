"""How long things take: a histogram of all durations, and percentiles of the recent ones, in bounded memory."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from math import ceil

BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0)
"""The upper bounds of the histogram's buckets; one more takes what is longer."""

_KEPT = 500
"""Percentiles are taken from no more than so many durations, the last ones."""


class Durations:
    """Durations of one kind. ``counts``: of each bucket, not summed up; ``sum_s``: of all durations."""

    __slots__ = ("_recent", "counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0
        self._recent: deque[tuple[float, float]] = deque(maxlen=_KEPT)

    @property
    def count(self) -> int:
        """How many durations there were."""
        return sum(self.counts)

    def add(self, at: float, duration_s: float) -> None:
        """A duration that was over at that moment (seconds since the epoch). One under 0 counts as 0."""
        duration_s = max(0.0, duration_s)
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1
        self.sum_s += duration_s
        self._recent.append((at, duration_s))

    def percentiles(self, since: float, shares: tuple[float, ...] = (0.5, 0.95, 0.99)) -> tuple[float, ...] | None:
        """For each share the duration that it has not exceeded, of those that were over at ``since`` or later, at most
        the last 500; None where there were none."""
        recent = sorted(duration_s for at, duration_s in self._recent if at >= since)
        if not recent:
            return None
        return tuple(recent[max(0, ceil(share * len(recent)) - 1)] for share in shares)
