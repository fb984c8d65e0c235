"""Draws the states of a saga and of a step from simulated worlds: the page docs/explanation/states.md."""

from __future__ import annotations

from collections import defaultdict

from antistrophe.records import SagaMetadata, SagaStatus, StepStatus
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from tests.simulation.scenario import MACHINERY, scenario_of
from tests.simulation.world import run

WORLDS = 300
"""With so many every arrow is drawn more than ten times over."""

_START = "[*]"
_Arrows = dict[tuple[str, str], set[str]]


def states_page() -> str:
    """Both diagrams, with what each word means."""
    sagas, steps = _arrows()
    lines = [
        "# The states of a saga and of its steps",
        "",
        "Every arrow carries the journal entries that lead along it. What each entry means stands in",
        "[the files of a home](../reference/file-format.md).",
        "",
        "This page is made by `python -m tests.house.reference` from",
        f"{WORLDS} simulated sagas under faults of every kind: it shows what the machine does, not what was meant.",
        "",
        "## A saga",
        "",
        *_diagram(sagas, final=[status.name for status in SagaStatus if status.final]),
        "",
        "- No arrow leads from `COMPENSATING` to `EXECUTING`: once a saga has turned back, it stays so.",
        "- `FAILED` is not an end. The saga is parked: an operator retries its compensation, or resolves a step.",
        "- Only `COMPLETED` and `COMPENSATED` are final.",
        "",
        "## A step",
        "",
        *_diagram(steps, final=[]),
        "",
        "- A step whose attempt failed may be tried again. Between two attempts it is `PENDING`, or `IN_DOUBT` where",
        "  nobody knows whether the last one took effect.",
        "- A step that is `SUCCEEDED` stays so in a completed saga. In one that turned back it is compensated.",
        "- `SKIPPED` steps had not begun when the saga turned back.",
    ]
    return "\n".join(lines) + "\n"


def _arrows() -> tuple[_Arrows, _Arrows]:
    """The changes of status in all worlds: of sagas, of steps; each with the entries that made it."""
    sagas: _Arrows = defaultdict(set)
    steps: _Arrows = defaultdict(set)
    for number in range(WORLDS):
        saga: Saga | None = None
        before: SagaMetadata | None = None
        for entry in run(scenario_of(number, most_steps=4, faults=MACHINERY)).journal:
            saga = evolve(saga, entry)
            after = metadata_of(saga)
            name = type(entry).__name__
            if before is None or before.status is not after.status:
                sagas[before.status.name if before else _START, after.status.name].add(name)
            for old, new in zip(before.steps if before else (), after.steps, strict=before is not None):
                if old.status is not new.status:
                    steps[old.status.name, new.status.name].add(name)
            before = after
    steps[_START, StepStatus.PENDING.name].add("SagaAccepted")
    return sagas, steps


def _diagram(arrows: _Arrows, final: list[str]) -> list[str]:
    lines = [f"    {old} --> {new}: {', '.join(sorted(names))}" for (old, new), names in sorted(arrows.items())]
    ends = [f"    {status} --> {_START}" for status in sorted(final)]
    return ["```mermaid", "stateDiagram-v2", *lines, *ends, "```"]
