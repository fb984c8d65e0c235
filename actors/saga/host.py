"""The Thespian actor that hosts saga actors: one process for many sagas."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor
from antistrophe.actors.saga.attempt_evidence import AttemptEvidence
from antistrophe.actors.saga.hosted_sagas import HostedSagas
from antistrophe.actors.saga.journal_access import JournalAccess
from antistrophe.messages import (
    Address,
    BeginSaga,
    DrainSagas,
    HostConfiguration,
    LifecycleReport,
    ProcessDead,
    ProcessGrant,
    ProcessRefusal,
    ResumeSaga,
    SagaOrder,
    StepAnswer,
)
from antistrophe.scheduling.alarms import AskedWakeups

_TO_A_SAGA = (ProcessGrant, ProcessRefusal, ProcessDead, StepAnswer, SagaOrder)

_JOURNAL_PATIENCE_S = 0.5
"""How long a host waits for the journal's lock. Meanwhile it ends no attempt that is past its limit."""


class SagaHost(RuntimeActor):
    """Receives the messages to its sagas, and settles them as soon as no other message is there."""

    role = "saga"

    def __init__(self) -> None:
        super().__init__()
        self.sagas: HostedSagas | None = None
        self._registry: Address = None
        self._journal: JournalAccess | None = None
        self._early: list[tuple[str, Any]] = []
        self._draining = False
        self._report_s = 0.0
        self._reported_at = 0.0
        self._wakeups = AskedWakeups()

    def handlers(self) -> Mapping[type, Handler]:
        routed: dict[type, Handler] = dict.fromkeys(_TO_A_SAGA, self._on_message)
        mine: dict[type, Handler] = {
            HostConfiguration: self._on_configuration,
            BeginSaga: lambda message, _: self._take(message.spec.id, message),
            ResumeSaga: self._on_message,
            DrainSagas: self._on_drain,
            WakeupMessage: self._on_wakeup,
        }
        return routed | mine

    def wall(self) -> float:
        """See ``SagaHostPort``: where hosts share a journal, the time of its server."""
        assert self.base is not None, "configured before it is asked"
        return super().wall() if self.base.settings.journal is None else self.now()

    def wake_in(self, seconds: float, payload: Any = None) -> None:
        """See ``HostProcessPort``."""
        now = self.now()
        if self._wakeups.lacks(now + seconds, now):
            super().wake_in(seconds, payload)

    def receiveMessage(self, message: Any, sender: Address) -> None:  # noqa: N802 - Thespian's name
        """Called by Thespian."""
        super().receiveMessage(message, sender)
        sagas = self.sagas
        if sagas is not None and sagas.unsettled and (sagas.full or not self.more_is_waiting()):
            sagas.settle()
            self._report()

    def _on_configuration(self, message: HostConfiguration, sender: Address) -> None:
        self._registry = message.registry
        if self._journal is not None:
            self._journal.host_is(message.host_id)
        if self.sagas is not None:
            self._draining = message.draining
            self.sagas.drain_or_go_on(message)
            return
        self.configure(message.base)
        self._journal = JournalAccess(message.base, _JOURNAL_PATIENCE_S)
        self._journal.host_is(message.host_id)
        evidence = AttemptEvidence(message.base.home)
        self.sagas = HostedSagas(self, self._journal, evidence, sender, message.base.settings)
        self.sagas.draining = self._draining
        self._report_s = message.base.settings.report_s
        early, self._early = self._early, []
        for saga_id, each in early:
            self._take(saga_id, each)

    def _on_message(self, message: Any, _sender: Address) -> None:
        self._take(message.saga_id, message)

    def _take(self, saga_id: str, message: Any) -> None:
        if self.sagas is None:
            # The configuration names the registry, and is held back until the registry has reported; this was not.
            self._early.append((saga_id, message))
        else:
            self._hear_of_host(message)
            self.sagas.take(saga_id, message)

    def _hear_of_host(self, message: Any) -> None:
        """A grant says by whose lease it is: the configuration that said so may have been lost."""
        grant = message.grant if isinstance(message, BeginSaga) else message
        if isinstance(grant, ProcessGrant) and grant.host_id and self._journal is not None:
            self._journal.host_is(grant.host_id)

    def _on_drain(self, _message: DrainSagas, _sender: Address) -> None:
        self._draining = True
        if self.sagas is not None:
            self.sagas.draining = True

    def _on_wakeup(self, _message: Any, _sender: Address) -> None:
        if self.sagas is not None:
            self.sagas.wake_due()

    def _report(self) -> None:
        """Tell the registry that the journal has news, at most every ``report_s`` seconds: it looks as often itself."""
        now = self.now()
        if self._journal is not None and now - self._reported_at >= self._report_s:
            self._reported_at = now
            self.send(self._registry, LifecycleReport(self._journal.position, *self._journal.commits))
