"""Step processes in advance: which to start for the next attempts that want one which has run nothing."""

from __future__ import annotations

from collections.abc import Mapping

from antistrophe.scheduling.leases import PoolKey


class Spares:
    """For each that was taken another one, up to ``most`` for a key, with the classes that the last one was taken for.

    A start that fails, or for which there is no room, is not tried again: the next that is taken asks for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[PoolKey, tuple[str, ...]] = {}

    @property
    def due(self) -> bool:
        """Whether there is something to start."""
        return bool(self._taken)

    def taken(self, key: PoolKey, class_refs: tuple[str, ...]) -> None:
        """A process that had run nothing was lent, to run these classes."""
        if self._most:
            self._taken[key] = class_refs

    def take_due(self, ready: Mapping[PoolKey, int]) -> list[tuple[PoolKey, tuple[str, ...]]]:
        """What to start where so many of each key are ready or begin; each once."""
        taken, self._taken = self._taken, {}
        return [each for each in taken.items() for _ in range(self._most - ready.get(each[0], 0))]
