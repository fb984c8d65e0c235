"""Every message between the actors of a system and the applications that are attached to it.

How it works: a message is a frozen record of numbers, texts, bytes, addresses and other records; ``transport`` packs it
as a row of its class's name and its fields. Users' values travel in messages as packed bytes only.

    application ─ requests, queries ─► supervisor ─ sagas ─► saga actors ─ steps ─► step actors
         ▲                                 │  queries            │
         └────────── answers ──────────────┴─► registry ◄────────┘ LifecycleReport

- ``requests``: what applications and the launcher tell the supervisor, and what they hear.
- ``queries``: what applications ask about sagas; the registry answers.
- ``sagas``: what the supervisor, the saga actors and the registry tell each other.
- ``steps``: what a step actor hears and says. ``message``: what makes a class a message.

Rules: any message may be lost or come twice, so each is safe to send again. A request carries a ``correlation`` that
its answer echoes; whoever asks ignores answers to other questions.

What is checked where:

- What callers give is checked where they give it: steps and their inputs by ``add_step``, the size of each input and
  where the classes come from by ``SagaDefinition.spec``, ids, texts and limits by the orchestrator's methods.
- That a message has exactly the fields of its class, each of its type, is checked where a frame comes in (``codec``).
- Who may send the message is checked there too (``receiver``): an outsider may send FROM_APPLICATIONS and nothing else.
- What a request says is checked by the supervisor's request handler, because an outsider's request has passed no
  orchestrator: the definition by ``problem_with``, the texts of an order by length and encoding.
"""

from __future__ import annotations

from antistrophe.messages.hosts import (
    AttemptsDead,
    AwaitElsewhere,
    HandOver,
    HostLoad,
    JoinHosts,
    LeaseConfirmed,
    LeaseEnded,
    LeaseRefused,
    MoveSaga,
    PermitsSettled,
    SagasClaimed,
    SagaTaken,
    SettlePermits,
)
from antistrophe.messages.message import Address, Configuration, Environment, message
from antistrophe.messages.queries import (
    ANSWERS,
    QUERIES,
    AwaitChanges,
    Changes,
    CountSagas,
    GetEntries,
    GetSaga,
    ListHistory,
    ListRunning,
    ListSagas,
    Query,
    RegistryQuery,
    SagaCounts,
    SagaEntries,
    SagaFound,
    SagaList,
)
from antistrophe.messages.requests import (
    Accepted,
    AttachedClients,
    AwaitSaga,
    ClientLeft,
    CodeReloaded,
    Done,
    Drain,
    Drained,
    HeldSagas,
    HoldSagas,
    Introduce,
    Introduced,
    ListProcesses,
    OrderSaga,
    Processes,
    Rejected,
    ReloadCode,
    ResolveStep,
    SagaOutcome,
    StartSaga,
    StopWaiting,
    SupervisorFailed,
    SupervisorReady,
    rejection,
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
)
from antistrophe.messages.steps import (
    CallEnded,
    CallOver,
    CodeLoaded,
    CodeNotLoaded,
    EndCall,
    LoadCode,
    LoopBlocked,
    ProcessSpoilt,
    RunStep,
    StepAnswer,
    StepConfiguration,
    StepReady,
)

FROM_APPLICATIONS: frozenset[type] = frozenset(
    (Introduce, StartSaga, AwaitSaga, StopWaiting, OrderSaga, HoldSagas, ListProcesses, ReloadCode, *QUERIES)
)
"""The messages that a process outside the system may send to an actor."""

REPEATED: frozenset[type] = frozenset(
    (
        # Applications send these until they are answered.
        Introduce,
        StartSaga,
        AwaitSaga,
        OrderSaga,
        HoldSagas,
        ListProcesses,
        ReloadCode,
        *QUERIES,
        # So these are handed on and answered again.
        RegistryQuery,
        Introduced,
        Accepted,
        Rejected,
        SagaOutcome,
        Done,
        HeldSagas,
        Processes,
        CodeReloaded,
        *ANSWERS,
        # Sagas ask these until they are answered.
        RequestLease,
        AdoptProcess,
        EndProcess,
        # The registry looks at the journal for whoever waits, told or not.
        LifecycleReport,
        # The launcher and the supervisor tell these every few seconds.
        AttachedClients,
        Configuration,
        HostConfiguration,
    )
)
"""The messages that are refused while their receiver does not read and its queue is full: each is sent again, or its
receiver looks by itself. No other message is refused; each saga and each process can cause a bounded number of them."""

__all__ = [
    "ANSWERS",
    "FROM_APPLICATIONS",
    "QUERIES",
    "REPEATED",
    "Accepted",
    "Address",
    "AdoptProcess",
    "AttachedClients",
    "AttemptsDead",
    "AwaitChanges",
    "AwaitElsewhere",
    "AwaitSaga",
    "BeginSaga",
    "CallEnded",
    "CallOver",
    "Changes",
    "ClientLeft",
    "CodeLoaded",
    "CodeNotLoaded",
    "CodeReloaded",
    "Configuration",
    "CountSagas",
    "Done",
    "Drain",
    "DrainSagas",
    "Drained",
    "EndCall",
    "EndProcess",
    "Environment",
    "GetEntries",
    "GetSaga",
    "HandOver",
    "HeldSagas",
    "HoldSagas",
    "HostConfiguration",
    "HostLoad",
    "Introduce",
    "Introduced",
    "JoinHosts",
    "LeaseConfirmed",
    "LeaseEnded",
    "LeaseRefused",
    "LifecycleReport",
    "ListHistory",
    "ListProcesses",
    "ListRunning",
    "ListSagas",
    "LoadCode",
    "LoopBlocked",
    "MoveSaga",
    "OrderSaga",
    "PermitsSettled",
    "ProcessDead",
    "ProcessGrant",
    "ProcessRefusal",
    "ProcessSpoilt",
    "Processes",
    "Query",
    "RegistryQuery",
    "Rejected",
    "ReloadCode",
    "RequestLease",
    "ResolveStep",
    "ResumeSaga",
    "ReturnProcess",
    "RunStep",
    "SagaActorFailed",
    "SagaCounts",
    "SagaEnded",
    "SagaEntries",
    "SagaFound",
    "SagaList",
    "SagaOrder",
    "SagaOutcome",
    "SagaSleeps",
    "SagaTaken",
    "SagasClaimed",
    "SettlePermits",
    "StartSaga",
    "StepAnswer",
    "StepConfiguration",
    "StepReady",
    "StopWaiting",
    "SupervisorFailed",
    "SupervisorReady",
    "Waiter",
    "message",
    "rejection",
]
