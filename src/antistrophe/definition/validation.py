"""Checks of names, durations and counts, for a definition and for a spec that arrives in a message.

A check answers with what is wrong as the end of a sentence ("must not be empty"), or with None.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.serialization.type_hints import short
from antistrophe.settings.allowed import is_name
from antistrophe.storage.connection import is_encodable

LONGEST_S = 10 * 365 * 86_400.0
LONGEST_NAME = 200
MOST_CONCURRENT = 100_000
LOWEST_RATE, HIGHEST_RATE = 0.001, 100_000
HIGHEST_PRIORITY = 1_000
MOST_LABELS = 64


def problem_with(spec: SagaSpec) -> str | None:
    """What is wrong with a spec, as a sentence; None where nothing is."""
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
    yield "runs_on", labels_problem(frozenset(step.runs_on))
    most = step.retryable_attempts
    yield "retryable_attempts", None if most >= 1 else f"must be a whole number from 1 on, not {most}"


def name_problem(name: object) -> str | None:
    """What is wrong with the name of a saga or a step, or None."""
    if not isinstance(name, str):
        return f"must be a text, not {short(name)}"
    if not name.strip():
        return "must not be empty"
    if len(name) > LONGEST_NAME:
        return f"must have at most {LONGEST_NAME} characters, not {len(name)}"
    # Most names are printable, and a printable name has no character of these categories.
    if not name.isprintable() and any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in name):
        return f"must have no control characters, line breaks or lone surrogates: {name!a}"
    return None


def seconds_problem(value: object, zero_is_fine: bool = False) -> str | None:
    """What is wrong with a duration in seconds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number of seconds, not {short(value)}"
    # Every comparison with NaN is false, so NaN is refused here, too.
    if not (0 < value <= LONGEST_S) and not (zero_is_fine and value == 0):
        return f"must be a number of seconds {'from' if zero_is_fine else 'over'} 0, at most ten years, not {value!r}"
    return None


def count_problem(value: object) -> str | None:
    """What is wrong with a limit on how many may run at the same time, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_CONCURRENT:
        return None
    return f"must be a whole number from 1 to {MOST_CONCURRENT:,}, not {short(value)}"


def rate_problem(value: object) -> str | None:
    """What is wrong with a limit on how many may start in a second, or None."""
    if isinstance(value, int | float) and not isinstance(value, bool) and LOWEST_RATE <= value <= HIGHEST_RATE:
        return None
    return f"must be a number from {LOWEST_RATE} to {HIGHEST_RATE:,}, not {short(value)}"


def labels_problem(value: object) -> str | None:
    """What is wrong with a set of labels, or None."""
    if not isinstance(value, AbstractSet) or len(value) > MOST_LABELS:
        return f'must be a set of up to {MOST_LABELS} labels, {{"gpu"}}, not {short(value)}'
    wrong = next((each for each in value if not is_name(each)), None)
    if wrong is None:
        return None
    return f"has the label {short(wrong)}: a label is up to 63 letters and digits, with dots, _ and - between them"


def priority_problem(value: object) -> str | None:
    """What is wrong with a priority, or None."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= HIGHEST_PRIORITY:
        return None
    return f"must be a whole number from -{HIGHEST_PRIORITY} to {HIGHEST_PRIORITY}, not {short(value)}"


def is_text(value: object) -> bool:
    """Whether the journal can store this value as a text. What a caller sends may be anything."""
    return is_encodable(value)
