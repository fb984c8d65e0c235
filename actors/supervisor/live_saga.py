"""A live saga as the supervisor knows it: where its actor is, and who waits for its end."""

from __future__ import annotations

from dataclasses import dataclass, field

from antistrophe.actors.supervisor.saga_host_pool import HostProcess
from antistrophe.messages import BeginSaga, ProcessGrant, SagaOrder, Waiter
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity

TELL_AGAIN_S = 5.0
"""How soon an actor is told again what it was told first: it may not have heard it, or the word of its end was lost.
Doubled each time, up to TELL_AGAIN_MAX_S."""

TELL_AGAIN_MAX_S = 60.0

UNLOADABLE_WAIT_S = 2.0
"""How long a saga sleeps when its code can't be loaded; doubled each time, up to UNLOADABLE_MAX_S."""

UNLOADABLE_MAX_S = 60.0

UNGUARDED_WAIT_S = 3_600.0
"""How long it sleeps when its code has to be changed first, unless an application is opened meanwhile: each look runs
what the code does when it is loaded."""


@dataclass(slots=True)
class LiveSaga:
    """A saga that is neither final nor parked.

    ``begin``: what the actor of a new saga was told first. ``waiters``: who waits, by correlation; ``late``: who began
    to when there was an actor already, which does not know of them. ``orphan``: the lease of an actor that is gone.
    ``actors``: how many actors it has had. ``request_ids``: of the requests that started it or took it over.
    ``holders``: the clients that have started or joined it. ``environment``: the digest of the application's
    environment that its processes had last. ``held_told``: whether other hosts of the journal take it for held here.
    ``unguarded``: why its code can't be loaded before it is changed.
    """

    id: str
    request_ids: set[str]
    client_id: str
    rank: AdmissionRank
    restarts: RestartIntensity
    urgent: bool = False
    begin: BeginSaga | None = None
    grant: ProcessGrant | None = None
    host: HostProcess | None = None
    waiters: dict[str, Waiter] = field(default_factory=dict)
    late: dict[str, Waiter] = field(default_factory=dict)
    orders: list[SagaOrder] = field(default_factory=list)
    refusals: int = 0
    orphan: str | None = None
    tell_again_s: float = TELL_AGAIN_S
    actors: int = 0
    holders: set[str] = field(default_factory=set)
    held_told: bool = True
    environment: str | None = None
    unguarded: str | None = None

    def unloadable_wait_s(self) -> float:
        """How long it is to sleep now that its code could not be loaded."""
        self.refusals += 1
        if self.unguarded is not None:
            return UNGUARDED_WAIT_S
        return min(UNLOADABLE_MAX_S, UNLOADABLE_WAIT_S * 2.0 ** min(self.refusals - 1, 8))

    @property
    def why_refused(self) -> str:
        """What is told to those who wait for a saga whose code has to be changed first."""
        return f"saga {self.id!r} waits until its code is changed: {self.unguarded}"

    def take_refused(self) -> list[Waiter]:
        """Those who wait, and are to wait no longer: its code has to be changed first."""
        if self.unguarded is None:
            return []
        refused = [*self.waiters.values(), *self.late.values()]
        self.waiters.clear()
        self.late.clear()
        return refused

    def knows(self, correlation: str) -> bool:
        """Whether somebody waits with that correlation."""
        return correlation in self.waiters or correlation in self.late

    def wait(self, waiter: Waiter) -> None:
        """Have somebody told of the saga's end: by its next actor, or by the supervisor where there is one now."""
        if not self.knows(waiter.correlation):
            (self.waiters if self.host is None else self.late)[waiter.correlation] = waiter

    def stop_waiting(self, correlation: str) -> None:
        """Nobody waits with that correlation any more."""
        self.waiters.pop(correlation, None)
        self.late.pop(correlation, None)

    def drop_waiters(self, client_id: str) -> None:
        """That client is gone."""
        for waiters in (self.waiters, self.late):
            for each in [each for each in waiters.values() if each.client_id == client_id]:
                del waiters[each.correlation]
