"""Makes the message that tells a step process to make the call of an attempt."""

from __future__ import annotations

from antistrophe.messages import RunStep
from antistrophe.saga.entries import Action, AttemptStarted
from antistrophe.saga.state import Saga


def run_step(saga: Saga, started: AttemptStarted) -> RunStep:
    """The message for that attempt, with everything that the step's context shows."""
    spec, state = saga.spec.steps[started.step], saga.steps[started.step]
    forward_key = f"{saga.id}:{started.step}:forward"
    back = started.action is Action.COMPENSATE
    if back:
        run = started.attempt - state.undo_never_ran - state.undo_refused
    elif started.action is Action.VERIFY:
        run = started.attempt
    else:
        run = started.attempt - state.never_ran - state.refused
    outputs = tuple(
        (saga.spec.steps[index].name, earlier.output)
        for index, earlier in enumerate(saga.steps[: started.step])
        if earlier.output is not None
    )
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
        outputs=outputs,
        output=state.output,
        in_doubt=state.in_doubt,
        limits=spec.limits,
        kill_grace_s=spec.kill_grace_s,
        fresh=spec.fresh_process,
    )
