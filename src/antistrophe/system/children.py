"""Repairs of how Thespian looks after an actor and its children: it loses news of deaths, and forgets nothing."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

from thespian.actors import ActorAddress
from thespian.system.multiprocCommon import MultiProcReplicator
from thespian.system.ratelimit import RateThrottle

# The news of a death may come twice, within moments. Until then a child's address still has to equal its former self.
_REMEMBERED = 100


def repair(handler: Any) -> None:
    """Put right what is wrong with the actor manager (or the Admin) behind this message handler.

    - When it has reported a death, it strikes all dead children off its list, and so never reports those that died
      since it last looked. SIGCHLD makes it look again, and strike off just those that it reports: that is enough.
    - It puts an actor that sends more than 4,480 messages a second to sleep, to save a network that is not there.
    """
    manager = getattr(handler, "__self__", None)
    if isinstance(manager, MultiProcReplicator):
        manager._childExited = _strike_off_nobody
        manager._governer = RateThrottle(sys.maxsize)


def _strike_off_nobody(_address: ActorAddress) -> None:
    """In place of Thespian's own."""


class ChildNumbers:
    """The numbers under which Thespian's address manager keeps the addresses of this process's children."""

    def __init__(self, nobody: ActorAddress) -> None:
        self._nobody = nobody  # one address that no process has, for all the dead
        self._numbers: dict[str, int] = {}
        self._dead: deque[int] = deque()

    def connected(self, path: str, number: int) -> None:
        """A child has reported from its address."""
        self._numbers[path] = number

    def died(self, path: str, manager: Any) -> None:
        """A child is dead. Its own address is forgotten once many others have died."""
        number = self._numbers.pop(path, None)
        if number is not None:
            self._dead.append(number)
            if len(self._dead) > _REMEMBERED:
                manager._managed[self._dead.popleft()] = self._nobody
