"""Starts, for each parked saga, the saga that runs the hook of the setting ``on_parked``."""

from __future__ import annotations

from antistrophe.actors.base import log
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.ports import SupervisorPort
from antistrophe.definition.on_parked import ID_BEGINS, LONGEST_ERROR, NAME, TellParked, id_of, spec_of
from antistrophe.errors import AntistropheError
from antistrophe.messages import BeginSaga, SagaEnded
from antistrophe.records import SagaStatus, StepStatus
from antistrophe.saga.view import metadata_of
from antistrophe.scheduling.admission import rank_of

EACH_LOOK = 10
"""How many parked sagas are looked at at once, beside the work."""

AGAIN_S = 60.0
"""How long after a walk over all parked sagas the next one begins."""


class ParkedSagas:
    """Has each parking told, once it is durable. The id of the saga that tells is made of the parked saga and the entry
    that has parked it, so each parking is told by one saga, whoever starts it.

    Who starts it: the end of the saga's actor. And a walk over all parked sagas, now and then: the first one finds what
    an earlier incarnation could not start any more, later ones what the journal has refused.
    """

    def __init__(
        self, supervisor: SupervisorPort, sagas: LiveSagas, journal: JournalAccess, hook: str | tuple[str, ...]
    ) -> None:
        self._supervisor = supervisor
        self._sagas = sagas
        self._journal = journal
        self._hook = hook
        self._cursor: str | None = None
        self._walk_at = supervisor.now()

    def ended(self, message: SagaEnded) -> None:
        """A saga is final or parked."""
        if message.status is SagaStatus.FAILED:
            self._tell(message.saga_id)
        elif message.status is SagaStatus.COMPENSATED and message.saga_id.startswith(ID_BEGINS):
            self._say_why_not_told(message.saga_id)

    def look(self) -> None:
        """Go on with the walk, where it is time."""
        if self._supervisor.now() < self._walk_at:
            return
        try:
            page = self._journal.parked(EACH_LOOK, self._cursor)
        except AntistropheError as error:
            log.warning("the parked sagas can't be listed for on_parked, and it is tried again: %s", error)
            self._walk_at = self._supervisor.now() + AGAIN_S
            return
        for saga in page.sagas:
            self._tell(saga.id)
        self._cursor = page.cursor
        if page.cursor is None:
            self._walk_at = self._supervisor.now() + AGAIN_S

    def _tell(self, saga_id: str) -> None:
        """Have the last parking of the saga told, unless it was."""
        try:
            parking = self._journal.parking(saga_id)
            if parking is None:
                return
            seq, parked_at = parking
            told_by = id_of(saga_id, seq)
            if self._sagas.get(told_by) is None and not self._journal.knows(told_by):
                self._start(saga_id, seq, parked_at)
        except AntistropheError as error:
            log.warning("on_parked can't be run for saga %s now, and it is tried again: %s", saga_id, error)

    def _start(self, saga_id: str, seq: int, parked_at: float) -> None:
        saga = self._journal.load(saga_id)
        shown = metadata_of(saga)
        failed = next((step for step in shown.steps if step.status is StepStatus.COMPENSATION_FAILED), None)
        if not saga.parked or failed is None:
            return
        error = (failed.error or shown.error or "")[:LONGEST_ERROR]
        tell = TellParked(self._hook, saga_id, shown.name, failed.name, error, parked_at)
        spec = spec_of(tell, seq, saga.spec.origin)
        request_id = f"{NAME}/{spec.id}"
        why = self._sagas.full(spec)
        if why is not None:
            self._journal.accept_waiting(request_id, spec, self._supervisor.now(), why)
        live = self._sagas.add(spec.id, rank_of(spec), request_id, client_id="")
        if why is not None:
            self._sagas.enqueue(live)
        else:
            self._sagas.begin(live, BeginSaga(request_id, spec, None, None))

    def _say_why_not_told(self, told_by: str) -> None:
        try:
            shown = metadata_of(self._journal.load(told_by))
        except AntistropheError as error:
            log.error("on_parked has failed, and its record (saga %s) can't be read: %s", told_by, error)
            return
        if shown.name == NAME:
            log.error("on_parked has failed, and is not tried again (saga %s): %s", told_by, shown.error)
