"""Sagas on supervised step processes.

A saga is a list of steps, each with a compensation. The steps run in order. When one of them fails, every step that
took effect, or may have, is compensated, in the opposite order. Steps run in processes that can be killed, so that no
compensation starts while its step may still be working. Every decision is in a journal on disk before it takes
effect::

    from dataclasses import dataclass
    from antistrophe import SagaDefinition, SagaOrchestrator, SagaStep

    @dataclass(frozen=True)
    class Greet(SagaStep):
        name: str

        def execute(self):
            print("hello", self.name)

        def compensate(self):
            print("never mind,", self.name)

    if __name__ == "__main__":
        with SagaOrchestrator("greetings") as orchestrator:
            orchestrator.execute(SagaDefinition("greet-eva").add_step(Greet("eva")))

This package is the public face: every name that an application needs is here, or in ``antistrophe.cqrs`` (event
store, command bus, projections) or ``antistrophe.testing``. No module inside imports from here. Each package below
answers one question, and says in its first lines how it works. Start reading at ``client`` (what an application holds),
``saga`` (the rules, as pure functions) and ``actors`` (the processes that follow them).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from antistrophe.client.handle import SagaHandle
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.client.subscription import ChangeSubscription
from antistrophe.definition.context import NOT_APPLIED, UNKNOWN, Outputs, StepContext, StepResult, Verified
from antistrophe.definition.events import RawEvent, event
from antistrophe.definition.options import StepOptions, StepOptionWarning
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.definition.step import SagaStep, step
from antistrophe.definition.worker_start import on_worker_start
from antistrophe.errors import (
    AlreadyExecutingError,
    AntistropheError,
    AttemptCancelled,
    CommitUnknownError,
    CompensationFailedError,
    FatalError,
    InDoubtError,
    InvalidDefinitionError,
    InvalidSettingsError,
    InvalidStepError,
    JournalBusyError,
    JournalError,
    NotSerializableError,
    OutputNotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    RequestError,
    ResourceNotFoundError,
    RetryableError,
    SagaCancelledError,
    SagaError,
    SagaExistsError,
    SagaNotFoundError,
    StepCrashedError,
    StepFailedError,
    StepInterruptedError,
    StepSignal,
    StepTimeoutError,
    SystemStateError,
    SystemUnavailableError,
    UnreadableDataError,
    UnreadableEntryError,
)
from antistrophe.hosts.description import HostRecord
from antistrophe.linux.late_imports import late_import
from antistrophe.records import (
    LogRecord,
    ProcessRecord,
    PurgeReport,
    SagaChange,
    SagaMetadata,
    SagaPage,
    SagaStatus,
    StepRecord,
    StepStatus,
    TimelineEntry,
)
from antistrophe.serialization.masks import Secret
from antistrophe.settings import Settings, SettingsWarning

if TYPE_CHECKING:
    from antistrophe.client.async_orchestrator import AsyncChangeSubscription, AsyncSagaHandle, AsyncSagaOrchestrator

__all__ = [
    "NOT_APPLIED",
    "UNKNOWN",
    "AlreadyExecutingError",
    "AntistropheError",
    "AsyncChangeSubscription",
    "AsyncSagaHandle",
    "AsyncSagaOrchestrator",
    "AttemptCancelled",
    "ChangeSubscription",
    "CommitUnknownError",
    "CompensationFailedError",
    "FatalError",
    "HostRecord",
    "InDoubtError",
    "InvalidDefinitionError",
    "InvalidSettingsError",
    "InvalidStepError",
    "JournalBusyError",
    "JournalError",
    "LogRecord",
    "NotSerializableError",
    "OutputNotFoundError",
    "Outputs",
    "OverloadedError",
    "PayloadTooLargeError",
    "ProcessRecord",
    "PurgeReport",
    "RawEvent",
    "RequestError",
    "ResourceLimits",
    "ResourceNotFoundError",
    "RetryPolicy",
    "RetryableError",
    "SagaCancelledError",
    "SagaChange",
    "SagaDefinition",
    "SagaError",
    "SagaExistsError",
    "SagaHandle",
    "SagaMetadata",
    "SagaNotFoundError",
    "SagaOrchestrator",
    "SagaPage",
    "SagaStatus",
    "SagaStep",
    "Secret",
    "Settings",
    "SettingsWarning",
    "StepContext",
    "StepCrashedError",
    "StepFailedError",
    "StepInterruptedError",
    "StepOptionWarning",
    "StepOptions",
    "StepRecord",
    "StepResult",
    "StepSignal",
    "StepStatus",
    "StepTimeoutError",
    "SystemStateError",
    "SystemUnavailableError",
    "TimelineEntry",
    "UnreadableDataError",
    "UnreadableEntryError",
    "Verified",
    "event",
    "on_worker_start",
    "step",
]

_LATE = ("AsyncChangeSubscription", "AsyncSagaHandle", "AsyncSagaOrchestrator")  # they alone need asyncio

if not TYPE_CHECKING:  # a checker of types would take any name for one of this package's

    def __getattr__(name):
        if name not in _LATE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        with late_import():
            from antistrophe.client import async_orchestrator
        found = globals()[name] = getattr(async_orchestrator, name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE})
