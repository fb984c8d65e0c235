"""The context that a step sees, made from the message that asks for its call."""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime
from typing import Any

from antistrophe.actors.step.stored_outputs import StoredOutputs
from antistrophe.definition.code_loading import CodeNotLoadableError
from antistrophe.definition.context import Outputs, StepContext
from antistrophe.definition.outputs import unpack_output
from antistrophe.definition.worker_start import Worker
from antistrophe.errors import UnreadableDataError
from antistrophe.messages import RunStep
from antistrophe.saga.trace_ids import attempt_part, traceparent_of
from antistrophe.serialization.fast_records import maker


def context_of(message: RunStep, deadline_at: float, worker: Worker, stored: StoredOutputs) -> StepContext:
    """The context of the call that the message asks for; the call is ended at ``deadline_at`` (seconds since the epoch
    by the machine's own clock, which the step sees), and finds in ``worker`` what was made at the start of its process.
    Outputs that the message does not hold are in ``stored``. Raises CodeNotLoadableError for an output that
    can't be read or made again, and JournalError where the journal can't be read."""
    at_hand = {name: _output(output, name) for name, output in message.outputs if isinstance(output, bytes)}
    all_at_hand = len(at_hand) == len(message.outputs) and not message.more_outputs
    output = message.output
    if isinstance(output, int):
        output = stored.packed(message.saga_id, output)
    part = attempt_part(message.step, message.action, message.attempt)
    made: StepContext = _make(
        message.saga_id,
        message.step_name,
        message.step,
        message.run,
        message.idempotency_key,
        message.forward_key,
        Outputs(at_hand, message.step_name, None if all_at_hand else stored.of(message)),
        None if output is None else _output(output, message.step_name),
        message.in_doubt,
        datetime.fromtimestamp(deadline_at, UTC),
        _logger_of(message.step_name),
        worker,
        traceparent_of(message.saga_id, message.request_id, message.traceparent, part),
        message.fencing_token,
    )
    return made


_make = maker(StepContext)  # its ``__init__`` makes a call for each field
_KEPT_LOGGERS = 64


@functools.lru_cache(_KEPT_LOGGERS)
def _logger_of(step_name: str) -> logging.Logger:
    return logging.getLogger(f"antistrophe.step.{step_name}")


def _output(packed: bytes, step_name: str) -> Any:
    try:
        return unpack_output(packed, f"the output of step {step_name!r}")
    except UnreadableDataError as error:
        raise CodeNotLoadableError(str(error)) from error
