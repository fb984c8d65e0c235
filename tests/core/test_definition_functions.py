"""Steps as functions: called like the function, equal by value, undone by name."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import pytest

from antistrophe.definition.calling import build_step, call_step
from antistrophe.definition.context import StepContext
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.definition.step import SagaStep, StepFunction, step
from antistrophe.definition.step_options import step_spec
from antistrophe.errors import InvalidStepError, NotSerializableError, UnreadableDataError
from antistrophe.serialization.payload import pack_payload, unpack_payload

CONTEXT: Any = object()


@step(timeout_s=5)
def debit(ctx: StepContext, account: str, amount: int = 3) -> Any:
    """Take money."""
    return ctx, account, amount


@debit.compensation  # type: ignore[arg-type]  # fewer parameters, in another order
def undo_debit(account: str, ctx: StepContext) -> Any:
    return ctx, account


@debit.verify
def check_debit() -> Any:
    return "checked"


@step
async def credit(account: str, where: StepContext, /, *amounts: int, quick: bool = False, **notes: str) -> Any:
    return where, account, amounts, quick, notes


@credit.compensation  # type: ignore[no-redef]
async def credit(**everything: Any) -> Any:
    return everything


@step(requires_compensation=False, name="note it", retry=RetryPolicy(max_attempts=2))
def note() -> None: ...


@step
def forgotten(account: str) -> None: ...


@step(isolation="fresh", limits=ResourceLimits(cpu_s=1), idempotent=True, atomic=False, kill_grace_s=1)
def named_like_options(name: str, timeout_s: str, self: int, execute: list[int]) -> Any:
    return name, timeout_s, self, execute


@named_like_options.compensation  # type: ignore[arg-type]  # one of them
def undo_named(timeout_s: str) -> None: ...


class Bank:
    @step(requires_compensation=False)
    def open(name: str) -> None: ...  # noqa: N805 - a step function has no self


def test_a_call_gives_a_step() -> None:
    made = debit("A", 100)
    assert isinstance(made, SagaStep)
    spec = step_spec(made)
    assert (spec.name, spec.class_ref, spec.timeout_s) == ("debit", f"{__name__}:debit", 5.0)
    assert unpack_payload(spec.input) == {"account": "A", "amount": 100}
    assert spec.has_verify


def test_defaults_and_keywords_are_filled_in_when_called() -> None:
    assert debit("A") == debit(account="A") == debit("A", amount=3)
    assert unpack_payload(step_spec(debit("A")).input) == {"account": "A", "amount": 3}


def test_equal_and_hashed_by_value() -> None:
    assert debit("A", 1) == debit("A", 1)
    assert debit("A", 1) != debit("A", 2)
    assert debit("A", 1) != forgotten("A")
    assert len({debit("A", 1), debit("A", 1), debit("B", 1)}) == 2
    assert repr(debit("A", 1)) == "debit(account='A', amount=1)"


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, r"debit\(\): missing a required argument: 'account'"),
        (("A", 1, 2), {}, r"debit\(\): too many positional arguments"),
        (("A",), {"colour": 1}, r"debit\(\): got an unexpected keyword argument 'colour'"),
        (("A",), {"ctx": 1}, r"debit\(\): got an unexpected keyword argument 'ctx'"),
    ],
)
def test_wrong_arguments_raise_as_a_call_would(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        debit(*args, **kwargs)


def test_a_step_function_still_shows_what_it_is() -> None:
    assert isinstance(debit, StepFunction)
    assert debit.__doc__ == "Take money."
    assert debit.__name__ == "debit"
    assert repr(debit) == f"<step function {__name__}.debit>"
    undo: Any = undo_debit
    assert undo("A", CONTEXT) == (CONTEXT, "A"), "the undo stays a function of its own"


def test_a_copied_step_is_still_of_the_same_function() -> None:
    saga = SagaDefinition("s").add_step(debit("A", 1))
    copied = copy.deepcopy(saga)
    assert copied == saga
    assert copied.spec().same_definition(saga.spec())


@pytest.mark.parametrize("made", [debit("A", 1), debit("B", amount=2), SagaDefinition("s").add_step(debit("A", 1))])
def test_a_step_and_its_saga_can_be_pickled_as_those_of_a_class_can(made: Any) -> None:
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - of our own making
    assert again == made
    assert again is not made
    assert repr(again) == repr(made)


def test_calls_get_their_parameters_and_the_context_wherever_it_stands() -> None:
    made = build_step(debit, step_spec(debit("A", 7)).input)
    assert made == debit("A", 7)
    assert call_step(made, "execute", CONTEXT) == (CONTEXT, "A", 7)
    assert call_step(made, "compensate", CONTEXT) == (CONTEXT, "A")
    assert call_step(made, "verify", CONTEXT) == "checked"


def test_every_kind_of_parameter() -> None:
    made = credit("A", 1, 2, quick=True, why="because")
    back = build_step(credit, step_spec(made).input)
    assert back == made
    assert asyncio.run(call_step(back, "execute", CONTEXT)) == (CONTEXT, "A", (1, 2), True, {"why": "because"})
    everything = {"account": "A", "amounts": (1, 2), "quick": True, "notes": {"why": "because"}}
    assert asyncio.run(call_step(back, "compensate", CONTEXT)) == everything


def test_an_undo_of_the_steps_own_name_leaves_the_step_in_place() -> None:
    assert isinstance(credit, StepFunction)
    assert step_spec(credit("A")).class_ref == f"{__name__}:credit"


def test_parameters_may_be_called_like_options() -> None:
    made = named_like_options("n", "t", 5, [1])
    spec = step_spec(made)
    assert (spec.name, spec.timeout_s) == ("named_like_options", 30.0)
    assert (spec.fresh_process, spec.idempotent, spec.atomic, spec.kill_grace_s) == (True, True, False, 1.0)
    assert call_step(build_step(named_like_options, spec.input), "execute", CONTEXT) == ("n", "t", 5, [1])


def test_a_name_and_a_place_of_its_own() -> None:
    assert step_spec(note()).name == "note it"
    assert step_spec(note()).retryable_attempts == 2
    assert step_spec(Bank.open("x")).class_ref == f"{__name__}:Bank.open"


def test_a_step_without_an_undo_must_say_so() -> None:
    with pytest.raises(
        InvalidStepError,
        match=r"'forgotten': forgotten can't be undone: .*@forgotten.compensation, or say @step\(requires_comp",
    ):
        step_spec(forgotten("A"))


def test_an_argument_that_can_not_travel() -> None:
    with pytest.raises(NotSerializableError, match=r"step 'debit': field amount, declared int, can't travel: <"):
        step_spec(debit("A", lambda: 1))  # type: ignore[arg-type]
    with pytest.raises(NotSerializableError, match=r"step 'debit': field account: str is declared, the value is 5"):
        step_spec(debit(5))  # type: ignore[arg-type]


def test_an_input_that_does_not_fit_any_more() -> None:
    assert build_step(debit, pack_payload({"account": "A"})) == debit("A", 3), "a parameter added later has its default"
    for fields in ({}, {"account": 5}, {"account": "A", "gone": 1}):
        with pytest.raises(UnreadableDataError, match="debit does not fit its class"):
            build_step(debit, pack_payload(fields))


@step
def generating(account: str) -> Any:
    yield account


@generating.compensation
def undo_generating() -> None: ...


@step
def unresolvable(account: Nowhere) -> None: ...  # type: ignore[name-defined]  # noqa: F821


def test_functions_are_checked() -> None:
    with pytest.raises(InvalidStepError, match="generating has a yield in it"):
        step_spec(generating("A"))
    with pytest.raises(InvalidStepError, match=r"unresolvable: its annotations have no meaning.*Nowhere"):
        unresolvable("A")
    with pytest.raises(
        InvalidStepError, match=r"parameter 'amounts', and step forgotten has no such.*ctx and any of account"
    ):

        @forgotten.compensation  # type: ignore[arg-type]
        def undo(amounts: int) -> None: ...

    with pytest.raises(InvalidStepError, match=r"step note has no such parameter: take ctx alone$"):

        @note.compensation  # type: ignore[arg-type]
        def unnote(text: str) -> None: ...

    with pytest.raises(InvalidStepError, match="debit already has a function for compensate"):
        debit.compensation(undo_debit)


@pytest.mark.parametrize("thing", [5, SagaStep, len, None, object()])
def test_only_functions_become_steps(thing: Any) -> None:
    with pytest.raises(InvalidStepError, match="stands above a function"):
        step()(thing)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidStepError, match=r"@step has no option timeout; its options are name, timeout_s"):
        step(timeout=5)  # type: ignore[call-overload]


def test_options_are_checked_like_those_of_a_class() -> None:
    with pytest.raises(InvalidStepError, match="step 'bad': timeout_s must be a number of seconds over 0"):
        step_spec(bad())


@step(timeout_s=0, requires_compensation=False)
def bad() -> None: ...


@step(max_concurrent=4, max_per_second=2.5, requires_compensation=False)
def throttled() -> None: ...


def test_a_function_can_be_throttled() -> None:
    spec = step_spec(throttled())
    assert (spec.max_concurrent, spec.max_per_second) == (4, 2.5)
