"""Every exception that antistrophe raises on purpose, as one tree.

AntistropheError
├── SagaError                        a saga did not complete; has ``saga_id``
│   ├── StepFailedError              a step raised an exception
│   ├── StepTimeoutError             an attempt passed its time limit and was ended
│   ├── StepCrashedError             the process of an attempt died
│   │   └── StepInterruptedError     the actor system ended an attempt: it stopped, or died
│   ├── CompensationFailedError      a compensation failed for good: an operator is needed
│   └── SagaCancelledError           somebody cancelled the saga
├── RequestError                     the caller's mistake, found before anything ran
│   ├── AlreadyExecutingError        a saga with this id is live, and somebody who is attached holds it
│   ├── SagaExistsError              a finished saga with another definition, or a purged one, has this id
│   ├── SagaNotFoundError            no saga has this id
│   ├── InvalidSettingsError         a setting, or a file of settings, is wrong (a ValueError too)
│   └── InvalidDefinitionError       the definition of a saga is wrong (a ValueError too)
│       └── InvalidStepError         a step of a definition is wrong
│           ├── NotSerializableError     a value can't travel to another process
│           └── PayloadTooLargeError     a value is larger than the limit
├── SystemStateError                 the actor system or its files can't do this now
│   ├── SystemUnavailableError       no actor system answers
│   ├── OverloadedError              the system takes no more requests at the moment
│   └── JournalError                 the journal can't be used; names the file and what to do
│       ├── JournalBusyError         another process holds its write lock; names that process
│       ├── CommitUnknownError       nobody can say whether it was written
│       └── UnreadableEntryError     an entry is damaged, or a newer release has written it
├── StepSignal                       a step raises one to say how its attempt ended
│   ├── RetryableError               nothing happened; try again
│   ├── FatalError                   nothing happened; don't try again
│   └── InDoubtError                 the effect may have happened
│       └── InvalidResultError       the events of a StepResult are none (a TypeError too)
├── UnreadableDataError              bytes are damaged, or no longer fit their class
├── OutputNotFoundError              ``ctx.outputs[...]`` of a step without an output (a KeyError too)
├── ResourceNotFoundError            ``ctx.worker[...]`` of what was not made in this process (a KeyError too)
└── CqrsError                        event store, command bus, projections, versions
    ├── ConcurrencyError             ``expected_version`` was not met
    ├── ValidationError              a command's fields are wrong; has ``errors``
    ├── CommandRejectedError         a handler refused a command
    ├── HandlerNotFoundError         no handler is registered for a command's type
    ├── DuplicateHandlerError        a handler is registered already for a command's type
    ├── IdempotencyConflictError     one key was used for two different commands
    ├── UnknownVersionError          an event's version is newer than every version known here
    ├── InvalidUpcasterError         upcasters have a gap, a cycle, a duplicate, or a field without a source
    └── ProjectionNotFoundError      no projection has this name

``AttemptCancelled`` is not in the tree: it is a BaseException, so that a step's ``except Exception`` does not swallow
the order to stop.

Code outside a step catches what it can act on::

    try:
        events = orchestrator.execute(saga)
    except CompensationFailedError as error:  # the saga waits for an operator
        page_somebody(error.saga_id, error.step_name)
    except SagaError as error:  # all that was done is compensated
        report(error)
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from antistrophe.fast_dataclass import dataclass
from antistrophe.records import SagaStatus


class AntistropheError(Exception):
    """The base of all errors that antistrophe raises on purpose. A copy, and what a pickle brings to another process
    (that of a pool, or of a queue of tasks), has its attributes and notes, and the cause where that is one of these."""

    def __reduce__(self) -> tuple[Any, ...]:
        # As an exception is pickled else, its class is called with ``args``, which are not what it was called with.
        cause = self.__cause__ if isinstance(self.__cause__, AntistropheError) else None
        return _again, (type(self), self.args, vars(self).copy(), cause)


def _again(kind: type[AntistropheError], args: tuple[object, ...], its: dict[str, Any], cause: Any) -> AntistropheError:
    error = kind.__new__(kind, *args)
    vars(error).update(its)
    if cause is not None:
        error.__cause__ = cause
    return error


class AttemptCancelled(BaseException):
    """An attempt must end now. SIGTERM raises this in the step's main thread; the kill comes ``kill_grace_s`` seconds
    later."""


# --- how a saga ended ---------------------------------------------------------------------------------------------


class SagaError(AntistropheError):
    """A saga did not complete. ``saga_id`` names it. ``traceback``, a text, says where a step raised, in its own
    process; None where none did. It is printed with this error, as a note."""

    def __init__(self, message: str, *, saga_id: str) -> None:
        super().__init__(message)
        self.saga_id = saga_id
        self.traceback: str | None = None


class _StepOutcomeError(SagaError):
    def __init__(self, message: str, *, saga_id: str, step_index: int, step_name: str) -> None:
        super().__init__(message, saga_id=saga_id)
        self.step_index = step_index
        self.step_name = step_name


class StepFailedError(_StepOutcomeError):
    """A step raised an exception. ``error`` is its text, ``error_type`` the name of its class."""

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
    """An attempt passed its time limit and was ended. ``duration_s`` is the limit in seconds."""

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
    """The process of an attempt died: it left with ``exit_code``, or ``signal`` (a number) ended it. Both are None if
    nobody knows."""

    _happened = "crashed"

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
            f"step {step_index} ({step_name}) {self._happened}: {detail or 'its process ended: ' + how}",
            saga_id=saga_id,
            step_index=step_index,
            step_name=step_name,
        )
        self.exit_code = exit_code
        self.signal = signal


class StepInterruptedError(StepCrashedError):
    """An attempt was ended by the actor system and not by itself: the system stopped, and ``drain_s`` was over, or it
    died. Nobody knows whether the step took effect, so the saga has undone it."""

    _happened = "was interrupted"


class CompensationFailedError(_StepOutcomeError):
    """A compensation failed for good, and the saga waits for an operator. ``__cause__`` says what made the saga turn
    back."""

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
    """Somebody cancelled the saga, and its steps are compensated. ``reason`` is what the canceller gave, or None."""

    def __init__(self, *, saga_id: str, reason: str | None = None) -> None:
        super().__init__(f"saga {saga_id!r} was cancelled" + (f": {reason}" if reason else ""), saga_id=saga_id)
        self.reason = reason


# --- the caller's mistakes ----------------------------------------------------------------------------------------


class RequestError(AntistropheError):
    """The caller asked for something that can't be done. Nothing ran."""


class AlreadyExecutingError(RequestError):
    """A saga with this id is live, and an open orchestrator has started or joined it. Join it with
    ``if_live="join"``, or ask ``handle(id)``."""


class SagaExistsError(RequestError):
    """A saga with this id and another definition has finished, or its record was purged. Choose a new id.

    Of a purged saga ``status`` says how it ended (a SagaStatus), and ``finished_at`` when (an aware datetime in UTC);
    else both are None."""

    def __init__(self, message: str, *, status: SagaStatus | None = None, finished_at: datetime | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.finished_at = finished_at


class SagaNotFoundError(RequestError):
    """No saga has this id."""


class InvalidSettingsError(RequestError, ValueError):
    """A setting is wrong, or a file of settings can't be read. The text names the file, the key and what is allowed."""


class InvalidDefinitionError(RequestError, ValueError):
    """The definition of a saga is wrong. The text says what is wrong and what is allowed."""


class InvalidStepError(InvalidDefinitionError):
    """A step of a definition is wrong. The text names the step, what is wrong and what to do."""


class NotSerializableError(InvalidStepError):
    """A value can't travel to another process. The text names the field and what to do."""


class PayloadTooLargeError(InvalidStepError):
    """A packed value is larger than the setting ``max_payload_bytes``, or a saga's whole definition larger than 128
    MiB."""


# --- the state of the system --------------------------------------------------------------------------------------


class SystemStateError(AntistropheError):
    """The actor system, or its files, are in a state in which they can't do this."""


class SystemUnavailableError(SystemStateError):
    """No actor system answers for this home."""


class OverloadedError(SystemStateError):
    """The system has not yet read what this application has sent: 1,000 requests, or 64 MiB, wait; or this application
    has no descriptor left for its connection to the system. Try again later."""


class JournalError(SystemStateError):
    """The journal can't be used: it is corrupt, newer than this program, not writable, or another owner's. The text
    names the file and what to do."""


class JournalBusyError(JournalError):
    """Somebody else has held the journal's write lock for too long, and nothing was written. The text names the process
    that holds it."""


class UnreadableEntryError(JournalError):
    """An entry of a saga is damaged, or a newer release has written it, and this one does not understand it. The text
    names the entry. Nothing was changed."""


class CommitUnknownError(JournalError):
    """Nobody can say whether a commit took effect: the connection to the database was lost meanwhile, no standby has it
    yet, or the disk could not sync it. Read back what was to be written before you do it again."""


# --- what a step raises -------------------------------------------------------------------------------------------


class StepSignal(AntistropheError):  # noqa: N818 - a step says how it ended, which need not be an error
    """A step's own code raises one of these to say how its attempt ended."""


class RetryableError(StepSignal):
    """Nothing happened: try again, after ``after_s`` seconds at the earliest where that is given."""

    def __init__(self, message: str = "", *, after_s: float | None = None) -> None:
        super().__init__(message)
        self.after_s = after_s


class FatalError(StepSignal):
    """Nothing happened, and another attempt would be useless."""


class InDoubtError(StepSignal):
    """The effect may or may not have happened, so the step must be compensated."""


class InvalidResultError(InDoubtError, TypeError):
    """``StepResult(...)`` got what are no events. The step that says so has most likely done its work, so it is in
    doubt."""


class UnreadableDataError(AntistropheError, ValueError):
    """Bytes can't be read: they are torn, foreign, or written for a class that has changed since."""


class OutputNotFoundError(AntistropheError, KeyError):
    """``ctx.outputs[name]`` was asked for a step that has no output, comes later, or does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ResourceNotFoundError(AntistropheError, KeyError):
    """``ctx.worker[name]`` was asked for what no function under ``@on_worker_start`` has made in this process."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


# --- event store, command bus, projections, versions --------------------------------------------------------------


class CqrsError(AntistropheError):
    """The base of the errors of ``antistrophe.cqrs``."""


class ConcurrencyError(CqrsError):
    """``expected_version`` was not met: somebody else wrote to ``stream`` first. ``actual`` is the version now."""

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        super().__init__(f"stream {stream!r} is at version {actual}, not {expected}: read it again, decide again")
        self.stream = stream
        self.expected = expected
        self.actual = actual


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field of a command: its name, what is wrong with it, and a code that programs can compare."""

    field: str
    message: str
    code: str = "validation_failed"


class ValidationError(CqrsError):
    """Fields of a command are wrong. ``errors`` is a list with a FieldError for each of them."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        if isinstance(errors, str) or not all(isinstance(each, FieldError) for each in errors):
            raise TypeError(f'ValidationError takes [FieldError("field", "message"), ...], not {errors!a:.200}')
        self.errors = list(errors)
        super().__init__("; ".join(f"{error.field}: {error.message} ({error.code})" for error in self.errors))


class CommandRejectedError(CqrsError):
    """A handler refused a command because a rule of the business forbids it."""


class HandlerNotFoundError(CqrsError):
    """No handler is registered for this type of command."""


class DuplicateHandlerError(CqrsError):
    """A handler is registered already for this type of command. ``replace=True`` replaces it."""


class IdempotencyConflictError(CqrsError):
    """This idempotency key was used before, for another command."""


class UnknownVersionError(CqrsError):
    """The version of an event is newer than every version that this program knows."""


class InvalidUpcasterError(CqrsError):
    """The upcasters of a type have a gap, a cycle or a duplicate, or leave a field without source and default."""


class ProjectionNotFoundError(CqrsError):
    """No projection is registered under this name."""
