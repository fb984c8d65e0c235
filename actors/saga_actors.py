"""The supervisor's saga actors: one for each execution, some kept ready so that a start waits for no fork."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from antistrophe.messages import Address, Configuration, SagaConfiguration
from antistrophe.records import ProcessRecord

from .children import child_process
from .saga import SagaActor
from .step_processes import Owner


@dataclass(eq=False, slots=True)
class SagaProcess:
    """One saga actor; ``saga_id`` is None while it waits for a saga."""

    address: Address
    process: BaseProcess
    saga_id: str | None = None


class SagaActors:
    """Creates saga actors and knows which are there."""

    def __init__(self, owner: Owner, base: Configuration, registry: Address) -> None:
        self._owner = owner
        self._base = base
        self._registry = registry
        self._spare_target = base.settings.spare_saga_actors
        self._all: list[SagaProcess] = []

    def registry_is(self, registry: Address) -> None:
        """The registry has been started again: those that are at work go on reporting to it."""
        self._registry = registry
        for actor in self._all:
            self._owner.send(actor.address, SagaConfiguration(self._base, registry))

    def take(self, saga_id: str) -> SagaProcess:
        """An actor for this saga."""
        actor = next((actor for actor in self._all if actor.saga_id is None), None)
        if actor is None:
            actor = self._create()
        actor.saga_id = saga_id
        return actor

    def top_up(self) -> None:
        """Create the actors that are to be kept ready."""
        spare = sum(actor.saga_id is None for actor in self._all)
        for _ in range(self._spare_target - spare):
            self._create()

    def on_exit(self, address: Address) -> SagaProcess | None:
        """A child of ours is gone; its record where it was a saga actor."""
        actor = next((actor for actor in self._all if actor.address == address), None)
        if actor is not None:
            self._all.remove(actor)
        return actor

    def dead(self) -> list[SagaProcess]:
        """The actors that are dead although no notice came."""
        gone = [actor for actor in self._all if not actor.process.is_alive()]
        self._all = [actor for actor in self._all if actor not in gone]
        return gone

    def at_work(self) -> list[SagaProcess]:
        return [actor for actor in self._all if actor.saga_id is not None]

    def records(self) -> list[ProcessRecord]:
        """The saga actors as monitoring shows them."""
        return [
            ProcessRecord(actor.process.pid, "idle" if actor.saga_id is None else "saga", actor.saga_id)
            for actor in self._all
            if actor.process.pid is not None and actor.process.is_alive()
        ]

    def _create(self) -> SagaProcess:
        address = self._owner.createActor(SagaActor)
        actor = SagaProcess(address, child_process(self._owner, address))
        self._all.append(actor)
        self._owner.send(address, SagaConfiguration(self._base, self._registry))
        return actor
