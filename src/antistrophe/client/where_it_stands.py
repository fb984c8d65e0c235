"""Where a saga stands that has not ended, in words: what it waits for, or which step runs."""

from __future__ import annotations

from antistrophe.records import SagaMetadata, StepStatus

_AT_WORK = {StepStatus.RUNNING: "runs", StepStatus.COMPENSATING: "is being compensated"}


def where_it_stands(saga: SagaMetadata | None) -> str:
    """The end of a sentence about a saga; None for one that the system does not know."""
    if saga is None:
        return "the actor system has not accepted a saga of that id"
    if not saga.status.running:
        return f"it is {saga.status.value}"
    if saga.waiting is not None:
        return f"it waits: {saga.waiting}"
    for step in saga.steps:
        if step.status in _AT_WORK:
            process = "" if step.pid is None else f", in process {step.pid}"
            return f"step {step.index} ({step.name}) {_AT_WORK[step.status]}{process}"
    return "its next step is about to begin"
