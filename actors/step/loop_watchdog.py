"""Who keeps an event loop from turning: looked for by another thread of its process."""

from __future__ import annotations

import asyncio
from typing import Any

from antistrophe.actors.step.event_loop import EventLoop

LOOK_S = 0.25
"""How often to look."""


class LoopWatch:
    """Counts looks at which one and the same task ran and the loop had not turned, and not seconds: where the machine
    has no time for the process, the one who looks has none either."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._suspect: asyncio.Task[Any] | None = None
        self._looks = 0

    def blocker(self, block_s: float) -> str | None:
        """Look once: the name of the call that has kept the loop for so long, or None.

        What blocks it outside of any task, or keeps this thread from running too, is not found; the limits of the
        calls find it.
        """
        if self._loop.has_turned():
            self._suspect, self._looks = None, 0
            return None
        task, name = self._loop.running()
        self._looks = self._looks + 1 if task is self._suspect else 1
        self._suspect = task
        return name if self._looks * LOOK_S >= block_s else None
