"""The points at which something is injected. They are derived from the steps of a saga, and each has a name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from antistrophe.definition.spec import StepSpec
from antistrophe.testing.verification.injections import COMPENSATE, EXECUTE, Injection, When

SUPERVISOR = "supervisor"
CLEAN = "all-steps-then-undo"


@dataclass(frozen=True, slots=True)
class Point:
    """One injection. ``what`` is injected into the calls of ``role`` of the step with index ``step``. The index behind
    the last step means the step that the verifier adds. With WITHIN it is injected before the line that the call runs
    as number ``line``. ``area`` is ``execute``, ``compensate`` or ``supervisor``. ``label`` names the injection in a
    word, ``says`` in a sentence."""

    name: str
    area: str
    step: int
    role: str
    label: str
    says: str
    what: Injection | None = None
    when: When = When.BEFORE
    once: bool = False
    always: bool = False
    line: int | None = None


def points_of(steps: Sequence[StepSpec], *, trust_atomic: bool) -> list[Point]:
    """All points but those within calls, in the order in which they are run. The first point is the clean run."""
    found = [Point(CLEAN, EXECUTE, len(steps), EXECUTE, "clean", "nothing was injected")]
    for index, spec in enumerate(steps):
        found += _execute_points(index, spec, exceptions_may_do=not (spec.atomic and trust_atomic))
    for index, spec in enumerate(steps):
        if spec.requires_compensation:
            found += _undo_points(index, spec)
    return [*found, *_supervisor_points(steps)]


def points_within(steps: Sequence[StepSpec], notes: Iterable[Mapping[str, Any]]) -> list[Point]:
    """The points between two lines of a call, from the lines that the clean run noted for each call."""
    found = []
    for note in notes:
        role, index = note["role"], note["step"]
        name = steps[index].name
        call = f"execute of {name}" if role == EXECUTE else f"the undo of {name}"
        for line, text in note["lines"]:
            label = f"kill-line-{line}"
            says = f"{call} was killed (SIGKILL) before `{text}`, line {line} of those that it ran"
            point = Point(f"{role}/{name}/{label}", role, index, role, label, says, Injection.KILL, When.WITHIN)
            found.append(replace(point, once=role == COMPENSATE, line=line))
    return found


def _execute_points(index: int, spec: StepSpec, *, exceptions_may_do: bool) -> Iterator[Point]:
    def point(label: str, says: str, what: Injection, when: When, *, once: bool = False) -> Point:
        text = f"execute of {spec.name} {says}"
        return Point(f"execute/{spec.name}/{label}", EXECUTE, index, EXECUTE, label, text, what, when, once)

    before, after = When.BEFORE, When.AFTER
    yield point("raise-before", "raised before its effect", Injection.RAISE, before)
    if exceptions_may_do:
        yield point("raise-after", "raised after its effect", Injection.RAISE, after)
        yield point("memory-after", "ran out of memory after its effect", Injection.MEMORY, after)
    else:
        yield point("raise-after", "raised InDoubtError after its effect", Injection.DOUBT, after)
    yield point("memory-before", "ran out of memory before its effect", Injection.MEMORY, before)
    yield point("kill-before", "was killed (SIGKILL) before its effect", Injection.KILL, before)
    yield point("kill-after", "was killed (SIGKILL) after its effect", Injection.KILL, after)
    yield point("hang-before", "hung before its effect", Injection.HANG, before)
    yield point("hang-after", "hung after its effect", Injection.HANG, after)
    yield point("garbage", "returned, after its effect, a result that can't be stored", Injection.GARBAGE, after)
    if spec.retry.max_attempts > 1:
        yield point("raise-once", "raised before its effect, once", Injection.RAISE, before, once=True)
    if spec.retry.max_attempts > 1 and spec.idempotent:
        yield point("kill-once", "was killed (SIGKILL) after its effect, once", Injection.KILL, after, once=True)


def _undo_points(index: int, spec: StepSpec) -> Iterator[Point]:
    def point(label: str, says: str, what: Injection, when: When = When.BEFORE, *, always: bool = False) -> Point:
        text = f"the undo of {spec.name} {says}"
        name = f"compensate/{spec.name}/{label}"
        return Point(name, COMPENSATE, index, COMPENSATE, label, text, what, when, not always, always)

    yield point("raise-once", "raised before its effect, once", Injection.RAISE)
    yield point("raise-always", "raised each time until an operator had it retried", Injection.RAISE, always=True)
    yield point("memory-once", "ran out of memory before its effect, once", Injection.MEMORY)
    yield point("kill-before", "was killed (SIGKILL) before its effect, once", Injection.KILL)
    yield point("kill-after", "was killed (SIGKILL) after its effect, and so ran twice", Injection.KILL, When.AFTER)
    yield point("hang-once", "hung before its effect, once", Injection.HANG)
    yield point("garbage", "returned a result that can't be stored", Injection.GARBAGE, When.AFTER)


def _supervisor_points(steps: Sequence[StepSpec]) -> Iterator[Point]:
    """The points at which the supervisor and all processes are killed: after each append to the journal."""
    says = "the supervisor was killed as soon as the saga was accepted"
    yield Point("supervisor/start", SUPERVISOR, 0, EXECUTE, "start", says, when=When.BEFORE)
    undone = [index for index, spec in enumerate(steps) if spec.requires_compensation]
    for role, indices in ((EXECUTE, range(len(steps))), (COMPENSATE, reversed(undone))):
        for index in indices:
            spec = steps[index]
            call = f"execute of {spec.name}" if role == EXECUTE else f"the undo of {spec.name}"
            for when, done in ((When.BEFORE, "was journaled, but not made yet"), (When.AFTER, "had done its work")):
                name = f"supervisor/{role}/{spec.name}/{when.value}"
                label = f"{role} {when.value}"
                says = f"the supervisor was killed when {call} {done}"
                yield Point(name, SUPERVISOR, index, role, label, says, Injection.HOLD, when, once=True)
        if role == EXECUTE:
            says = "the supervisor was killed when the saga was about to turn back"
            yield Point("supervisor/turn", SUPERVISOR, len(steps), EXECUTE, "turn", says, Injection.HOLD, once=True)
    says = "the supervisor was killed when the last entry was journaled"
    yield Point("supervisor/end", SUPERVISOR, len(steps), COMPENSATE, "end", says, when=When.AFTER)
