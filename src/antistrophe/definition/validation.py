"""What no definition would have made: a saga that comes in as a message is held to what `SagaDefinition` refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from antistrophe.definition.saga_definition import priority_problem
from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.definition.step_options import count_problem, name_problem, rate_problem, seconds_problem


def objection_to(spec: SagaSpec) -> str | None:
    """What is wrong with it, in words; None where nothing is."""
    for what, problem in _problems(spec):
        if problem is not None:
            return f"the {what} of a saga {problem}"
    for index, step in enumerate(spec.steps):
        for what, problem in _problems_of_step(step):
            if problem is not None:
                return f"the {what} of step {index} {problem}"
    (name, number), *_ = Counter(step.name for step in spec.steps).most_common(1) or [("", 0)]
    return f"{number} steps are called {name!r}" if number > 1 else None


def _problems(spec: SagaSpec) -> Iterator[tuple[str, str | None]]:
    yield "id", name_problem(spec.id)
    yield "name", name_problem(spec.name)
    yield "deadline_s", None if spec.deadline_s is None else seconds_problem(spec.deadline_s)
    yield "max_concurrent", None if spec.max_concurrent is None else count_problem(spec.max_concurrent)
    yield "priority", priority_problem(spec.priority)


def _problems_of_step(step: StepSpec) -> Iterator[tuple[str, str | None]]:
    yield "name", name_problem(step.name)
    yield "timeout_s", seconds_problem(step.timeout_s)
    yield "kill_grace_s", seconds_problem(step.kill_grace_s, zero_is_fine=True)
    yield "compensation_timeout_s", seconds_problem(step.compensation_timeout_s)
    yield "max_concurrent", None if step.max_concurrent is None else count_problem(step.max_concurrent)
    yield "max_per_second", None if step.max_per_second is None else rate_problem(step.max_per_second)
    most = step.retryable_attempts
    yield "retryable_attempts", None if most >= 1 else f"must be a whole number from 1 on, not {most}"
