"""Every message between the actors of a system and the applications that are attached to it.

Requests carry a ``correlation`` that their answer echoes: whoever asks ignores answers to other questions. All are
frozen records of builtins and addresses; user data travel in them as packed bytes only. Any message may be lost or
come twice, so each is safe to send again.
"""

from __future__ import annotations

from antistrophe.messages.message import Address, Configuration, message
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
    Query,
    QueryAnswer,
    RegistryQuery,
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

FROM_APPLICATIONS: frozenset[type] = frozenset((StartSaga, AwaitSaga, OrderSaga, ListProcesses, Query))
"""What processes outside the system may say to an actor."""

REPEATED: frozenset[type] = frozenset(
    (
        # Applications send these until they are answered,
        StartSaga,
        AwaitSaga,
        OrderSaga,
        ListProcesses,
        Query,
        # and so ask for these again.
        RegistryQuery,
        Accepted,
        Rejected,
        SagaOutcome,
        Done,
        Processes,
        QueryAnswer,
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
    "FROM_APPLICATIONS",
    "REPEATED",
    "Accepted",
    "Address",
    "AdoptProcess",
    "AwaitSaga",
    "BeginSaga",
    "CallEnded",
    "ClientLeft",
    "CodeLoaded",
    "CodeNotLoaded",
    "Configuration",
    "Done",
    "Drain",
    "DrainSagas",
    "Drained",
    "EndCall",
    "EndProcess",
    "HostConfiguration",
    "LifecycleReport",
    "ListProcesses",
    "LoadCode",
    "LoopBlocked",
    "OrderSaga",
    "ProcessDead",
    "ProcessGrant",
    "ProcessRefusal",
    "Processes",
    "Query",
    "QueryAnswer",
    "RegistryQuery",
    "Rejected",
    "RequestLease",
    "ResolveStep",
    "ResumeSaga",
    "ReturnProcess",
    "RunStep",
    "SagaActorFailed",
    "SagaEnded",
    "SagaOrder",
    "SagaOutcome",
    "SagaSleeps",
    "StartSaga",
    "StepAnswer",
    "StepConfiguration",
    "StepReady",
    "SupervisorFailed",
    "SupervisorReady",
    "WaitForSaga",
    "Waiter",
    "message",
]
