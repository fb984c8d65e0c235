"""The children of one actor, in tables that replace Thespian's lists: each operation costs the same, however many
children live or have died."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from typing import Any

from thespian.actors import ActorAddress
from thespian.system.addressManager import ActorLocalAddress

from antistrophe.transport.address import path_of

# A death may be reported twice within moments. Until the second report, the child's address must still be known.
_REMEMBERED = 100


class Processes:
    """Replaces ``_child_procs``: Thespian's record of each child's process, by the child's number."""

    def __init__(self) -> None:
        self._by_number: dict[int, Any] = {}
        self.unwatched: set[int] = set()

    def append(self, child: Any) -> None:
        """A child was forked."""
        self._by_number[child.childNum] = child

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._by_number.values()))

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._by_number.values())

    def __len__(self) -> int:
        return len(self._by_number)

    def get(self, number: int) -> Any | None:
        """The child with this number."""
        return self._by_number.get(number)

    def latest(self) -> Any:
        """The child that was forked last."""
        return next(reversed(self._by_number.values()))

    def take(self, number: int) -> Any | None:
        """Remove and return a child whose process has ended."""
        self.unwatched.discard(number)
        return self._by_number.pop(number, None)


def death_watch(child: Any) -> int | None:
    """A descriptor that becomes readable when the child's process ends; None where none can be opened."""
    try:
        return os.pidfd_open(child.childProc.pid)
    except OSError:
        return None


class Addresses:
    """Replaces the address manager's ``_managed``: the address from which each child has reported, by number."""

    def __init__(self, nobody: ActorAddress, known: list[ActorAddress | None]) -> None:
        self._nobody = nobody  # one address that no process has stands for all the dead
        self._addresses: dict[int, ActorAddress | None] = dict(enumerate(known))
        self._numbers: dict[str, int] = {}
        self._dead: deque[int] = deque()
        self._next = len(known)

    def append(self, address: ActorAddress | None) -> None:
        """One more child."""
        self._addresses[self._next] = address
        self._next += 1

    def __len__(self) -> int:
        return self._next

    def __getitem__(self, number: int) -> ActorAddress | None:
        return self._addresses.get(number, self._nobody)

    def __setitem__(self, number: int, address: ActorAddress) -> None:
        self._addresses[number] = address
        self._numbers[path_of(address) or ""] = number

    @property
    def kept(self) -> int:
        """How many addresses are kept, those of dead children included."""
        return len(self._addresses)

    def died(self, address: ActorAddress) -> None:
        """A child is dead. Its address is forgotten after many others have died."""
        details = address.addressDetails
        local = isinstance(details, ActorLocalAddress)
        number = details.addressInstanceNum if local else self._numbers.pop(path_of(address) or "", None)
        if number is None:
            return
        self._dead.append(number)
        if len(self._dead) > _REMEMBERED:
            self._addresses.pop(self._dead.popleft(), None)


class Reported:
    """Replaces ``_children``: the addresses of the children that have reported and live."""

    def __init__(self, known: list[ActorAddress]) -> None:
        self._by_path = {path_of(address) or "": address for address in known}

    def append(self, address: ActorAddress) -> None:
        """A child has reported."""
        self._by_path[path_of(address) or ""] = address

    def remove(self, path: str) -> None:
        """The child at this path is dead."""
        self._by_path.pop(path, None)

    def __iter__(self) -> Iterator[ActorAddress]:
        return iter(list(self._by_path.values()))

    def __len__(self) -> int:
        return len(self._by_path)


class Postponed:
    """Replaces ``_awaitingAddressUpdate``: messages that wait until a child reports, by the child's number."""

    def __init__(self) -> None:
        self._intents: dict[int, list[Any]] = {}

    def add(self, address: ActorAddress, intent: Any) -> None:
        """Keep a message until the child with this local address reports."""
        self._intents.setdefault(address.addressDetails.addressInstanceNum, []).append(intent)

    def remove_intents_for_address(self, address: ActorAddress) -> list[Any]:
        """Remove and return the messages that wait for this child."""
        return self._intents.pop(address.addressDetails.addressInstanceNum, [])

    def fmap(self, visit: Any) -> None:
        """Call ``visit`` for what waits for each child; Thespian's status report needs it."""
        for number, intents in self._intents.items():
            visit((f"child {number}", intents))
