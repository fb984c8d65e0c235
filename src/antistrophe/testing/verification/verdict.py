"""The verdict on a run: whether something is wrong, of which kind it is, and whose undo is to blame.

One run can go wrong for several reasons. Experiments tell them apart: the same run again, with one thing changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from antistrophe.definition.spec import StepSpec
from antistrophe.records import SagaStatus
from antistrophe.saga.effects import next_work
from antistrophe.saga.view import metadata_of
from antistrophe.testing.verification.injections import COMPENSATE, EXECUTE, RETURNED, Injection, When
from antistrophe.testing.verification.points import CLEAN, SUPERVISOR, Point
from antistrophe.testing.verification.report import WHAT_TO_DO, Finding, Kind
from antistrophe.testing.verification.run import NO_CHANGE, Change, Run, Runs, is_plain

_IN_DOUBT = {
    When.BEFORE: "took back an effect that had never happened",
    When.WITHIN: "did not take back an effect that was half done",
    When.AFTER: "did not take back an effect that had happened",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong: the ``kind``, the index of the ``step`` to blame, the index of the ``other`` step that it can't be
    combined with, and what happened. ``error_type``: the error that an undo failed with, if it failed."""

    kind: Kind
    step: int | None
    says: str
    other: int | None = None
    error_type: str = ""

    def because(self, kind: Kind, reason: str, *, other: int | None = None) -> Verdict:
        """The same, with the reason that was found for it."""
        return replace(self, kind=kind, says=f"{self.says}. {reason}", other=other)


class Verdicts:
    """Reaches the verdicts of one verification. Asks ``runs`` for further runs where one run can't tell."""

    def __init__(self, steps: Sequence[StepSpec], points: Iterable[Point], runs: Runs) -> None:
        self._steps = steps
        self._points = {point.name: point for point in points}
        self._runs = runs

    def finding(self, run: Run) -> Finding | None:
        """What is wrong in that run, or None."""
        first = first_verdict(run, self._steps)
        if first is None:
            return None
        verdict = self._explained(run, first)
        return Finding(
            kind=verdict.kind,
            point=run.point.name,
            step=self._name(verdict.step),
            other=self._name(verdict.other),
            injection=run.point.says,
            says=verdict.says,
            residue=tuple(run.residue),
            what_to_do=WHAT_TO_DO[verdict.kind],
            saga_id=run.saga_id,
            traceback=run.traceback if first.kind in (Kind.PARKED, Kind.NOT_COMPLETED) else None,
        )

    def _name(self, step: int | None) -> str | None:
        return None if step is None else self._steps[step].name

    def _explained(self, run: Run, first: Verdict) -> Verdict:
        """The verdict with its reason, as far as experiments can find one."""
        point = run.point
        if first.kind in (Kind.STUCK, Kind.NOT_COMPLETED):
            return first
        if is_plain(point):
            return self._of_plain(point, first)
        plain = self._plain_point_of(run)
        without_injection = first_verdict(self._runs.of(plain), self._steps)
        if without_injection is not None:
            return self._of_plain(plain, without_injection)
        if point.role == COMPENSATE:
            return self._of_undo(point, first)
        if point.once and point.area != SUPERVISOR:
            return self._of_second_attempt(point, first)
        return self._of_doubt(run, first)

    def _plain_point_of(self, run: Run) -> Point:
        """The point at which the same steps succeed, nothing is injected, and everything is undone."""
        point, last = run.point, len(self._steps)
        succeeded = run.saga is not None and point.step < last and run.saga.steps[point.step].succeeded
        if point.role == COMPENSATE or point.step >= last or succeeded:
            return self._points[CLEAN]
        return self._up_to(point.step + 1)

    def _up_to(self, count: int) -> Point:
        """The point at which that many steps succeed and the next one raises."""
        if count >= len(self._steps):
            return self._points[CLEAN]
        return self._points[f"execute/{self._steps[count].name}/raise-before"]

    def _fine(self, point: Point, change: Change = NO_CHANGE) -> bool:
        run = self._runs.of(point, change)
        return run.missed is None and first_verdict(run, self._steps) is None

    # --- by what was injected ----------------------------------------------------------------------------------

    def _of_plain(self, point: Point, first: Verdict) -> Verdict:
        """Steps succeeded, nothing was in doubt, and the undo does not work: by itself, or because of a later step?"""
        undone = first.step
        if undone is None or not self._steps[undone].requires_compensation:
            return first
        asked_for = self._later_output(undone, first)
        if asked_for is not None:
            return first.because(Kind.WRONG_ORDER, "Only the outputs of earlier steps can be read", other=asked_for)
        clean = self._points[CLEAN]
        for later in range(undone + 1, len(self._steps)):
            if self._steps[later].requires_compensation and self._fine(clean, Change(swap=(undone, later))):
                reason = f"It works where {self._steps[later].name} has not been undone yet"
                return first.because(Kind.WRONG_ORDER, reason, other=later)
        ran = point.step
        if ran > undone + 1 and self._fine(self._up_to(undone + 1)):
            for later in range(undone + 1, ran):
                found = first_verdict(self._runs.of(self._up_to(later + 1)), self._steps)
                if found is not None and found.step == undone:
                    reason = f"It works where {self._steps[later].name} has not run"
                    return first.because(Kind.PAIR, reason, other=later)
        return first

    def _later_output(self, undone: int, first: Verdict) -> int | None:
        """The later step whose output the undo asked for, or None."""
        if first.error_type != "OutputNotFoundError":
            return None
        for later in range(undone + 1, len(self._steps)):
            if f"step {self._steps[later].name!r} has no output" in first.says:
                return later
        return None

    def _of_undo(self, point: Point, first: Verdict) -> Verdict:
        """Everything is undone as long as nothing is injected into the undo."""
        step = first.step if first.step is not None else self._index(point)
        ran_twice = point.when is not When.BEFORE and point.what in (Injection.KILL, Injection.HOLD)
        return replace(first, kind=Kind.NOT_IDEMPOTENT if ran_twice else first.kind, step=step)

    def _of_second_attempt(self, point: Point, first: Verdict) -> Verdict:
        """The injection spoilt the first attempt, and the second succeeded."""
        if point.when is When.AFTER:
            return replace(first, kind=Kind.REPEATED, step=self._index(point))
        return first

    def _of_doubt(self, run: Run, first: Verdict) -> Verdict:
        """Everything is undone where the step succeeds or raises: the undo does not work in doubt."""
        point, step = run.point, self._index(run.point)
        if step is None or first.step not in (None, step):
            return first
        first = replace(first, step=step)
        again = self._points.get(f"execute/{self._steps[step].name}/kill-once")
        if point.when is When.AFTER and again is not None and not self._fine(again):
            return replace(first, kind=Kind.REPEATED)
        if run.saga is not None and not run.saga.steps[step].in_doubt:
            reason = "The step says atomic = True: an exception means that nothing was done"
            return first.because(first.kind, reason)
        if point.when is When.AFTER and self._gives_output(step) and self._fine_with_output(point):
            return first.because(Kind.NEEDS_OUTPUT, "It works where it is given the output of execute")
        if first.kind is Kind.PARKED:
            return replace(first, kind=Kind.FAILS_IN_DOUBT)
        return replace(first, says=f"{first.says}: in doubt, the undo {_IN_DOUBT[point.when]}")

    def _fine_with_output(self, point: Point) -> bool:
        return point.area != SUPERVISOR and self._fine(point, Change(restored=True))

    def _gives_output(self, step: int) -> bool:
        notes = self._runs.of(self._points[CLEAN]).notes
        return any(
            note["output"]
            for note in notes
            if note["what"] == RETURNED and note["role"] == EXECUTE and note["step"] == step
        )

    def _index(self, point: Point) -> int | None:
        return point.step if point.step < len(self._steps) else None


def first_verdict(run: Run, steps: Sequence[StepSpec]) -> Verdict | None:
    """What is wrong, as far as the run itself shows it; None where nothing is."""
    if not run.came_to_rest:
        waits = None if run.saga is None else metadata_of(run.saga).waiting
        work = None if run.saga is None else next_work(run.saga)
        says = "the saga did not come to its end" + ("" if waits is None else f": it waits for {waits}")
        return Verdict(Kind.STUCK, None if work is None else work.step, says)
    if run.point.name == CLEAN and run.missed is not None:
        failed = None if run.saga is None or run.saga.cause is None else run.saga.cause.step
        return Verdict(Kind.NOT_COMPLETED, failed, "not every step succeeded: " + run.missed)
    if run.status is SagaStatus.FAILED:
        given_up = run.given_up
        assert given_up is not None, "a parked saga has given an undo up"
        index, error_type, error = given_up
        says = f"the undo of {steps[index].name} failed for good: {error}"
        return Verdict(Kind.PARKED, index, says, error_type=error_type)
    if run.residue:
        return Verdict(Kind.RESIDUE, _step_that_left_residue(run, len(steps)), "the world was not as before")
    return None


def _step_that_left_residue(run: Run, count: int) -> int | None:
    """The step whose undo left the world different from the world before that step, with no later undo mending this.
    None where nobody looked at the world between the calls."""
    done = [index for index in range(count) if (EXECUTE, index) in run.worlds]
    if not done:
        return None
    earlier = {index: run.before if index == 0 else run.worlds[EXECUTE, index - 1] for index in done}
    now = run.worlds[EXECUTE, done[-1]]
    blamed: int | None = None
    for index in reversed(done):
        now = run.worlds.get((COMPENSATE, index), now)
        if now == earlier[index]:
            blamed = None
        elif blamed is None:
            blamed = index
    return blamed
