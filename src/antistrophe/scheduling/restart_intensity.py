"""Restart intensity: how soon a child that died is started again."""

from __future__ import annotations

from collections import deque


class RestartIntensity:
    """A child that died is started again at once, up to ``most`` times within ``window_s`` seconds. After more deaths
    it is started again after ``window_s``. ``recent``: how many deaths are counted."""

    def __init__(self, most: int, window_s: float) -> None:
        self._most = most
        self._window_s = window_s
        self._deaths: deque[float] = deque()

    @property
    def recent(self) -> int:
        return len(self._deaths)

    def delay_s(self, now: float) -> float:
        """Count a death. Returns the seconds to wait before the next start."""
        self._deaths.append(now)
        while self._deaths and now - self._deaths[0] > self._window_s:
            self._deaths.popleft()
        return 0.0 if len(self._deaths) <= self._most else self._window_s
