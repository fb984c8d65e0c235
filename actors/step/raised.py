"""What a call raised, as it is journaled: which kind of failure it is, what its text tells, and its traceback."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from antistrophe.actors.step.traceback_text import traceback_of
from antistrophe.definition.spec import ResourceLimits
from antistrophe.definition.validation import LONGEST_S
from antistrophe.errors import FatalError, InDoubtError, RetryableError
from antistrophe.exception_text import class_name_of, clean, own_text
from antistrophe.saga.entries import FailureKind
from antistrophe.saga.inputs import Exited, Raised

# The gravest first. A SystemExit within a group did not end the process, and nobody knows what it left undone.
_KINDS: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], FailureKind], ...] = (
    ((InDoubtError, SystemExit), FailureKind.IN_DOUBT),
    (FatalError, FailureKind.FATAL),
    (RetryableError, FailureKind.RETRYABLE),
)
_MAX_ERROR_TEXT = 8_192
_MOST_MEMBERS = 10
_MOST_CAUSES = 5


def answer_of_exception(error: BaseException, limits: ResourceLimits | None = None) -> Raised:
    """The answer for what a call raised under these limits. Of a group of exceptions the gravest member counts."""
    members = list(_members(error))
    kind = next((kind for cls, kind in _KINDS if any(isinstance(each, cls) for each in members)), FailureKind.RAISED)
    after_s = _longest_wait(members) if kind is FailureKind.RETRYABLE else None
    limit = next(filter(None, (_limit_that(each, limits) for each in members)), "")
    text = " ".join(filter(None, (text_of(error), limit)))
    return Raised(kind, text, class_name_of(error), after_s, traceback_of(error))


def text_of(error: BaseException) -> str:
    """The text of an exception, with those of its members if it is a group, and with those of its causes."""
    return clean(_told(error))[:_MAX_ERROR_TEXT]


def exit_of(error: SystemExit) -> Exited | int:
    """How the process ends: the exit code alone, or with the text that ``sys.exit`` got in its place."""
    code = error.code
    if code is None or isinstance(code, int):
        return (code or 0) & 0xFF
    return Exited(1, text_of(error), traceback_of(error))


def _members(error: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group, and in the groups within, however deep; of any other exception itself alone."""
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(reversed(each.exceptions))
        else:
            yield each


def _told(error: BaseException) -> str:
    if not isinstance(error, BaseExceptionGroup):
        return own_text(error) + _causes(error)
    members = list(_members(error))
    told = [f"{class_name_of(each)}: {own_text(each)}{_causes(each)}" for each in members[:_MOST_MEMBERS]]
    if len(members) > _MOST_MEMBERS:
        told.append(f"and {len(members) - _MOST_MEMBERS} more")
    return f"{own_text(error)}: {'; '.join(told)}{_causes(error)}"


def _causes(error: BaseException) -> str:
    """What an exception was raised from, and what that was raised from. This is told, and says nothing of the kind."""
    text, seen, told = "", 0, own_text(error)
    while error.__cause__ is not None and seen < _MOST_CAUSES:
        error, seen = error.__cause__, seen + 1
        own = own_text(error)
        text += f" (from {class_name_of(error)})" if own == told else f" (from {class_name_of(error)}: {own})"
        told = own
    return text


def _limit_that(error: BaseException, limits: ResourceLimits | None) -> str:
    """The limit of the attempt that raised an error of this kind, or "". (The machine's own limits raise the same.)"""
    if limits is None:
        return ""
    if isinstance(error, MemoryError) and limits.memory_bytes is not None:
        return f"(limits.memory_bytes={limits.memory_bytes})"
    if isinstance(error, OSError) and error.errno == errno.EMFILE and limits.open_files is not None:
        return f"(limits.open_files={limits.open_files})"
    return ""


def _seconds(value: object) -> float | None:
    """The seconds that a step wants to wait. None where the value is no duration: then the retry policy counts."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return float(min(value, LONGEST_S))


def _longest_wait(errors: list[BaseException]) -> float | None:
    waits = [_seconds(getattr(each, "after_s", None)) for each in errors if isinstance(each, RetryableError)]
    return max((each for each in waits if each is not None), default=None)
