"""What the supervisor knows of one shared process."""

from __future__ import annotations

from dataclasses import dataclass
from multiprocessing.process import BaseProcess

from antistrophe.messages import Address
from antistrophe.saga.entries import Lease


@dataclass(slots=True)
class CarrierProcess:
    """``lease``: who it is, once it has said so; ``culprit``: the slot for whose sake it is killed; ``asked``: how it
    was found when it was asked for its stacks before that."""

    name: str
    address: Address
    process: BaseProcess | None
    lease: Lease | None = None
    asked: str | None = None
    culprit: str | None = None
    killed: bool = False

    @property
    def alive(self) -> bool:
        """False once it has been reaped; and where its fork failed, there never was one."""
        return self.process is not None and self.process.is_alive()

    def slot(self, lease_name: str) -> Lease:
        """The lease of one of its slots."""
        assert self.lease is not None, "only a process that is ready is lent"
        return Lease(lease_name, self.lease.pid, self.lease.start_ticks, self.lease.boot_id, shared=True)
