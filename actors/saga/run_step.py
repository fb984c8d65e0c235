"""Makes the message that tells a step process to make the call of an attempt."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from antistrophe.messages import RunStep
from antistrophe.saga.entries import Action, AttemptStarted
from antistrophe.saga.state import Saga
from antistrophe.saga.step_state import StepState

NAMED_AT_EACH_END = 32
"""A message names the outputs of so many of the first steps and of so many of the last ones before its own."""


def run_step(saga: Saga, started: AttemptStarted, fencing_token: int) -> RunStep:
    """The message for that attempt, with everything that the step's context shows. ``fencing_token``: of the host's
    claim on the saga."""
    spec, state = saga.spec.steps[started.step], saga.steps[started.step]
    forward_key = f"{saga.id}:{started.step}:forward"
    back = started.action is Action.COMPENSATE
    if back:
        run = started.attempt - state.undo_never_ran - state.undo_refused
    elif started.action is Action.VERIFY:
        run = started.attempt
    else:
        run = started.attempt - state.never_ran - state.refused
    return RunStep(
        saga_id=saga.id,
        step=started.step,
        step_name=spec.name,
        class_ref=spec.class_ref,
        origin=saga.spec.origin,
        input=spec.input,
        action=started.action,
        attempt=started.attempt,
        run=run,
        lease_name=started.lease.name,
        limit_s=started.limit_s,
        idempotency_key=f"{saga.id}:{started.step}:compensation" if back else forward_key,
        forward_key=forward_key,
        outputs=_outputs(saga, started.step),
        more_outputs=started.step > 2 * NAMED_AT_EACH_END,
        output=_output(state),
        in_doubt=state.in_doubt,
        limits=spec.limits,
        kill_grace_s=spec.kill_grace_s,
        fresh=spec.fresh_process,
        computed=spec.computed,
        request_id=saga.request_id,
        traceparent=saga.spec.traceparent,
        fencing_token=fencing_token,
    )


def _outputs(saga: Saga, before: int) -> tuple[tuple[str, bytes | int], ...]:
    """What the message says of the outputs of earlier steps."""
    named: Iterable[int] = range(before)
    if before > 2 * NAMED_AT_EACH_END:
        named = chain(range(NAMED_AT_EACH_END), range(before - NAMED_AT_EACH_END, before))
    steps = saga.steps
    found = ((index, _output(steps[index])) for index in named)
    return tuple((saga.spec.steps[index].name, output) for index, output in found if output is not None)


def _output(state: StepState) -> bytes | int | None:
    """A step's output; where the saga has not kept it, the seq of the entry that holds it."""
    return state.output_seq if state.output is None else state.output
