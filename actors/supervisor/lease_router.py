"""What the supervisor lends to sagas: processes of their own, and slots in processes that they share."""

from __future__ import annotations

from typing import Any

from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.actors.supervisor.slot_keeper import SlotKeeper
from antistrophe.definition.spec import LeaseRequest
from antistrophe.messages import (
    Address,
    CallEnded,
    CodeLoaded,
    CodeNotLoaded,
    Configuration,
    LoopBlocked,
    StepReady,
)
from antistrophe.records import ProcessRecord
from antistrophe.saga.entries import Lease
from antistrophe.scheduling.slot_pool import SharedPool
from antistrophe.scheduling.throttle import Turns


class LeaseRouter:
    """Hands each wish, message and lease to the keeper that it is for."""

    def __init__(self, owner: SupervisorPort, base: Configuration, prefix: str) -> None:
        turns, settings = Turns(), base.settings
        self._own = ProcessKeeper(owner, base, prefix, turns)
        pool = SharedPool(settings.async_processes, settings.async_calls_per_process, prefix, turns)
        self._shared = SlotKeeper(owner, base, pool)

    # --- what sagas want ---------------------------------------------------------------------------------------

    def ask(self, saga_id: str, client_id: str, request: LeaseRequest) -> None:
        """A saga wants a process, or a slot; where one is free it is granted within this call."""
        mine, other = (self._shared, self._own) if request.shared else (self._own, self._shared)
        other.pool.withdraw(saga_id)
        mine.pool.ask(saga_id, client_id, request)
        self.serve()

    def withdraw(self, saga_id: str) -> None:
        """The saga wants none any more."""
        self._own.pool.withdraw(saga_id)
        self._shared.pool.withdraw(saga_id)

    def leased_to(self, saga_id: str) -> str | None:
        """The lease that this saga holds, or None."""
        return self._own.pool.leased_to(saga_id) or self._shared.pool.leased_to(saga_id)

    def serve(self) -> None:
        """Do what is to be done now for those who wait."""
        self._own.serve()
        self._shared.serve()

    def give_back(self, saga_id: str, lease_name: str, *, reusable: bool) -> None:
        """A saga has settled what ran there."""
        self._keeper(lease_name).give_back(saga_id, lease_name, reusable=reusable)

    def forget(self, saga_id: str) -> None:
        """The saga has ended or sleeps: it wants nothing, and no news of what it had."""
        self._own.forget(saga_id)
        self._shared.forget(saga_id)

    def adopt(self, saga_id: str, lease: Lease) -> None:
        """Say what became of a lease: its process lives, or is dead."""
        (self._shared if lease.shared else self._own).adopt(saga_id, lease)

    def end(self, saga_id: str, lease: Lease, grace_s: float) -> None:
        """Fence that lease; its end is reported when it is proven."""
        (self._shared if lease.shared else self._own).end(saga_id, lease, grace_s)

    # --- what processes say ------------------------------------------------------------------------------------

    def on_ready(self, message: StepReady, sender: Address) -> None:
        self._keeper(message.lease.name).on_ready(message, sender)

    def on_loaded(self, message: CodeLoaded) -> None:
        self._keeper(message.lease_name).on_loaded(message)

    def on_not_loaded(self, message: CodeNotLoaded) -> None:
        self._keeper(message.lease_name).on_not_loaded(message)

    def on_call_ended(self, message: CallEnded) -> None:
        self._shared.on_call_ended(message)

    def on_loop_blocked(self, message: LoopBlocked) -> None:
        self._shared.on_loop_blocked(message)

    def on_exit(self, address: Address) -> bool:
        """A child of the supervisor is gone; False where it was none of these."""
        return self._own.on_exit(address) or self._shared.on_exit(address)

    # --- the whole ---------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Kill what has had its grace, and notice what is dead, overdue or idle for long."""
        self._own.look()
        self._shared.look()

    def retire_client(self, client_id: str) -> None:
        """An attached process is gone, and with it what runs nothing for it."""
        self._own.retire_client(client_id)
        self._shared.retire_client(client_id)

    def freeze(self) -> None:
        """Lend nothing more."""
        self._own.frozen = self._shared.frozen = True

    @property
    def busy(self) -> bool:
        """Whether anything is lent."""
        return bool(self._own.pool.leased() or self._shared.pool.leased())

    def end_all(self, grace_s: float) -> int:
        """Fence every attempt that runs. Returns how many."""
        return self._own.end_all_leased(grace_s) + self._shared.end_all_leased(grace_s)

    def records(self) -> list[ProcessRecord]:
        """The step processes as monitoring shows them; one that makes many calls, once for each."""
        return [*self._own.records(), *self._shared.records()]

    def _keeper(self, name: str) -> Any:
        return self._shared if self._shared.knows(name) else self._own
