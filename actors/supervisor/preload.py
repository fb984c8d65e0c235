"""Preload: what each fork would do before its first commit, the supervisor does once before it forks."""

from __future__ import annotations

import gc
from functools import cache

from thespian.actors import ActorExitRequest, ChildActorExited

from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.linux.own_memory import settle_memory
from antistrophe.linux.own_tasks import links_are_threads
from antistrophe.messages import (
    CallEnded,
    CallOver,
    CodeLoaded,
    CodeNotLoaded,
    EndCall,
    LoadCode,
    RunStep,
    StepAnswer,
    StepConfiguration,
    StepReady,
)
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import ENTRY_TYPES, Action, Entry, Lease, SagaAccepted
from antistrophe.saga.inputs import ANSWER_TYPES, Answered, Input, ProcessGranted, Returned
from antistrophe.saga.machine import decide
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from antistrophe.serialization.converter import hooks, make_converter
from antistrophe.serialization.payload import pack_record, unpack_record


def warm_up() -> None:
    """Generate the code that reads and writes records, run a saga through the machine, all in memory, and find out what
    this kernel counts."""
    make_converter(False, True)  # for the inputs of steps
    for cls in (*ENTRY_TYPES, *ANSWER_TYPES, SagaMetadata):
        hooks(cls)
    said: list[Input] = [ProcessGranted(_LEASE), Answered(0, Action.EXECUTE, 1, Returned())]
    accepted = SagaAccepted(0.0, "", _SPEC)
    entries: list[Entry] = [accepted]
    saga: Saga = evolve(None, accepted)
    for each in said:
        for entry in decide(saga, each, 0.0):
            saga = evolve(saga, entry)
            entries.append(entry)
    for entry in entries:
        unpack_record(pack_record(entry), ENTRY_TYPES)
    unpack_record(pack_record(metadata_of(saga)), (SagaMetadata,))
    links_are_threads()
    gc.collect()
    settle_memory()


@cache
def step_actors() -> tuple[type, type]:
    """The actors of step processes and of async workers. They and asyncio are a sixth of what the system imports, so
    the supervisor loads them when it takes requests already, and before its first fork for user code."""
    import zoneinfo  # noqa: F401 - the input of a step may hold times of a zone

    from antistrophe.actors.step.async_step import AsyncStepActor
    from antistrophe.actors.step.step import StepActor

    settle_memory()
    return StepActor, AsyncStepActor


WITH_STEPS = (
    StepConfiguration,
    StepReady,
    LoadCode,
    CodeLoaded,
    CodeNotLoaded,
    RunStep,
    StepAnswer,
    EndCall,
    CallEnded,
    CallOver,
    ChildActorExited,
    ActorExitRequest,
)
"""What the supervisor and a saga say to a process of user code, and hear from it."""

_LEASE = Lease("warm-up", 1, 1, "")
_STEP = StepSpec(
    name="step",
    class_ref="module:Step",
    input=b"",
    timeout_s=1.0,
    kill_grace_s=1.0,
    retry=RetryPolicy(max_attempts=1),
    retryable_attempts=1,
    compensation_timeout_s=1.0,
    compensation_retry=RetryPolicy(),
    idempotent=False,
    atomic=True,
    requires_compensation=True,
    fresh_process=False,
    has_verify=False,
)
_SPEC = SagaSpec("warm-up", "warm-up", None, True, (_STEP,), Origin(None, (), ""))
