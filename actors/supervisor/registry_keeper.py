"""The process of the registry: started, started again after its death, and told again what it may have missed."""

from __future__ import annotations

from typing import Any

from antistrophe.actors.base import log
from antistrophe.actors.registry import RegistryActor
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.saga_host_pool import START_AGAIN_S
from antistrophe.actors.supervisor.thespian_children import child_process
from antistrophe.messages import Address, Configuration
from antistrophe.records import ProcessRecord
from antistrophe.scheduling.restart_intensity import RestartIntensity


class RegistryKeeper:
    """Keeps one registry alive: ``address``, where it is asked. To make one raises OSError where this machine has no
    room for its process."""

    def __init__(self, supervisor: SupervisorPort, base: Configuration) -> None:
        self.address: Address = None
        self._supervisor = supervisor
        self._base = base
        self._process: Any = None
        self._restarts = RestartIntensity(base.settings.max_restarts, base.settings.restart_window_s)
        self._due: float | None = None
        self._start()

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def record(self) -> ProcessRecord:
        """The registry as monitoring shows it."""
        return ProcessRecord(self.pid, "registry")

    def tell_again(self) -> None:
        """Configure it again, for it can do nothing else where it has missed that."""
        self._supervisor.send(self.address, self._base)

    def look(self) -> bool:
        """Start the registry again where it has died, as soon as its restarts allow. Returns True when there is another
        one, at another address."""
        if self._process.is_alive():
            return False
        now = self._supervisor.now()
        if self._due is None:  # each death counts once, however often it is noticed
            self._due = now + self._restarts.delay_s(now)
        if now < self._due:
            return False
        log.error("the registry has died and is started again")
        try:
            self._start()
        except OSError as error:
            log.error("the registry can't be started (%s); another start is tried", error)
            self._due = now + START_AGAIN_S
            return False
        self._due = None
        return True

    def _start(self) -> None:
        self.address = self._supervisor.createActor(RegistryActor)
        self._process = child_process(self._supervisor, self.address)
        self.tell_again()
