"""Every exception that antistrophe raises on purpose, as one tree.

AntistropheError
├── SagaError                        how one saga ended; has ``saga_id``
│   ├── StepFailedError              a step said no
│   ├── StepTimeoutError             an attempt passed its limit and was ended
│   ├── StepCrashedError             the process of an attempt died
│   ├── CompensationFailedError      an undo failed for good: a person is needed
│   └── SagaCancelledError           somebody cancelled the saga
├── RequestError                     the caller's mistake, found before anything ran
│   ├── AlreadyExecutingError        that id is live
│   ├── SagaExistsError              that id belongs to another, finished definition
│   ├── SagaNotFoundError            no saga has that id
│   ├── InvalidSettingsError         a setting, or a file of settings, is wrong (a ValueError too)
│   └── InvalidDefinitionError       the definition can't be run as it stands
│       └── InvalidStepError         ... because of one of its steps
│           ├── NotSerializableError     a value can't travel to another process
│           └── PayloadTooLargeError     a value is larger than the limit
├── SystemStateError                 the state of the actor system or its files
│   ├── SystemUnavailableError       no actor system answers
│   ├── OverloadedError              the system takes no more work just now
│   └── JournalError                 the journal can't be used; says which file and what to do
├── StepSignal                       what a step raises to say how it ended
│   ├── RetryableError               nothing happened; try again
│   ├── FatalError                   nothing happened; don't try again
│   └── InDoubtError                 it may have happened
├── UnreadableDataError              bytes that are not what they should be, or no longer fit their class
├── OutputNotFoundError              ``ctx.outputs[...]`` of a step that has none (a KeyError too)
└── CqrsError                        event store, command bus, projections, versions
    ├── ConcurrencyError             ``expected_version`` was not met
    ├── ValidationError              a command's fields are wrong; has ``errors``
    ├── CommandRejectedError         a handler refused a command
    ├── HandlerNotFoundError         no handler for that command type
    ├── DuplicateHandlerError        a second handler for one command type
    ├── IdempotencyConflictError     one key, two different commands
    ├── UnknownVersionError          an event of a newer version than is known
    ├── InvalidUpcasterError         a gap, a cycle, a duplicate, or a field without a source
    └── ProjectionNotFoundError      no projection has that name

``AttemptCancelled`` stands outside: it is a BaseException, so that a step's ``except Exception`` does not
swallow the order to stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class AntistropheError(Exception):
    """The base of everything below."""


class AttemptCancelled(BaseException):
    """Raised in a step's main thread when its attempt is to end now (SIGTERM); the kill follows after the grace."""


# --- how a saga ended ---------------------------------------------------------------------------------------------


class SagaError(AntistropheError):
    """A saga did not complete. ``saga_id`` names it."""

    def __init__(self, message: str, *, saga_id: str) -> None:
        super().__init__(message)
        self.saga_id = saga_id


class _StepOutcomeError(SagaError):
    def __init__(self, message: str, *, saga_id: str, step_index: int, step_name: str) -> None:
        super().__init__(message, saga_id=saga_id)
        self.step_index = step_index
        self.step_name = step_name


class StepFailedError(_StepOutcomeError):
    """A step raised (``error`` is its text, ``error_type`` the name of the exception's class)."""

    def __init__(self, *, saga_id: str, step_index: int, step_name: str, error: str, error_type: str) -> None:
        super().__init__(
            f"step {step_index} ({step_name}) failed: {error_type}" + (f": {error}" if error else ""),
            saga_id=saga_id,
            step_index=step_index,
            step_name=step_name,
        )
        self.error = error
        self.error_type = error_type


class StepTimeoutError(_StepOutcomeError):
    """An attempt ran past its limit and was ended. ``duration_s`` is the limit in seconds."""

    def __init__(
        self, *, saga_id: str, step_index: int, step_name: str, duration_s: float, detail: str | None = None
    ) -> None:
        super().__init__(
            f"step {step_index} ({step_name}) timed out after {duration_s:g} s" + (f": {detail}" if detail else ""),
            saga_id=saga_id,
            step_index=step_index,
            step_name=step_name,
        )
        self.duration_s = duration_s


class StepCrashedError(_StepOutcomeError):
    """The process of an attempt died: with ``exit_code``, or by ``signal`` (a number); both None if unknown."""

    def __init__(
        self,
        *,
        saga_id: str,
        step_index: int,
        step_name: str,
        exit_code: int | None,
        signal: int | None,
        detail: str | None = None,
    ) -> None:
        how = f"signal {signal}" if signal is not None else f"exit code {exit_code}"
        super().__init__(
            f"step {step_index} ({step_name}) crashed: {detail or 'its process ended: ' + how}",
            saga_id=saga_id,
            step_index=step_index,
            step_name=step_name,
        )
        self.exit_code = exit_code
        self.signal = signal


class CompensationFailedError(_StepOutcomeError):
    """A compensation failed for good; the saga waits for an operator. ``__cause__``: what made the saga turn back."""

    def __init__(self, *, saga_id: str, step_index: int, step_name: str, error: str) -> None:
        super().__init__(
            f"the compensation of step {step_index} ({step_name}) failed: {error}; "
            f"saga {saga_id!r} waits for an operator (retry it, or resolve the step with a note)",
            saga_id=saga_id,
            step_index=step_index,
            step_name=step_name,
        )
        self.error = error


class SagaCancelledError(SagaError):
    """The saga was cancelled; what it had done is compensated. ``reason`` is the canceller's, or None."""

    def __init__(self, *, saga_id: str, reason: str | None = None) -> None:
        super().__init__(f"saga {saga_id!r} was cancelled" + (f": {reason}" if reason else ""), saga_id=saga_id)
        self.reason = reason


# --- the caller's mistakes ----------------------------------------------------------------------------------------


class RequestError(AntistropheError):
    """The caller asked for something that can't be done; nothing ran."""


class AlreadyExecutingError(RequestError):
    """A saga of that id is live; join it with ``if_live="join"`` or ``handle(id)``."""


class SagaExistsError(RequestError):
    """A saga of that id has finished, with another definition; choose a new id."""


class SagaNotFoundError(RequestError):
    """No saga has that id."""


class InvalidSettingsError(RequestError, ValueError):
    """A setting is wrong, or a file of settings can't be read. Names the file, the key and what is allowed."""


class InvalidDefinitionError(RequestError, ValueError):
    """The saga's definition can't be run as it stands."""


class InvalidStepError(InvalidDefinitionError):
    """One step of a definition can't be run as it stands."""


class NotSerializableError(InvalidStepError):
    """A value can't be written as typed msgpack; the message names the field and what to do."""


class PayloadTooLargeError(InvalidStepError):
    """A value is larger than ``max_payload_bytes``."""


# --- the state of the system --------------------------------------------------------------------------------------


class SystemStateError(AntistropheError):
    """The actor system or its files are not in a state to do this."""


class SystemUnavailableError(SystemStateError):
    """No actor system answers for this home."""


class OverloadedError(SystemStateError):
    """The system does not read what this application has sent (1,000 requests, or 64 MiB, wait); try again later."""


class JournalError(SystemStateError):
    """The journal can't be used (corrupt, newer, not writable, another owner's). Names the file and what to do."""


# --- what a step raises -------------------------------------------------------------------------------------------


class StepSignal(AntistropheError):  # noqa: N818 - what a step says, not an error of its own
    """Raised by a step's own code to say how its attempt ended."""


class RetryableError(StepSignal):
    """Nothing happened; try again, not before ``after_s`` seconds where that is given."""

    def __init__(self, message: str = "", *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class FatalError(StepSignal):
    """Nothing happened, and trying again is useless."""


class InDoubtError(StepSignal):
    """The effect may or may not have happened: the step is owed a compensation."""


class UnreadableDataError(AntistropheError, ValueError):
    """Bytes that are not what they should be: torn, foreign, or written for a class that has changed since."""


class OutputNotFoundError(AntistropheError, KeyError):
    """``ctx.outputs[name]`` of a step that has no output (or does not exist, or comes later)."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


# --- event store, command bus, projections, versions --------------------------------------------------------------


class CqrsError(AntistropheError):
    """The base of the errors of ``antistrophe.cqrs``."""


class ConcurrencyError(CqrsError):
    """``expected_version`` was not met: somebody else wrote to ``stream`` first."""

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream!r} is at version {actual}, not {expected}: read it again, decide again")
        self.stream = stream
        self.expected = expected
        self.actual = actual


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a command: its name, what is wrong, and a code that programs can compare."""

    field: str
    message: str
    code: str = "validation_failed"


class ValidationError(CqrsError):
    """A command's fields are wrong; ``errors`` has all of them at once."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        self.errors = list(errors)
        super().__init__("; ".join(f"{error.field}: {error.message} ({error.code})" for error in self.errors))


class CommandRejectedError(CqrsError):
    """A handler refused a command for a reason of the business."""


class HandlerNotFoundError(CqrsError):
    """No handler is registered for that type of command."""


class DuplicateHandlerError(CqrsError):
    """A handler for that type of command is registered already; say ``replace=True`` to mean it."""


class IdempotencyConflictError(CqrsError):
    """The idempotency key was used before, for another command."""


class UnknownVersionError(CqrsError):
    """An event is of a newer version than this program knows."""


class InvalidUpcasterError(CqrsError):
    """An upcaster leaves a gap, a cycle, a duplicate, or a field that has neither source nor default."""


class ProjectionNotFoundError(CqrsError):
    """No projection is registered under that name."""
