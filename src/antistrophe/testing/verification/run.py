"""One run of the user's saga with one injection: the definition that is run, and the record of what came of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import Origin, RetryPolicy, StepSpec
from antistrophe.errors import RequestError
from antistrophe.records import SagaStatus
from antistrophe.saga.outcome import describe, status_of
from antistrophe.saga.state import Saga
from antistrophe.serialization.payload import pack_fields
from antistrophe.testing.verification.injections import (
    COMPENSATE,
    EXECUTE,
    InjectedStep,
    Injection,
    Plan,
    TurnBack,
    Wrapped,
)
from antistrophe.testing.verification.points import CLEAN, Point
from antistrophe.testing.verification.snapshots import differences

TURN_NAME = "antistrophe: turn back"

MOST_ATTEMPTS = 3
"""How many attempts are left of a policy that has more: enough to see what a repetition does."""

WAIT_S = 0.05
"""The longest wait between two attempts: a policy's own would only take time."""

VERIFIER_S = 60.0
"""What a call gets on top of its limit where it waits for the verifier."""

_REFS = {cls: f"{cls.__module__}:{cls.__qualname__}" for cls in (InjectedStep, TurnBack)}


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much a verification takes, in seconds.

    ``hang_s``: how long an injected hang lasts, at least, until it is ended. ``call_s``: how long any other call may
    take, if its own limit is higher and it was not seen to take a tenth of it. ``run_s``: how long a run may take until
    it counts as stuck. ``total_s``: after so long no further run starts, and what was not run is reported as missed.
    ``lines``: before how many lines of its own code, spread evenly, each call is killed; 0 for none.
    Raises RequestError.
    """

    hang_s: float = 0.3
    call_s: float = 5.0
    run_s: float = 60.0
    total_s: float = 900.0
    lines: int = 6

    def __post_init__(self) -> None:
        if not all(value > 0 for value in (self.hang_s, self.call_s, self.run_s, self.total_s)):
            raise RequestError(f"hang_s, call_s, run_s and total_s are numbers of seconds over 0: {self}")
        if self.lines < 0:
            raise RequestError(f"lines is a number from 0 on, not {self.lines}")


@dataclass(frozen=True, slots=True)
class Change:
    """What an experiment changes in a run: the undo of the point's step gets its output even in doubt (``restored``);
    or the undo of step ``swap[0]`` is made before that of ``swap[1]``, which is a later step."""

    restored: bool = False
    swap: tuple[int, int] | None = None


@dataclass(slots=True)
class Run:
    """What came of a run. ``saga``: the fold of its journal; ``worlds``: the world after each gated call, by role and
    step; ``came_to_rest``: it ended or was parked in time; ``missed``: why its injection did not happen, or None;
    ``records``: how many entries its journal had when the supervisor was killed."""

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
        """How the world differs from what it was."""
        return differences(self.before, self.after)

    @property
    def given_up(self) -> tuple[int, str, str] | None:
        """The step whose undo failed for good, the type of its error, and the error in words."""
        for index, state in reversed(list(enumerate(self.saga.steps if self.saga is not None else ()))):
            if state.given_up is not None:
                return index, state.given_up.error_type, describe(state.given_up)
        return None


class Trials:
    """Makes the sagas of the runs from the user's definition. ``took_s``: what calls were seen to take, by role and
    step."""

    def __init__(self, definition: SagaDefinition, bounds: Bounds) -> None:
        self.specs: Sequence[StepSpec] = definition.step_specs
        self.bounds = bounds
        self.took_s: Mapping[tuple[str, int], float] = {}

    def definition(
        self, source: SagaDefinition, saga_id: str, folder: str, point: Point, change: Change, *, gated: bool
    ) -> SagaDefinition:
        """The user's saga under another id, with the plan of that point, and a last step that has it turn back."""
        origin = source.spec().origin
        wrapped = [
            Wrapped(
                index, spec.name, spec.class_ref, spec.input, tuple(each.name for each in source.step_specs[:index])
            )
            for index, spec in enumerate(source.step_specs)
        ]
        traced = self.bounds.lines if point.name == CLEAN and change == Change() else 0
        plans = [replace(_plan(point, change, wrapped, each.index), gated=gated, traced=traced) for each in wrapped]
        specs = [
            self._injected(spec, origin, wrapped[index], folder, plans[index])
            for index, spec in enumerate(source.step_specs)
        ]
        held = point.what is Injection.HOLD and point.step == len(specs)
        made = copy.copy(source)
        for name, value in (
            ("id", saga_id),
            ("deadline_s", None),
            ("step_specs", (*specs, _turn_back(folder, held=held))),
        ):
            object.__setattr__(made, name, value)
        return made

    def _injected(self, spec: StepSpec, origin: Origin, wrapped: Wrapped, folder: str, plan: Plan) -> StepSpec:
        step = InjectedStep(origin, wrapped, folder, plan)
        return replace(
            spec,
            class_ref=_REFS[InjectedStep],
            input=pack_fields(step, InjectedStep),
            timeout_s=self._limit_s(spec.timeout_s, EXECUTE, wrapped.index, plan),
            compensation_timeout_s=self._limit_s(spec.compensation_timeout_s, COMPENSATE, wrapped.index, plan),
            kill_grace_s=min(spec.kill_grace_s, self.bounds.hang_s),
            retry=_quick(spec.retry),
            retryable_attempts=min(spec.retryable_attempts, MOST_ATTEMPTS),
            shared=False,  # what is injected into one run must not reach those beside it
            compensation_retry=_quick(spec.compensation_retry),
        )

    def _limit_s(self, own_s: float, role: str, step: int, plan: Plan) -> float:
        """The time limit of a call whose own limit is ``own_s``."""
        bounds, took_s = self.bounds, self.took_s.get((role, step))
        if plan.what is Injection.HANG and plan.role == role:
            # An undo is called again under the same limit, and then has work to do.
            least_s = bounds.hang_s if role == EXECUTE else 3 * bounds.hang_s
            return min(own_s, max(least_s, 3 * (took_s or 0.0)))
        limit_s = own_s if took_s is None else min(own_s, max(bounds.call_s, 10 * took_s))
        waits = plan.gated or plan.what is Injection.HOLD
        return limit_s + VERIFIER_S if waits else limit_s


def _plan(point: Point, change: Change, wrapped: Sequence[Wrapped], index: int) -> Plan:
    aimed = point.step == index and point.what is not None
    plan = Plan(point.role, point.what, point.when, point.once, point.line) if aimed else Plan()
    if change.swap is not None:
        undone, by = change.swap
        if index == by:
            plan = replace(plan, undo_before=wrapped[undone])
        elif index == undone:
            plan = replace(plan, undone_elsewhere=True)
    return replace(plan, restored=change.restored and aimed)


def _quick(policy: RetryPolicy) -> RetryPolicy:
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
    """True for a run in which some steps succeed, nothing is in doubt, and all is undone."""
    return point.name == CLEAN or (point.area == EXECUTE and point.label == "raise-before")
