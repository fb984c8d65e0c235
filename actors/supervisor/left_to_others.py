"""What a host that drains leaves to the others: the sagas that have not begun.

They stay this host's until another one takes them (``taken_sagas``), or the drain ends. Meanwhile they get no step
process here. Whether one has begun the rows say, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping

from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.scheduling.admission import Admission

_DRAINS = "its turn: this host drains, and leaves what has not begun to the others"


class LeftToOthers:
    """The ids of these sagas, of all that are live here. ``drains``: whether this host does."""

    def __init__(self, sagas: Mapping[str, LiveSaga], processes: ProcessKeeper, admission: Admission) -> None:
        self.drains = False
        self._sagas = sagas
        self._processes = processes
        self._admission = admission
        self._ids: set[str] = set()

    def __contains__(self, saga_id: str) -> bool:
        return saga_id in self._ids

    @property
    def why(self) -> str | None:
        """Why a new saga has to wait, or None."""
        return _DRAINS if self.drains else None

    def holds_back(self, live: LiveSaga) -> bool:
        """Whether a saga that is to wait for its admission waits for another host instead, as far as is known."""
        if self.drains and live.actors == 0 and not live.urgent:
            self._ids.add(live.id)
        return live.id in self._ids

    def forget(self, saga_id: str) -> None:
        """There is an order for that saga: it gets its actor here."""
        self._ids.discard(saga_id)

    def look(self, begun: Mapping[str, bool]) -> None:
        """Leave what has not begun. ``begun``: the sagas that are this host's, and whether they have."""
        self._ids &= self._sagas.keys()
        for saga_id, has_begun in begun.items():
            live = self._sagas.get(saga_id)
            if live is None:
                continue
            if has_begun:
                self._take_back(live)
            elif saga_id not in self._ids and self._processes.lease_of(saga_id) is None:
                self._leave(live)

    def end(self) -> None:
        """The drain has ended: all go on. One that has an actor asks for a process again by itself."""
        self.drains = False
        for saga_id in sorted(self._ids & self._sagas.keys()):
            self._take_back(self._sagas[saga_id])
        self._ids.clear()

    def _leave(self, live: LiveSaga) -> None:
        self._ids.add(live.id)
        self._processes.withdraw(live.id)
        self._admission.withdraw(live.id)

    def _take_back(self, live: LiveSaga) -> None:
        if live.id in self._ids:
            self._ids.discard(live.id)
            if live.host is None:
                self._admission.enqueue(live.id, live.rank, urgent=live.urgent)
