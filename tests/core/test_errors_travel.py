"""An error says the same where it is copied, and in the process of a pool or a queue to which a pickle brings it."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from antistrophe import errors
from antistrophe.errors import (
    AntistropheError,
    CompensationFailedError,
    ConcurrencyError,
    FieldError,
    RetryableError,
    SagaCancelledError,
    SagaExistsError,
    StepCrashedError,
    StepFailedError,
    StepInterruptedError,
    StepTimeoutError,
    ValidationError,
)
from antistrophe.records import SagaStatus

AT: dict[str, Any] = {"saga_id": "s", "step_index": 1, "step_name": "pay"}
MADE_OF_FIELDS: list[AntistropheError] = [
    StepFailedError(**AT, error="no funds", error_type="LookupError"),
    StepTimeoutError(**AT, duration_s=5.0, detail="its stack"),
    StepCrashedError(**AT, exit_code=None, signal=9),
    StepInterruptedError(**AT, exit_code=3, signal=None, detail="the system stopped"),
    CompensationFailedError(**AT, error="no undo"),
    SagaCancelledError(saga_id="s", reason="because"),
    SagaExistsError("it has finished", status=SagaStatus.COMPLETED, finished_at=datetime(2026, 1, 2, tzinfo=UTC)),
    RetryableError("later", after_s=2.5),
    ConcurrencyError("stream", expected=1, actual=2),
    ValidationError([FieldError("amount", "must be positive", "positive"), FieldError("name", "is missing")]),
]


def subclasses(kind: type[AntistropheError]) -> set[type[AntistropheError]]:
    return {kind}.union(*map(subclasses, kind.__subclasses__()))


PLAIN = sorted(
    (
        kind
        for kind in subclasses(AntistropheError)
        if kind.__module__ == errors.__name__ and kind not in set(map(type, MADE_OF_FIELDS)) and kind.__name__[0] != "_"
    ),
    key=lambda kind: kind.__name__,
)


def pickled(error: AntistropheError) -> AntistropheError:
    again: AntistropheError = pickle.loads(pickle.dumps(error))  # noqa: S301 - of our own making
    return again


@pytest.mark.parametrize("travel", [pickled, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("error", MADE_OF_FIELDS, ids=lambda error: type(error).__name__)
def test_it_says_the_same(error: AntistropheError, travel: Callable[[AntistropheError], AntistropheError]) -> None:
    error.add_note("What the step raised in its process: ...")
    again = travel(error)
    assert type(again) is type(error)
    assert again is not error
    assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_every_other_error_travels_too(kind: type[AntistropheError]) -> None:
    made = kind("why", saga_id="s") if issubclass(kind, errors.SagaError) else kind("why")
    again = pickled(made)
    assert type(again) is kind
    assert (str(again), again.args, vars(again)) == (str(made), made.args, vars(made))


@pytest.mark.parametrize("wrong", ["amount is wrong", ["amount is wrong"], [ValueError("amount")]])
def test_what_are_no_errors_of_fields_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"ValidationError takes \[FieldError"):
        ValidationError(wrong)


def test_what_made_the_saga_turn_back_goes_along() -> None:
    parked = CompensationFailedError(**AT, error="no undo")
    parked.__cause__ = StepFailedError(**AT, error="no funds", error_type="LookupError")
    cause = pickled(parked).__cause__
    assert isinstance(cause, StepFailedError)
    assert cause.error == "no funds"


def test_a_cause_that_is_not_ours_may_be_what_no_pickle_takes() -> None:
    class UnpicklableError(Exception):
        def __reduce__(self) -> str:
            raise TypeError("no pickle takes this")

    error = AntistropheError("why")
    error.__cause__ = UnpicklableError()
    assert str(pickled(error)) == "why"


def test_an_error_of_the_application_with_an_init_of_its_own_travels() -> None:
    error = NoRoomError(shelf=3)
    again = pickled(error)
    assert isinstance(again, NoRoomError)
    assert (str(again), again.shelf) == ("shelf 3 is full", 3)


class NoRoomError(errors.FatalError):
    """As an application derives one of the errors that its steps raise."""

    def __init__(self, *, shelf: int) -> None:
        super().__init__(f"shelf {shelf} is full")
        self.shelf = shelf
