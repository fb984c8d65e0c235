"""The watchdog of an event loop: it finds the call that keeps the loop from turning."""

from __future__ import annotations

import asyncio
from typing import Any

from antistrophe.actors.step.event_loop import EventLoop

LOOK_S = 0.25
"""Seconds between two looks at the loop."""


class LoopWatchdog:
    """Looks at the loop from another thread of its process.

    The watchdog counts looks, not seconds: looks at which the same task ran and the loop had not turned since the look
    before. Where the machine has no time for the process, the watchdog has none either, and nobody is blamed.
    """

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._suspect: asyncio.Task[Any] | None = None
        self._looks = 0

    def blocker(self, block_s: float) -> str | None:
        """Look once. The name of the call that has blocked the loop for ``block_s`` seconds, or None.

        The watchdog does not find what blocks the loop outside of any task, nor what keeps this thread from running,
        too. The time limits of the calls end both.
        """
        if self._loop.has_turned():
            self._suspect, self._looks = None, 0
            return None
        task, name = self._loop.running()
        self._looks = self._looks + 1 if task is self._suspect else 1
        self._suspect = task
        return name if self._looks * LOOK_S >= block_s else None
