"""The context that a step sees, made from the message that asks for its call."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from antistrophe.definition.context import Outputs, StepContext
from antistrophe.definition.worker_start import Worker
from antistrophe.messages import RunStep
from antistrophe.serialization.payload import unpack_payload


def context_of(message: RunStep, deadline_at: float, worker: Worker) -> StepContext:
    """The context of the call that the message asks for; the call is ended at ``deadline_at`` (seconds since the
    epoch), and finds in ``worker`` what was made at the start of its process. Raises UnreadableDataError for an output
    that can't be read."""
    return StepContext(
        saga_id=message.saga_id,
        step_name=message.step_name,
        step_index=message.step,
        attempt=message.run,
        idempotency_key=message.idempotency_key,
        forward_key=message.forward_key,
        outputs=Outputs({name: unpack_payload(data) for name, data in message.outputs}, message.step_name),
        output=None if message.output is None else unpack_payload(message.output),
        in_doubt=message.in_doubt,
        deadline=datetime.fromtimestamp(deadline_at, UTC),
        log=logging.getLogger(f"antistrophe.step.{message.step_name}"),
        worker=worker,
    )
