"""The drain of an incarnation, as the launcher sees it: ordered, and called off where the system is wanted again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from antistrophe.launcher.incarnation import Incarnation
from antistrophe.messages import AttachedClients, Configuration, Drain, Drained, SupervisorReady

log = logging.getLogger("antistrophe.launcher")

_POLL_S = 0.05
_FENCE_S = 5.0
"""How long a supervisor may take beyond the drain, to end what still runs and to close what there is to close."""

_ANSWER_S = 3.0
"""How long a supervisor has to answer that it goes on."""


class Drains:
    """Orders drains. ``serve`` is called again and again meanwhile, and at once when the descriptor ``events`` can be
    read: it lets applications in and out."""

    def __init__(self, drain_s: float, events: int, serve: Callable[[], None]) -> None:
        self._drain_s = drain_s
        self._events = events
        self._serve = serve
        self._number = 0

    def drain(self, incarnation: Incarnation, wanted: Callable[[], bool]) -> bool:
        """Have what runs come to its end, or be ended. False where the system was ``wanted`` before that was done."""
        self._number += 1
        incarnation.send(Drain(self._drain_s, self._number))
        for message in self._answers(incarnation, self._drain_s + _FENCE_S):
            if isinstance(message, Drained) and message.number == self._number:
                log.info("the system is drained; %d attempts had to be ended", message.fenced)
                return True
            if wanted():
                return False
        log.error("the supervisor did not drain in time; its processes are killed")
        return True

    def call_off(self, incarnation: Incarnation, clients: AttachedClients, configuration: Configuration) -> bool:
        """Tell the supervisor who wants the system. False where it does not answer: such a system had better end."""
        incarnation.send(clients)
        incarnation.send(configuration)  # a supervisor that is ready answers it
        for message in self._answers(incarnation, _ANSWER_S):
            if isinstance(message, SupervisorReady):
                log.info("the system is wanted again: it goes on")
                return True
        log.error("the supervisor does not answer; its processes are killed")
        return False

    def _answers(self, incarnation: Incarnation, within_s: float) -> Iterator[Any]:
        until = time.monotonic() + within_s
        while time.monotonic() < until and not incarnation.dead():
            message = incarnation.receive(_POLL_S, self._events)
            self._serve()
            yield message
