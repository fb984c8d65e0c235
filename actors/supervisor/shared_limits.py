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

AGAIN_S = 1.0
"""How long after an answer that says nothing the same is asked again."""


class SharedLimits:
    """Settles the permits of this host. ``tell`` sends a message to the membership actor.

    A question is asked anew where there is no answer within ``lease_s``. Whoever asks again sooner than the database
    answers gets no answer at all; and one that is slower than that grants no lease either.
    """

    def __init__(
        self,
        supervisor: SupervisorPort,
        sagas: LiveSagas,
        processes: ProcessKeeper,
        tell: Callable[[object], None],
        lease_s: float,
    ) -> None:
        self._supervisor = supervisor
        self._sagas = sagas
        self._processes = processes
        self._tell = tell
        self._permits = Permits(lambda: supervisor.wake_in(0.0))
        self._registration = ""
        self._answer_s = lease_s
        self._asked: SettlePermits | None = None
        self._again_at = 0.0
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
            if live.rank.max_concurrent is None:
                continue
            if admission.is_running(live.id):
                admission.wait_again(live.id, live.rank, urgent=live.urgent)
            else:  # one that rests has no place to keep, and waits for its permit when it is due
                admission.left(live.id)

    def ask_anew(self) -> None:
        """Another membership actor has taken the place of the one that was asked: it knows nothing of that."""
        self._asked = None

    def holds_back(self, message: RequestLease) -> bool:
        """Whether a saga with an actor has to wait for a permit of its name before it gets a step process."""
        if not self._sagas.admission.is_waiting(message.saga_id):
            return False
        self._held_back[message.saga_id] = message
        return True

    def look(self) -> None:
        """Settle what is to be settled."""
        now = self._supervisor.now()
        if now < (self._again_at if self._asked is None else self._asked.until):
            return
        self._asked = None
        if not self._permits.due(now):
            return
        demands = (*self._processes.pool.throttles.demands(), *self._sagas.admission.demands())
        needs = self._permits.settle(demands, now)
        self._tell_admission()
        if needs:
            self._number += 1
            self._asked = SettlePermits(self._registration, self._number, now + self._answer_s, tuple(needs))
            self._tell(self._asked)

    def settled(self, message: PermitsSettled) -> None:
        """The database has answered, or has failed to: let begin what may."""
        if self._asked is None or (message.registration, message.number) != (self._registration, self._asked.number):
            return
        asked, self._asked = self._asked, None
        if not message.answers:
            self._again_at = self._supervisor.now() + AGAIN_S
            self._supervisor.wake_in(AGAIN_S)
            return
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
