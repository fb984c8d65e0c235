"""Tracebacks of what a step raises: its own frames, its causes and members, bounded, whatever its classes do."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from antistrophe import InDoubtError, SagaDefinition, SagaStatus, SagaStep, StepContext, StepFailedError, StepResult
from antistrophe.actors.step.raised import answer_of_exception
from antistrophe.actors.step.traceback_text import MAX_TRACEBACK_BYTES, traceback_of
from antistrophe.testing import Outcome, run_inline


def raised(make: Callable[[], object]) -> BaseException:
    try:
        make()
    except BaseException as error:
        return error
    raise AssertionError("it has raised nothing")


def told(error: BaseException) -> str:
    text = traceback_of(error)
    assert text is not None
    assert len(text.encode()) <= MAX_TRACEBACK_BYTES
    return text


def amount_of(order: dict[str, int]) -> int:
    return order["amount"]


def deeper(left: int) -> int:
    return amount_of({}) if left == 0 else deeper(left - 1)


def with_cause() -> None:
    try:
        amount_of({})
    except KeyError as error:
        raise InDoubtError("no order") from error


def with_context() -> None:
    try:
        amount_of({})
    except KeyError:
        int("x")


def test_the_frames_stand_in_pythons_order_with_their_lines() -> None:
    lines = told(raised(lambda: amount_of({}))).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == "KeyError: 'amount'"
    assert lines[-2] == '    return order["amount"]'
    assert lines[-3].startswith(f'  File "{__file__}", line ')
    assert lines[-3].endswith(" in amount_of")


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (with_cause, "The above exception was the direct cause of the following exception:"),
        (with_context, "During handling of the above exception, another exception occurred:"),
    ],
)
def test_what_it_was_raised_from_comes_first(make: Callable[[], None], sentence: str) -> None:
    text = told(raised(make))
    first, last = text.split(f"\n\n{sentence}\n\n")
    assert first.endswith("KeyError: 'amount'")
    assert f", in {make.__name__}\n" in last


def test_the_members_of_a_group_are_told_with_their_frames() -> None:
    members = [raised(lambda: amount_of({})), BaseExceptionGroup("within", [raised(with_cause)])]

    def together() -> None:
        raise BaseExceptionGroup("several", members)

    text = told(raised(together))
    assert "BaseExceptionGroup: several" in text or "ExceptionGroup: several" in text
    assert "  Member 1 of 2:\n    Traceback (most recent call last):" in text
    assert "in with_cause" in text
    assert text.count("in amount_of") == 2


def many_members() -> None:
    raise BaseExceptionGroup("many", [raised(lambda: deeper(50)) for _ in range(200)])


def deep_groups() -> None:
    error = raised(lambda: amount_of({}))
    for _ in range(3_000):
        error = BaseExceptionGroup("deeper", [error, ValueError("beside")])
    raise error


def long_chain() -> None:
    error = raised(lambda: deeper(30))
    for _ in range(2_000):
        later = raised(lambda: deeper(30))
        later.__cause__, error = error, later
    raise error


def long_text() -> None:
    raise ValueError("x" * 10_000_000)


def long_line() -> None:
    raise ValueError(
        "1", "22222222222222222222222222222222222222222222", "33333333333333333333333333333333333333333333333333333333"
    )


@pytest.mark.parametrize(
    "make", [lambda: deeper(900), many_members, deep_groups, long_chain, long_text, long_line, deeper.__get__(10**5)]
)
def test_however_much_there_is_it_is_bounded_and_both_ends_are_kept(make: Callable[[], object]) -> None:
    error = raised(make)
    text = told(error)
    assert text.rstrip().splitlines()[-1]
    assert type(error).__name__ in text
    assert __file__ in text


def test_of_many_frames_the_first_and_the_last_are_kept() -> None:
    text = told(raised(lambda: deeper(500)))
    assert "in raised" in text
    assert "frames left out)" in text
    assert text.endswith("KeyError: 'amount'")


class RudeError(Exception):
    def __init__(self, how: type[BaseException]) -> None:
        self.how = how

    def __str__(self) -> str:
        raise self.how("no")


class StrangeText(str):
    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        raise RuntimeError("no")


class StrangeTextError(Exception):
    def __str__(self) -> str:
        return StrangeText("strange")


def rude(error: BaseException, notes: object = None) -> None:
    if notes is not None:
        error.__notes__ = notes  # type: ignore[assignment]
    raise error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RudeError(ValueError), "RudeError: (no text: str() of the exception raised ValueError)"),
        (RudeError(SystemExit), "RudeError: (no text: str() of the exception raised SystemExit)"),
        (StrangeTextError(), "StrangeTextError: strange"),
        (ValueError("\ud800 lost"), "ValueError: ? lost"),
    ],
)
def test_an_exception_that_is_rude_itself_does_no_harm(error: BaseException, text: str) -> None:
    answer = answer_of_exception(raised(lambda: rude(error)))
    assert answer.traceback is not None
    assert answer.traceback.endswith(text)
    assert answer.error in text


@pytest.mark.parametrize("notes", [["the order is 7", 5], ("a",), 5])
def test_notes_are_told_where_they_are_texts(notes: object) -> None:
    text = told(raised(lambda: rude(ValueError("no"), notes)))
    assert text.endswith("ValueError: no\nthe order is 7" if isinstance(notes, list) else "ValueError: no")


def test_a_circle_of_causes_ends() -> None:
    one, other = raised(lambda: amount_of({})), raised(with_context)
    one.__cause__, other.__cause__ = other, one
    assert told(one).count("KeyError: 'amount'") == 1


def test_an_error_of_ours_alone_has_no_traceback() -> None:
    assert traceback_of(ValueError("never raised")) is None
    assert answer_of_exception(ValueError("never raised")).traceback is None


# --- inline -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pay(SagaStep):
    how: str
    blob: bytes = field(default=b"\x00" * 500_000, repr=False)

    def execute(self, ctx: StepContext) -> object:
        secret = [self.blob] * 3
        if self.how == "lazy":
            return (amount_of({}) for _ in secret)
        if self.how == "result":
            return StepResult(events=object())  # type: ignore[arg-type]
        if self.how == "exit":
            raise SystemExit("licence expired")
        return amount_of({})

    def compensate(self) -> None:
        raise ValueError("no refund")


@dataclass(frozen=True)
class PayLater(Pay):
    async def execute(self, ctx: StepContext) -> object:
        return amount_of({})


def run(step: SagaStep) -> Outcome:
    return run_inline(SagaDefinition("inline").add_step(step))


@pytest.mark.parametrize("step", [Pay("raise"), Pay("lazy"), Pay("result"), Pay("exit"), PayLater("raise")])
def test_what_a_step_raises_inline_has_its_frames_and_none_of_ours(step: SagaStep) -> None:
    outcome = run(step)
    assert outcome.error is not None
    entry = next(each for each in outcome.timeline if each.kind == "AttemptFailed")
    text = entry.data["traceback"]
    assert isinstance(text, str)
    assert "in execute" in text or "in <genexpr>" in text
    frames = [line for line in text.splitlines() if line.startswith('  File "')]
    assert all(line.startswith(f'  File "{__file__}"') for line in frames)
    assert "\\x00" not in text


def test_the_error_carries_it_as_text_and_as_a_note() -> None:
    error = run(Pay("raise")).error
    assert isinstance(error, StepFailedError)
    assert error.traceback is not None
    assert error.traceback.splitlines()[1].endswith(" in execute")
    assert "in amount_of" in error.traceback
    assert error.traceback in "".join(traceback.format_exception(error))
    assert error.traceback not in str(error)


def test_control_characters_are_escaped_in_the_note() -> None:
    @dataclass(frozen=True)
    class Escape(Pay):
        def execute(self, ctx: StepContext) -> None:
            raise ValueError("\x1b[2J\u202e" + "\r\nTraceback")

    Escape.__qualname__ = "Escape"
    globals()["Escape"] = Escape
    outcome = run(Escape("raise"))
    assert outcome.status is SagaStatus.COMPENSATED
    shown = "".join(traceback.format_exception(outcome.error))
    assert r"\x1b[2J\u202e\r" in shown.split("in its process:")[1]
    assert "\x1b" not in shown.split("in its process:")[1]
