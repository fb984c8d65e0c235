"""Limits that hold over all hosts: what this host may use of them, as the database says.

The database is asked by the membership actor, a moment after something has lacked a permit, and from then on again and
again while the host holds or wants any. Without an answer nothing more begins, and what is held stays so for as long as
the host's lease does. A system whose journal is a file has none of this.
"""

from __future__ import annotations

from collections.abc import Callable

from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper
from antistrophe.messages import PermitsSettled, RequestLease, SettlePermits
from antistrophe.scheduling.permits import Permits

ANSWER_S = 1.0
"""How long an answer is waited for before the same is asked again."""


class SharedLimits:
    """Settles the permits of this host. ``tell`` sends a message to the membership actor."""

    def __init__(
        self,
        supervisor: SupervisorPort,
        sagas: LiveSagas,
        processes: ProcessKeeper,
        tell: Callable[[object], None],
    ) -> None:
        self._supervisor = supervisor
        self._sagas = sagas
        self._processes = processes
        self._tell = tell
        self._permits = Permits(lambda: supervisor.wake_in(0.0))
        self._registration = ""
        self._asked: SettlePermits | None = None
        self._asked_at = 0.0
        self._number = 0
        self._held_back: dict[str, RequestLease] = {}
        processes.pool.throttles.permits = self._permits
        sagas.admission.share(self._permits)

    def begin(self, registration: str) -> None:
        """This host works under that lease from now on. Under another one than before it holds no permit, and sagas
        that were at work under the limit of a name need one again."""
        if registration == self._registration:
            return
        self._registration, self._asked = registration, None
        self._permits.clear()
        admission = self._sagas.admission
        for live in self._sagas.all:
            if live.rank.max_concurrent is not None and admission.is_at_work(live.id):
                admission.wait_again(live.id, live.rank, urgent=live.urgent)

    def holds_back(self, message: RequestLease) -> bool:
        """Whether a saga with an actor has to wait for a permit of its name before it gets a step process."""
        if not self._sagas.admission.is_waiting(message.saga_id):
            return False
        self._held_back[message.saga_id] = message
        return True

    def look(self) -> None:
        """Settle what is to be settled."""
        now = self._supervisor.now()
        if self._asked is not None and now < self._asked_at + ANSWER_S:
            return
        self._asked = None
        if not self._permits.due(now):
            return
        demands = (*self._processes.pool.throttles.demands(), *self._sagas.admission.demands())
        needs = self._permits.settle(demands, now)
        self._tell_admission()
        if needs:
            self._number += 1
            self._asked, self._asked_at = SettlePermits(self._registration, self._number, tuple(needs)), now
            self._tell(self._asked)

    def settled(self, message: PermitsSettled) -> None:
        """The database has answered: let begin what may."""
        if self._asked is None or (message.registration, message.number) != (self._registration, self._asked.number):
            return
        asked, self._asked = self._asked, None
        self._permits.settled(message.answers, asked.needs, message.at)
        self._tell_admission()
        self._processes.serve()
        self._sagas.look()
        for saga_id in [each for each in self._held_back if not self._sagas.admission.is_waiting(each)]:
            self._sagas.ask_process(self._held_back.pop(saga_id))
        self.look()

    def _tell_admission(self) -> None:
        for key in self._permits.changed:
            self._sagas.admission.permitted_anew(key)
        self._permits.changed.clear()
