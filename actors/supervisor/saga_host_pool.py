"""The processes that host the saga actors: started, started again, and each saga placed in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess

from antistrophe.actors.base import log
from antistrophe.actors.saga.host import SagaHost
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.messages import Address, Configuration, DrainSagas, HostConfiguration
from antistrophe.records import ProcessRecord
from antistrophe.scheduling.restart_intensity import RestartIntensity

START_AGAIN_S = 1.0
"""How long no host is started after a start failed."""


@dataclass(eq=False, slots=True)
class HostProcess:
    """A host, and the sagas whose actors are there."""

    address: Address
    process: BaseProcess | None
    saga_ids: set[str] = field(default_factory=set)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()


class SagaHostPool:
    """Keeps as many hosts alive as the settings say, and finds out which sagas lost their actors."""

    def __init__(self, supervisor: SupervisorPort, base: Configuration, registry: Address) -> None:
        self._supervisor = supervisor
        self._base = base
        self._registry = registry
        self._draining = False
        self._host_id = ""
        settings = base.settings
        self._restarts = RestartIntensity(settings.max_restarts, settings.restart_window_s)
        self._hosts = [self._start() for _ in range(settings.saga_hosts)]
        self._start_at = 0.0

    def registry_is(self, registry: Address) -> None:
        """Tell the hosts of the registry that they report to from now on. A host that was not configured yet is
        configured by it."""
        self._registry = registry
        self.tell_again()

    def host_is(self, host_id: str) -> None:
        """This host has another id among those that share the journal."""
        self._host_id = host_id
        self.tell_again()

    def tell_again(self) -> None:
        """Tell the hosts again what they must know, in case they have missed it."""
        for host in self._hosts:
            self._supervisor.send(host.address, self._configuration())

    def _configuration(self) -> HostConfiguration:
        return HostConfiguration(self._base, self._registry, self._draining, self._host_id)

    def place(self, saga_id: str) -> HostProcess | None:
        """Choose the host for this saga's actor: the one with the fewest actors. None where the machine has no room for
        any."""
        if not self._hosts and not self._start_another():
            return None
        host = min(self._hosts, key=lambda host: len(host.saga_ids))
        host.saga_ids.add(saga_id)
        return host

    def drain(self) -> None:
        """Have no saga start another attempt."""
        self._draining = True
        for host in self._hosts:
            self._supervisor.send(host.address, DrainSagas())

    def go_on(self) -> None:
        """The system is wanted again: have the sagas go on."""
        self._draining = False
        self.tell_again()

    def replace_dead(self) -> list[HostProcess]:
        """Start new hosts for those that died. Returns the dead hosts, with the sagas that lost their actors."""
        dead = [host for host in self._hosts if not host.alive]
        for host in dead:
            self._hosts.remove(host)
            code = None if host.process is None else host.process.exitcode
            log.error("a host of %d saga actors has died (exit code %s)", len(host.saga_ids), code)
            self._start_at = self._supervisor.now() + self._restarts.delay_s(self._supervisor.now())
        wanted = self._base.settings.saga_hosts
        if self._supervisor.now() >= self._start_at:
            while len(self._hosts) < wanted and self._start_another():
                pass
        return dead

    def records(self) -> list[ProcessRecord]:
        """The hosts as monitoring shows them: a row for each saga, or one for a host without sagas."""
        rows: list[ProcessRecord] = []
        for host in self._hosts:
            if host.process is not None and host.process.pid is not None and host.alive:
                pid = host.process.pid
                rows += [ProcessRecord(pid, "saga", saga_id) for saga_id in sorted(host.saga_ids)]
                rows += [] if host.saga_ids else [ProcessRecord(pid, "saga")]
        return rows

    def _start_another(self) -> bool:
        try:
            self._hosts.append(self._start())
        except OSError as error:
            log.error("a host of saga actors can't be started (%s); another start is tried", error)
            self._start_at = self._supervisor.now() + START_AGAIN_S
            return False
        return True

    def _start(self) -> HostProcess:
        address = self._supervisor.createActor(SagaHost)
        host = HostProcess(address, child_process(self._supervisor, address))
        self._supervisor.send(address, self._configuration())
        return host
