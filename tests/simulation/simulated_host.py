"""The process that hosts the saga's actor in a simulated world: the shipped host, actor and machine, between messages
that the world delivers.

The shipped ``HostedSagas`` runs here as in a system. What is simulated is the process around it: its clock, its
mailbox, its alarms, and its death at any point between a commit and the messages that follow it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from antistrophe.actors.saga.batch_commit import LONGEST_S
from antistrophe.actors.saga.hosted_sagas import HostedSagas
from antistrophe.messages import BeginSaga, DrainSagas, ProcessGrant
from antistrophe.settings import Settings
from tests.simulation.faults import Fault
from tests.simulation.simulated_journal import HostKilledError, SimulatedJournal
from tests.simulation.simulated_server import ServerJournal

if TYPE_CHECKING:
    from tests.simulation.world import World

SUPERVISOR = "supervisor"
SETTINGS = Settings(start_timeout_s=3.0)

SHARES_A_COMMIT = 0.25
"""How often a host finds another message waiting, and does not commit yet."""


def journal_of(world: World) -> SimulatedJournal | ServerJournal:
    """A connection to the journal, which is in a file or on a server."""
    return ServerJournal(world) if world.scenario.on_server else SimulatedJournal(world)


class SimulatedSagas(HostedSagas):
    """The shipped ``HostedSagas``. The supervisor learns which grants an actor has got: those of a batch that was
    undone are handed over once more, and their actor may be gone by then."""

    def __init__(self, world: World, host: SimulatedHost) -> None:
        super().__init__(host, journal_of(world), world.processes, SUPERVISOR, SETTINGS)
        self._world = world

    def _deliver(self, saga_id: str, message: Any) -> None:
        if isinstance(message, ProcessGrant) and not message.adopted:
            self._world.supervisor.delivered(message.lease, has_actor=saga_id in self._actors)
        super()._deliver(saga_id, message)


class SimulatedHost:
    """One life of the host's process."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.alive = True
        self.sagas = SimulatedSagas(world, self)
        self._has_sent = False

    # --- the process as the shipped code sees it ----------------------------------------------------------------

    def now(self) -> float:
        """See ``HostProcessPort``."""
        return self._world.now

    def wall(self) -> float:
        """See ``HostProcessPort``."""
        return self._world.now

    def send(self, to: Any, message: Any) -> None:
        """See ``HostProcessPort``. The host may be killed when it has sent a part of what a commit caused."""
        if self._has_sent and self._world.chances.strikes(Fault.CRASH_BETWEEN_EFFECTS):
            raise HostKilledError
        self._has_sent = True
        self._world.route(to, message)

    def wake_in(self, seconds: float) -> None:
        """See ``HostProcessPort``."""
        self._later(seconds, self._wake)

    # --- what the world does with it ----------------------------------------------------------------------------

    def receive(self, message: Any) -> None:
        """Hand over a message, and commit unless another one is waiting."""
        if isinstance(message, DrainSagas):
            self.sagas.draining = True
            return
        self._has_sent = False
        self.sagas.take(message.spec.id if isinstance(message, BeginSaga) else message.saga_id, message)
        self._settle_unless_more_is_waiting()

    def _wake(self) -> None:
        self._has_sent = False
        self.sagas.wake_due()
        self._settle_unless_more_is_waiting()

    def _settle_unless_more_is_waiting(self) -> None:
        world = self._world
        if not self.sagas.unsettled:
            return
        if self.sagas.full or world.rng.random() >= SHARES_A_COMMIT:
            self.sagas.settle()
            return
        self._later(LONGEST_S * world.rng.random(), self._settle)
        world.hasten_a_message()

    def _settle(self) -> None:
        self._has_sent = False
        self.sagas.settle()

    def _later(self, delay_s: float, act: Callable[[], None]) -> None:
        self._world.after(delay_s, lambda: act() if self.alive else None)
