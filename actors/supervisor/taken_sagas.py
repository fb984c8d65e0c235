"""The live sagas that another host has taken before they began here.

What waits on a full host, or on one that drains, is any other host's to take, and nobody tells of it. The actor of a
saga that works finds out by its next append; one that only waits would find out when its turn comes, and those who wait
for its end with it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.journal.saga_owner import Ownership


class TakenSagas:
    """Finds them. ``lease_of``: the step process that a saga has here. ``owner_of`` asks the journal."""

    def __init__(
        self,
        sagas: Mapping[str, LiveSaga],
        lease_of: Callable[[str], str | None],
        owner_of: Callable[[str], Ownership | None],
    ) -> None:
        self._sagas = sagas
        self._lease_of = lease_of
        self._owner_of = owner_of

    def look(self, owned: Collection[str], mine: Collection[str]) -> list[LiveSaga]:
        """Those that are another host's. ``owned``: the unfinished sagas that are this host's. ``mine``: the names of
        its leases: what belonged to one that was lost may come back. Raises JournalError."""
        unknown = [live for live in self._sagas.values() if live.id not in owned and self._lease_of(live.id) is None]
        return [live for live in unknown if self._is_elsewhere(live.id, mine)]

    def _is_elsewhere(self, saga_id: str, mine: Collection[str]) -> bool:
        owner = self._owner_of(saga_id)  # one that was accepted just now is nobody's yet, or this host's
        return owner is not None and owner.host is not None and owner.host not in mine
