"""What a call raised: the kind of the failure, and its text."""

from __future__ import annotations

import pytest

from antistrophe import FatalError, InDoubtError, ResourceLimits, RetryableError
from antistrophe.actors.step.raised import answer_of_exception
from antistrophe.saga.entries import FailureKind


def group(*errors: BaseException, depth: int = 0) -> BaseException:
    made = BaseExceptionGroup("several", errors)
    for _ in range(depth):
        made = BaseExceptionGroup("deeper", [ValueError("beside"), made, KeyError("behind")])
    return made


@pytest.mark.parametrize("depth", [0, 1, 3, 3_000])
@pytest.mark.parametrize(
    ("members", "kind"),
    [
        ((ValueError("a"), RetryableError("b"), FatalError("c"), InDoubtError("d")), FailureKind.IN_DOUBT),
        ((InDoubtError("d"), FatalError("c"), RetryableError("b")), FailureKind.IN_DOUBT),
        ((RetryableError("b"), FatalError("c")), FailureKind.FATAL),
        ((ValueError("a"), RetryableError("b")), FailureKind.RETRYABLE),
        ((ValueError("a"), KeyError("b")), FailureKind.RAISED),
        ((ValueError("a"), SystemExit(1)), FailureKind.IN_DOUBT),
    ],
)
def test_the_gravest_member_of_a_group_counts_however_deep(
    members: tuple[BaseException, ...], kind: FailureKind, depth: int
) -> None:
    assert answer_of_exception(group(*members, depth=depth)).kind is kind


def test_an_exception_of_two_kinds_is_of_the_graver_one() -> None:
    class BothError(RetryableError, InDoubtError):
        pass

    assert answer_of_exception(BothError()).kind is FailureKind.IN_DOUBT


def test_a_group_is_told_with_its_members_and_their_causes() -> None:
    lost = InDoubtError("perhaps paid")
    lost.__cause__ = ConnectionError("reset by peer")
    answer = answer_of_exception(group(lost, ValueError("no"), depth=1))
    assert answer.error_type == "ExceptionGroup"
    for text in ("InDoubtError: perhaps paid (from ConnectionError: reset by peer)", "ValueError: no", "beside"):
        assert text in answer.error


def test_a_cause_is_told_but_does_not_count() -> None:
    error = FatalError("no booking")
    error.__cause__ = InDoubtError("the answer was lost")
    answer = answer_of_exception(error)
    assert answer.kind is FailureKind.FATAL
    assert answer.error == "no booking (from InDoubtError: the answer was lost)"


def test_a_text_that_was_handed_on_is_told_once() -> None:
    error = FatalError("no account")
    error.__cause__ = KeyError("carol")
    error.__cause__.__cause__ = KeyError("carol")
    assert answer_of_exception(error).error == "no account (from KeyError: 'carol') (from KeyError)"


def test_the_longest_wait_of_a_group_counts() -> None:
    answer = answer_of_exception(group(RetryableError("a", after_s=1.0), RetryableError("b", after_s=2), ValueError()))
    assert answer.after_s == 2.0


def test_many_members_are_counted_and_a_limit_is_named() -> None:
    answer = answer_of_exception(
        group(*(MemoryError(str(number)) for number in range(50))), ResourceLimits(memory_bytes=1 << 20)
    )
    assert "and 40 more" in answer.error
    assert answer.error.endswith("(limits.memory_bytes=1048576)")
