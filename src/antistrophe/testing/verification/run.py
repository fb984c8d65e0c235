"""One run of the user's saga with one injection: the definition of the run, and what the run showed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import Origin, RetryPolicy, StepSpec
from antistrophe.errors import RequestError
from antistrophe.records import SagaStatus
from antistrophe.saga.outcome import describe, outcome_of, status_of
from antistrophe.saga.state import Saga
from antistrophe.serialization.payload import pack_fields
from antistrophe.serialization.type_hints import short
from antistrophe.serialization.whole_numbers import check_whole_number
from antistrophe.testing.verification.injections import (
    COMPENSATE,
    EXECUTE,
    InjectedStep,
    Injection,
    Plan,
    TurnBack,
    UserStep,
)
from antistrophe.testing.verification.points import CLEAN, Point
from antistrophe.testing.verification.snapshots import differences

TURN_NAME = "antistrophe: turn back"

MOST_ATTEMPTS = 3
"""The most attempts that a run makes, whatever the step's policy allows: enough to see what a second attempt does."""

WAIT_S = 0.05
"""The longest wait between two attempts. The wait of the step's own policy would only cost time."""

VERIFIER_S = 60.0
"""What is added to the time limit of a call that waits for the verifier."""

_REFS = {cls: f"{cls.__module__}:{cls.__qualname__}" for cls in (InjectedStep, TurnBack)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How long a verification may take, in seconds, and how many lines of each call it tries.

    ``hang_s``: the least time that an injected hang lasts before it is ended. ``call_s``: the time limit of any other
    call, where the step's own limit is higher; a call that was seen to take more than a tenth of ``call_s`` gets ten
    times what it took. ``run_s``: a run that takes longer counts as stuck. ``total_s``: no run starts after this time;
    the points that were not run are reported as missed. ``lines``: each call is killed before this many lines of its
    own code, spread evenly; 0 for none.

    Raises RequestError for what is no number of seconds over 0, or no number of lines. An example, for a quick check
    without kills between lines::

        verify_compensable(saga, world, bounds=Bounds(lines=0, hang_s=0.2))
    """

    hang_s: float = 0.3
    call_s: float = 5.0
    run_s: float = 60.0
    total_s: float = 900.0
    lines: int = 6

    def __post_init__(self) -> None:
        for name in ("hang_s", "call_s", "run_s", "total_s"):
            value: object = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise RequestError(f"{name} must be a number of seconds over 0, not {short(value)}")
        check_whole_number(self.lines, "lines", 0, error=RequestError)


@dataclass(frozen=True, slots=True)
class Change:
    """What an experiment changes in a run. ``restored``: the undo of the point's step gets the output of ``execute``
    even in doubt. ``swap``: the undo of step ``swap[0]`` runs before the undo of the later step ``swap[1]``."""

    restored: bool = False
    swap: tuple[int, int] | None = None


NO_CHANGE = Change()


@dataclass(slots=True)
class Run:
    """What a run showed. ``saga``: the saga as its journal has it; ``worlds``: the world after each gated call, by role
    and step; ``came_to_rest``: the saga ended or was parked in time; ``missed``: why the injection did not happen, or
    None; ``records``: how many entries the saga's journal had when the supervisor was killed."""

    point: Point
    saga_id: str
    saga: Saga | None = None
    came_to_rest: bool = False
    missed: str | None = None
    records: int | None = None
    before: Any = None
    after: Any = None
    worlds: dict[tuple[str, int], Any] = field(default_factory=dict)
    notes: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def status(self) -> SagaStatus | None:
        return None if self.saga is None else status_of(self.saga)

    @property
    def residue(self) -> list[str]:
        """How the world after the run differs from the world before."""
        return differences(self.before, self.after)

    @property
    def given_up(self) -> tuple[int, str, str] | None:
        """The step whose undo failed for good, the type of the error, and the error in words. None if no undo did."""
        for index, state in reversed(list(enumerate(self.saga.steps if self.saga is not None else ()))):
            if state.given_up is not None:
                return index, state.given_up.error_type, describe(state.given_up)
        return None

    @property
    def traceback(self) -> str | None:
        """Where the call has raised that parked the saga, or made it turn back; None where that is not known."""
        outcome = None if self.saga is None else outcome_of(self.saga)
        if outcome is None:
            return None
        return outcome.traceback if outcome.given_up is None else outcome.given_up.traceback


MakeRun = Callable[[Point, Change], Run]


class Runs:
    """The runs of one verification, each made once, by ``make``."""

    def __init__(self, make: MakeRun) -> None:
        self._make = make
        self._made: dict[tuple[str, Change], Run] = {}

    def of(self, point: Point, change: Change = NO_CHANGE) -> Run:
        """The run of that point, made now if it was not made before."""
        if (point.name, change) not in self._made:
            self._made[point.name, change] = self._make(point, change)
        return self._made[point.name, change]

    def add(self, run: Run) -> None:
        """Take a run, with no change, that was made elsewhere."""
        self._made[run.point.name, NO_CHANGE] = run

    def __contains__(self, point: Point) -> bool:
        return (point.name, NO_CHANGE) in self._made


class RunDefinitions:
    """Makes the definition of each run from the user's definition. ``took_s``: how long calls were seen to take, by
    role and step."""

    def __init__(self, definition: SagaDefinition, bounds: Bounds) -> None:
        self.specs: Sequence[StepSpec] = definition.step_specs
        self.bounds = bounds
        self.took_s: Mapping[tuple[str, int], float] = {}

    def definition(
        self, source: SagaDefinition, saga_id: str, folder: str, point: Point, change: Change, *, gated: bool
    ) -> SagaDefinition:
        """The user's saga under another id, with the plan of that point, and with a last step that fails."""
        origin = source.spec().origin
        names = tuple(spec.name for spec in source.step_specs)
        user_steps = [
            UserStep(index, spec.name, spec.class_ref, spec.input, names[:index], spec.computed)
            for index, spec in enumerate(source.step_specs)
        ]
        traced = self.bounds.lines if point.name == CLEAN and change == NO_CHANGE else 0
        specs = []
        for spec, user_step in zip(source.step_specs, user_steps, strict=True):
            plan = replace(_plan(point, change, user_steps, user_step.index), gated=gated, traced=traced)
            specs.append(self._injected(spec, origin, user_step, folder, plan))
        held = point.what is Injection.HOLD and point.step == len(specs)
        made = copy.copy(source)
        for name, value in (
            ("id", saga_id),
            ("deadline_s", None),
            ("step_specs", (*specs, _turn_back(folder, held=held))),
        ):
            object.__setattr__(made, name, value)
        return made

    def _injected(self, spec: StepSpec, origin: Origin, user_step: UserStep, folder: str, plan: Plan) -> StepSpec:
        step = InjectedStep(origin, user_step, folder, plan)
        return replace(
            spec,
            class_ref=_REFS[InjectedStep],
            input=pack_fields(step, InjectedStep),
            computed=b"",
            timeout_s=self._limit_s(spec.timeout_s, EXECUTE, user_step.index, plan),
            compensation_timeout_s=self._limit_s(spec.compensation_timeout_s, COMPENSATE, user_step.index, plan),
            kill_grace_s=min(spec.kill_grace_s, self.bounds.hang_s),
            retry=_shortened(spec.retry),
            retryable_attempts=min(spec.retryable_attempts, MOST_ATTEMPTS),
            shared=False,  # an injection into one run must not reach the runs beside it
            compensation_retry=_shortened(spec.compensation_retry),
        )

    def _limit_s(self, own_s: float, role: str, step: int, plan: Plan) -> float:
        """The time limit of a call whose own limit is ``own_s``."""
        bounds, took_s = self.bounds, self.took_s.get((role, step))
        if plan.what is Injection.HANG and plan.role == role:
            # The second call of an undo has the same limit, and then does real work.
            least_s = bounds.hang_s if role == EXECUTE else 3 * bounds.hang_s
            return min(own_s, max(least_s, 3 * (took_s or 0.0)))
        limit_s = own_s if took_s is None else min(own_s, max(bounds.call_s, 10 * took_s))
        waits = plan.gated or plan.what is Injection.HOLD
        return limit_s + VERIFIER_S if waits else limit_s


def _plan(point: Point, change: Change, user_steps: Sequence[UserStep], index: int) -> Plan:
    aimed = point.step == index and point.what is not None
    plan = Plan(point.role, point.what, point.when, point.once, point.line) if aimed else Plan()
    if change.swap is not None:
        undone, by = change.swap
        if index == by:
            plan = replace(plan, undo_before=user_steps[undone])
        elif index == undone:
            plan = replace(plan, undone_elsewhere=True)
    return replace(plan, restored=change.restored and aimed)


def _shortened(policy: RetryPolicy) -> RetryPolicy:
    return replace(
        policy,
        max_attempts=min(policy.max_attempts, MOST_ATTEMPTS),
        initial_s=min(policy.initial_s, WAIT_S),
        max_s=min(policy.max_s, WAIT_S),
    )


def _turn_back(folder: str, *, held: bool) -> StepSpec:
    return StepSpec(
        name=TURN_NAME,
        class_ref=_REFS[TurnBack],
        input=pack_fields(TurnBack(folder, held), TurnBack),
        timeout_s=VERIFIER_S,
        kill_grace_s=0.0,
        retry=RetryPolicy(max_attempts=1),
        retryable_attempts=1,
        compensation_timeout_s=VERIFIER_S,
        compensation_retry=RetryPolicy(max_attempts=1),
        idempotent=False,
        atomic=True,
        requires_compensation=False,
        fresh_process=False,
        has_verify=False,
    )


def is_plain(point: Point) -> bool:
    """True for a point at which some steps succeed, nothing is in doubt, and everything is undone."""
    return point.name == CLEAN or (point.area == EXECUTE and point.label == "raise-before")
