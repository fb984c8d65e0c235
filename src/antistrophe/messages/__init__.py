"""Every message between the actors of a system and the applications that are attached to it.

Requests carry a ``correlation`` that their answer echoes: whoever asks ignores answers to other questions. All are
frozen records of builtins and addresses; user data travel in them as packed bytes only. Any message may be lost or
come twice, so each is safe to send again.
"""

from __future__ import annotations

from antistrophe.messages.message import Address, Configuration, message
from antistrophe.messages.queries import (
    ANSWERS,
    QUERIES,
    AwaitChanges,
    Changes,
    CountSagas,
    GetSaga,
    GetTimeline,
    ListHistory,
    ListRunning,
    ListSagas,
    Query,
    RegistryQuery,
    SagaCounts,
    SagaFound,
    SagaList,
    Timeline,
)
from antistrophe.messages.requests import (
    Accepted,
    AwaitSaga,
    ClientLeft,
    Done,
    Drain,
    Drained,
    ListProcesses,
    OrderSaga,
    Processes,
    Rejected,
    ResolveStep,
    SagaOutcome,
    StartSaga,
    SupervisorFailed,
    SupervisorReady,
)
from antistrophe.messages.sagas import (
    AdoptProcess,
    BeginSaga,
    DrainSagas,
    EndProcess,
    HostConfiguration,
    LifecycleReport,
    ProcessDead,
    ProcessGrant,
    ProcessRefusal,
    RequestLease,
    ResumeSaga,
    ReturnProcess,
    SagaActorFailed,
    SagaEnded,
    SagaOrder,
    SagaSleeps,
    Waiter,
    WaitForSaga,
)
from antistrophe.messages.steps import (
    CallEnded,
    CodeLoaded,
    CodeNotLoaded,
    EndCall,
    LoadCode,
    LoopBlocked,
    RunStep,
    StepAnswer,
    StepConfiguration,
    StepReady,
)

FROM_APPLICATIONS: frozenset[type] = frozenset((StartSaga, AwaitSaga, OrderSaga, ListProcesses, *QUERIES))
"""What processes outside the system may say to an actor."""

REPEATED: frozenset[type] = frozenset(
    (
        # Applications send these until they are answered,
        StartSaga,
        AwaitSaga,
        OrderSaga,
        ListProcesses,
        *QUERIES,
        # and so ask for these again.
        RegistryQuery,
        Accepted,
        Rejected,
        SagaOutcome,
        Done,
        Processes,
        *ANSWERS,
        # Sagas ask these until they are answered.
        RequestLease,
        AdoptProcess,
        EndProcess,
        # The registry looks at the journal for whoever waits, told or not.
        LifecycleReport,
        # The supervisor tells these every few seconds.
        Configuration,
        HostConfiguration,
    )
)
"""What may be refused where the receiver does not read: it is sent again, or another way leads there. What is not
listed is never refused; there is a bound to how much of it each saga and each process can cause."""

__all__ = [
    "ANSWERS",
    "FROM_APPLICATIONS",
    "QUERIES",
    "REPEATED",
    "Accepted",
    "Address",
    "AdoptProcess",
    "AwaitChanges",
    "AwaitSaga",
    "BeginSaga",
    "CallEnded",
    "Changes",
    "ClientLeft",
    "CodeLoaded",
    "CodeNotLoaded",
    "Configuration",
    "CountSagas",
    "Done",
    "Drain",
    "DrainSagas",
    "Drained",
    "EndCall",
    "EndProcess",
    "GetSaga",
    "GetTimeline",
    "HostConfiguration",
    "LifecycleReport",
    "ListHistory",
    "ListProcesses",
    "ListRunning",
    "ListSagas",
    "LoadCode",
    "LoopBlocked",
    "OrderSaga",
    "ProcessDead",
    "ProcessGrant",
    "ProcessRefusal",
    "Processes",
    "Query",
    "RegistryQuery",
    "Rejected",
    "RequestLease",
    "ResolveStep",
    "ResumeSaga",
    "ReturnProcess",
    "RunStep",
    "SagaActorFailed",
    "SagaCounts",
    "SagaEnded",
    "SagaFound",
    "SagaList",
    "SagaOrder",
    "SagaOutcome",
    "SagaSleeps",
    "StartSaga",
    "StepAnswer",
    "StepConfiguration",
    "StepReady",
    "SupervisorFailed",
    "SupervisorReady",
    "Timeline",
    "WaitForSaga",
    "Waiter",
    "message",
]
