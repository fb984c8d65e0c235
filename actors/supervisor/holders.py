"""Which sagas the clients of this host hold, as far as the other hosts have to know it.

A client holds what it has started or joined, until it leaves. Where a saga is held, another start of it is refused on
every host. A saga counts as held by the host that has accepted it. Any other that is held here is noted in its row, and
so is each that is held here no more. What can't be noted at once is noted at one of the next looks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass, field

from antistrophe.actors.base import log
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.clients import Clients
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.errors import JournalError

_AT_ONCE = 500
"""How many sagas one statement names."""

_AGAIN_S = 2.0
"""How long ``look`` leaves a database alone that did not answer: the supervisor does nothing else while it waits."""

_LOOK_S = 60.0
"""How often it is looked which sagas elsewhere have ended."""

_COME_S = 2.0
"""How often it is looked whether those have come that a client accepts in a transaction of its own."""

_LOOKS, _LOOKS_AFTER = 1_800, 30
"""How often at most, since the client has said so, and since it has left."""


@dataclass(slots=True)
class _Elsewhere:
    """A saga of another host: the clients here that hold it, and the requests by which they started or took it over."""

    clients: set[str] = field(default_factory=set)
    request_ids: set[str] = field(default_factory=set)


class Holders:
    """Every saga that a client of this host holds. ``host_id``: the name of its lease, empty where it has none."""

    def __init__(self, sagas: LiveSagas, clients: Clients, journal: JournalAccess) -> None:
        self.host_id = ""
        self._sagas = sagas
        self._clients = clients
        self._journal = journal
        self._elsewhere: dict[str, _Elsewhere] = {}
        self._to_tell: dict[str, None] = {}
        self._to_come: dict[str, int] = {}
        self._tell_at = self._look_at = self._come_at = 0.0

    # --- who comes ---------------------------------------------------------------------------------------------

    def take_over(self, saga_id: str, client_id: str, request_id: str) -> bool:
        """Whether that client may hold the saga alone from now on: no other one does, on any host. The clients that
        hold a live saga of this host are known to the caller. Raises JournalError."""
        known = self._elsewhere.get(saga_id)
        if known is not None and self._live_of(known.clients):
            return request_id in known.request_ids
        if not self._journal.holders().take_over(saga_id, self.host_id) and self._journal.knows(saga_id):
            return False
        if (live := self._sagas.get(saga_id)) is None:
            self._elsewhere[saga_id] = _Elsewhere({client_id}, {request_id})
        else:
            live.held_told = True
        return True

    def holds(self, saga_id: str, client_id: str, request_id: str | None = None) -> None:
        """That client holds the saga, beside others."""
        live = self._sagas.get(saga_id)
        if live is not None:
            if live.held_told:
                return
        elif client_id:
            known = self._elsewhere.setdefault(saga_id, _Elsewhere())
            if request_id is not None:
                known.request_ids.add(request_id)
            if client_id in known.clients:
                return
            known.clients.add(client_id)
        self._to_tell[saga_id] = None
        self.tell()

    def announced(self, saga_ids: Collection[str], client_id: str) -> list[str]:
        """A client says what it holds. Returns which of these sagas, none of them live here, run elsewhere or may still
        come; all of them where the database does not say."""
        if not saga_ids:
            return []
        running, to_come = sorted(saga_ids), []
        with contextlib.suppress(JournalError):
            stored = self._journal.holders()
            to_come = self.expects(set(saga_ids) - stored.there(running), client_id)
            running = sorted(stored.unfinished(running))
        for saga_id in running:
            self._elsewhere.setdefault(saga_id, _Elsewhere()).clients.add(client_id)
            self._to_tell[saga_id] = None
        self.tell()
        return running + to_come

    def expects(self, saga_ids: Collection[str], client_id: str) -> list[str]:
        """A client holds these sagas, which it accepts in a transaction of its own. Their rows will name this host, but
        nobody says when, or that they never come. Returns them."""
        for saga_id in saga_ids:
            self._elsewhere.setdefault(saga_id, _Elsewhere()).clients.add(client_id)
            self._to_come[saga_id] = _LOOKS
        return sorted(saga_ids)

    # --- who goes ----------------------------------------------------------------------------------------------

    def client_left(self, client_id: str) -> None:
        """That client holds nothing any more."""
        for live in self._sagas.all:
            if client_id in live.holders and not self._live_of(live.holders):
                self._to_tell[live.id] = None
        for saga_id, known in list(self._elsewhere.items()):
            if client_id in known.clients:
                known.clients.discard(client_id)
                if saga_id in self._to_come:  # its commit may be on its way
                    self._to_come[saga_id] = min(self._to_come[saga_id], _LOOKS_AFTER)
                if not self._live_of(known.clients):
                    del self._elsewhere[saga_id]
                    self._to_tell[saga_id] = None

    # --- sagas that change hosts -------------------------------------------------------------------------------

    def gone(self, live: LiveSaga) -> None:
        """A saga is another host's by now."""
        if clients := self._live_of(live.holders):
            self._elsewhere[live.id] = _Elsewhere(clients, set(live.request_ids))
        self._to_tell[live.id] = None

    def came(self, live: LiveSaga) -> None:
        """A saga is live here that was not accepted under this lease just now."""
        live.held_told = False
        self._to_tell[live.id] = None
        self._to_come.pop(live.id, None)
        if (known := self._elsewhere.pop(live.id, None)) is not None:
            live.holders |= known.clients
            live.request_ids |= known.request_ids

    def joined_anew(self, host_id: str) -> None:
        """This host has another lease: whatever its clients hold is held under that name."""
        self.host_id = host_id
        for live in self._sagas.all:
            self.came(live)
        self._to_tell.update(dict.fromkeys(self._elsewhere))

    # --- what is told ------------------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Say what could not be said, look for what is to come, and forget the sagas elsewhere that have ended."""
        if now >= self._come_at and self._to_come:
            self._come_at = now + _COME_S
            with contextlib.suppress(JournalError):
                self._look_for_those_to_come()
        if now >= self._tell_at and not self.tell():
            self._tell_at = now + _AGAIN_S
        if now >= self._look_at and self._elsewhere:
            self._look_at = now + _LOOK_S
            with contextlib.suppress(JournalError):  # it is looked again
                self._forget_ended()

    def tell(self) -> bool:
        """Say in the rows of the sagas whether this host holds them. False where the database does not answer."""
        ids = list(self._to_tell)[:_AT_ONCE]
        if not (ids and self.host_id):
            return True
        held = {saga_id for saga_id in ids if self._is_held(saga_id)}
        try:
            stored = self._journal.holders()
            for told, which in ((stored.hold, held), (stored.let_go, set(ids) - held)):
                if which:
                    told(sorted(which), self.host_id)
        except JournalError as error:
            log.debug("which sagas are held here is told later: %s", error)
            return False
        for saga_id in ids:
            del self._to_tell[saga_id]
            if (live := self._sagas.get(saga_id)) is not None:
                live.held_told = saga_id in held
        return True

    def _look_for_those_to_come(self) -> None:
        ids = list(self._to_come)[:_AT_ONCE]
        there = self._journal.holders().there(ids)
        for saga_id in ids:
            looks = self._to_come.pop(saga_id) - 1
            if saga_id in there:  # its row names this host; its client may have left, or the lease be another one
                self._to_tell[saga_id] = None
            elif looks:
                self._to_come[saga_id] = looks  # at the end: the others come first next time

    def _forget_ended(self) -> None:
        ids = list(self._elsewhere)[:_AT_ONCE]
        running = self._journal.holders().unfinished(ids)
        for saga_id in ids:
            known = self._elsewhere.pop(saga_id)
            if saga_id in running or saga_id in self._to_come:
                self._elsewhere[saga_id] = known  # at the end: the others come first next time

    def _is_held(self, saga_id: str) -> bool:
        live, known = self._sagas.get(saga_id), self._elsewhere.get(saga_id)
        clients = live.holders if live is not None else known.clients if known is not None else ()
        return bool(self._live_of(clients))

    def _live_of(self, clients: Collection[str]) -> set[str]:
        return {each for each in clients if self._clients.lives(each)}
