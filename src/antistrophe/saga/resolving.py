"""Which steps an operator can resolve now: ``resolvable``; and in words why another one can't be: ``why_not``.

An undo can be resolved where it has failed for good, or where it comes next and no attempt runs: its code may be gone,
its input may no longer fit, or it fails again and again. The order of compensation holds for resolves, too.
"""

from __future__ import annotations

from antistrophe.saga.effects import next_work
from antistrophe.saga.state import Saga, owed
from antistrophe.saga.step_state import is_owed


def resolvable(saga: Saga) -> tuple[int, ...]:
    """The steps whose compensation an operator can settle by other means now; first the one that comes next."""
    if not saga.backward or saga.ended or saga.current is not None:
        return ()
    given_up = tuple(index for index in owed(saga) if saga.steps[index].given_up is not None)
    work = next_work(saga)
    return given_up if work is None else (work.step, *given_up)


def why_not(saga: Saga, step_name: str) -> str:
    """Why the step of that name is not resolvable now, and what to do."""
    indexes = [index for index, step in enumerate(saga.spec.steps) if step.name == step_name]
    if not indexes:
        return f"saga {saga.id!r} has no step {step_name!r}"
    if not saga.backward:
        return (
            f"saga {saga.id!r} has not turned back, so no compensation of step {step_name!r} can be resolved: cancel"
            " the saga first, and let what runs end"
        )
    index = indexes[0]
    if not is_owed(saga.spec.steps[index], saga.steps[index]):
        return f"step {step_name!r} of saga {saga.id!r} owes no compensation: there is nothing to resolve"
    current = saga.current
    if current is not None:
        running = saga.spec.steps[current.step].name
        return (
            f"step {step_name!r} of saga {saga.id!r} can't be resolved while an attempt to {current.action.value}"
            f" {running!r} may run: resolve it when that has ended"
        )
    first = saga.spec.steps[resolvable(saga)[0]].name
    return (
        f"step {step_name!r} of saga {saga.id!r} can't be resolved yet: the compensation of step {first!r} comes first;"
        f" resolve {first!r} before"
    )
