"""When the request of a live saga for a step process is handed on, and for whose environment.

A suspect waits for its turn, and a saga of an earlier incarnation for its application to say who it is.
"""

from __future__ import annotations

from antistrophe.actors.supervisor.environments import Environments
from antistrophe.actors.supervisor.live_saga import LiveSaga
from antistrophe.actors.supervisor.lone_suspects import LoneSuspects
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.definition.spec import Origin, SagaSpec
from antistrophe.messages import RequestLease


class AskedProcesses:
    """Hands requests to the ``ProcessKeeper``, and keeps those that have to wait before that."""

    def __init__(self, supervisor: SupervisorPort, processes: ProcessKeeper, environments: Environments) -> None:
        self._supervisor = supervisor
        self._processes = processes
        self._environments = environments
        self._suspects = LoneSuspects()
        self._unintroduced: dict[str, RequestLease] = {}

    def of_new(self, live: LiveSaga, spec: SagaSpec) -> bool:
        """Ask for the first process of a new saga. A process that is free at once is granted within this call, before
        there is an actor to tell."""
        environment = self._environment_of(live, spec.origin) or ""
        return self._processes.ask(live.id, live.client_id, spec.lease_request(0), spec.name, environment)

    def ask(self, live: LiveSaga, message: RequestLease) -> None:
        """The actor of a saga wants a step process."""
        if message.request.alone and not self._suspects.may_go(message):
            return
        environment = self._environment_of(live, message.request.origin)
        if environment is None:
            self._unintroduced[live.id] = message
            self._supervisor.wake_in(self._environments.introduce_until - self._supervisor.now())
        else:
            self._processes.ask(live.id, live.client_id, message.request, live.rank.name, environment)

    def turn_is_over(self, saga_id: str) -> RequestLease | None:
        """That saga needs no process for now. Returns the request of the suspect whose turn it is instead."""
        return self._suspects.is_over(saga_id)

    @property
    def may_go_on(self) -> bool:
        """Whether some have waited in vain for their application: none will come any more."""
        return bool(self._unintroduced) and self._supervisor.now() >= self._environments.introduce_until

    def introduced(self) -> list[RequestLease]:
        """The requests that have waited for an application to say who it is: it has, or none will."""
        waited, self._unintroduced = self._unintroduced, {}
        return list(waited.values())

    def _environment_of(self, live: LiveSaga, origin: Origin) -> str | None:
        found = self._environments.of_saga(live.client_id, origin, live.environment, self._supervisor.now())
        live.environment = found
        return found
