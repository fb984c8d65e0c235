"""What a saga actor asks of the supervisor about step processes, again and again until the supervisor answers."""

from __future__ import annotations

from typing import TypeAlias

from antistrophe.actors.saga.execution import Execution
from antistrophe.actors.saga.ports import SagaHostPort
from antistrophe.actors.saga.run_step import run_step
from antistrophe.messages import Address, AdoptProcess, EndProcess, ProcessGrant, RequestLease
from antistrophe.saga.entries import AttemptStarted

ProcessRequest: TypeAlias = RequestLease | AdoptProcess | EndProcess

ASK_AGAIN_S = 2.0
"""How soon a request is sent again that the supervisor has not answered, in case it was lost. Doubled each time up to
ASK_AGAIN_MAX_S: most requests wait because other sagas have the processes."""

ASK_AGAIN_MAX_S = 30.0


class ProcessRequests:
    """The last unanswered request of one saga, and the addresses of the processes whose leases the saga holds."""

    def __init__(self, host: SagaHostPort) -> None:
        self._host = host
        self._address_of: dict[str, Address] = {}
        self._open: ProcessRequest | None = None
        self._again_at = 0.0
        self._again_s = ASK_AGAIN_S

    def copy(self) -> ProcessRequests:
        """What is asked for and held now."""
        twin = ProcessRequests.__new__(ProcessRequests)
        twin.__dict__.update(self.__dict__)
        twin._address_of = self._address_of.copy()
        return twin

    @property
    def again_at(self) -> float | None:
        """When to send the request again; None where none is open."""
        return None if self._open is None else self._again_at

    def ask(self, request: ProcessRequest, *, send: bool = True) -> None:
        """Ask the supervisor. ``send`` False: the supervisor knows the request; it is sent if no answer comes."""
        self._again_s = ASK_AGAIN_S
        self._put(request, send=send)

    def ask_again_if_due(self, now: float) -> None:
        """Send the open request again, where no answer has come in time."""
        if self._open is not None and now >= self._again_at:
            self._again_s = min(2.0 * self._again_s, ASK_AGAIN_MAX_S)
            self._put(self._open, send=True)

    def _put(self, request: ProcessRequest, *, send: bool) -> None:
        self._open, self._again_at = request, self._host.now() + self._again_s
        if send:
            self._host.send(self._host.supervisor, request)

    def answered(self) -> None:
        """The supervisor has answered."""
        self._open = None

    def granted(self, grant: ProcessGrant) -> None:
        """The supervisor has granted a lease: remember where it is. The grant of a lease that was asked for twice may
        come late, when something else is asked: that stays open."""
        if isinstance(self._open, AdoptProcess if grant.adopted else RequestLease):
            self._open = None
        self._address_of[grant.lease.name] = grant.address

    def forget(self, lease_name: str) -> None:
        """The process of that lease is not the saga's any more."""
        self._address_of.pop(lease_name, None)

    def run(self, execution: Execution, started: AttemptStarted) -> None:
        """Tell the process of an attempt to make the call. Without its address, because it was given back when the
        journal seemed to refuse the attempt, the process is adopted first."""
        address = self._address_of.get(started.lease.name)
        if address is None:
            self.ask(AdoptProcess(execution.saga.id, started.lease))
        else:
            self._host.send(address, run_step(execution.saga, started, execution.token))
