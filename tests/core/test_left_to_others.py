"""What a host that drains leaves to the others and takes back, and what others have taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from antistrophe.actors.supervisor.left_to_others import LeftToOthers
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.taken_sagas import TakenSagas
from antistrophe.journal.saga_owner import Ownership
from antistrophe.scheduling.admission import Admission, AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity


def _owned(owners: Mapping[str, str | None], saga_id: str) -> Ownership | None:
    return Ownership(owners[saga_id], 1, 2) if saga_id in owners else None


class Processes:
    """Which sagas have a lease, and whose requests were withdrawn."""

    def __init__(self) -> None:
        self.leases = {"works": "p1"}
        self.withdrawn: list[str] = []

    def lease_of(self, saga_id: str) -> str | None:
        return self.leases.get(saga_id)

    def withdraw(self, saga_id: str) -> None:
        self.withdrawn.append(saga_id)


class Draining:
    """A host with room for two sagas: "asks" and "works" have actors, "queued" and "back" wait."""

    def __init__(self) -> None:
        self.sagas: dict[str, LiveSaga] = {}
        self.processes = Processes()
        self.admission = Admission(2)
        self.left = LeftToOthers(self.sagas, cast(ProcessKeeper, self.processes), self.admission)
        for saga_id, actors in (("asks", 1), ("works", 1), ("queued", 0), ("back", 2)):
            live = self.live(saga_id, actors)
            if saga_id in ("asks", "works"):
                live.host = cast(Any, object())
                self.admission.admit(saga_id, live.rank)
            else:
                self.enqueue(live)

    def live(self, saga_id: str, actors: int = 0, *, urgent: bool = False) -> LiveSaga:
        live = self.sagas[saga_id] = LiveSaga(
            saga_id, {"r"}, "", AdmissionRank("n"), RestartIntensity(1, 1.0), urgent=urgent, actors=actors
        )
        return live

    def enqueue(self, live: LiveSaga) -> None:
        if not self.left.holds_back(live):
            self.admission.enqueue(live.id, live.rank, urgent=live.urgent)

    def drain(self, **begun: bool) -> None:
        self.left.drains = True
        self.left.look(begun)

    def taken(self, owners: Mapping[str, str | None], *owned: str) -> list[str]:
        """Which sagas another host has taken, where this one, "here" and once "before", owns those that are named."""
        taken = TakenSagas(self.sagas, self.processes.lease_of, lambda saga_id: _owned(owners, saga_id))
        return [live.id for live in taken.look(owned, ("here", "before"))]

    @property
    def waiting(self) -> set[str]:
        return {saga_id for saga_id in self.sagas if self.admission.is_waiting(saga_id)}


def test_what_has_not_begun_is_left_and_what_works_or_has_begun_is_not() -> None:
    host = Draining()
    assert host.left.why is None
    host.drain(asks=False, works=False, queued=False, back=True)
    assert [each for each in host.sagas if each in host.left] == ["asks", "queued"]
    assert host.processes.withdrawn == ["asks", "queued"]
    assert host.waiting == {"back"}
    assert host.left.why is not None
    host.drain(asks=False, works=True, queued=False, back=True)
    assert host.processes.withdrawn == ["asks", "queued"], "once"


def test_what_another_host_has_taken_is_told_again_until_it_is_gone_here() -> None:
    host = Draining()
    there = dict.fromkeys(host.sagas, "there")
    assert host.taken(there, *host.sagas) == [], "all are this host's"
    assert host.taken(there, "back") == ["asks", "queued"], "what has a process finds out by itself"
    del host.sagas["queued"]
    assert host.taken(there, "back") == ["asks"]


def test_what_is_nobodys_or_was_this_hosts_by_an_earlier_lease_is_not_taken() -> None:
    host = Draining()
    assert host.taken({"asks": "before", "queued": None, "back": "there"}) == ["back"], "asks may come back"
    assert host.taken({"asks": "here", "back": "here"}) == [], "accepted since it was asked what is this host's"


def test_what_comes_while_it_drains_waits_for_the_others_unless_it_turns_out_to_have_begun() -> None:
    host = Draining()
    host.drain(asks=True, works=True, queued=True, back=True)
    for saga_id, urgent in (("new", False), ("claimed", False), ("owes", True)):
        host.enqueue(host.live(saga_id, urgent=urgent))
    assert host.waiting == {"queued", "back", "owes"}
    host.drain(asks=True, works=True, queued=True, back=True, new=False, claimed=True, owes=True)
    assert host.waiting == {"queued", "back", "owes", "claimed"}
    assert "new" in host.left


def test_an_order_or_the_end_of_the_drain_takes_back_what_was_left() -> None:
    host = Draining()
    host.drain(asks=False, works=True, queued=False, back=True)
    host.left.forget("queued")
    assert host.left.holds_back(host.sagas["queued"]), "until it has an actor it is as any that has not begun"
    host.left.end()
    assert host.waiting == {"queued", "back"}
    assert not any(saga_id in host.left for saga_id in host.sagas)
    assert not host.left.drains
    host.enqueue(host.live("new"))
    assert "new" in host.waiting
