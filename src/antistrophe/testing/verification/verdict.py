"""What a run shows: whether something is wrong, whose undo is to blame, and of which kind it is.

Where one run can have several reasons, experiments tell them apart: the same again with one thing changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from antistrophe.definition.spec import StepSpec
from antistrophe.records import SagaStatus
from antistrophe.saga.effects import next_work
from antistrophe.saga.view import metadata_of
from antistrophe.testing.verification.injections import COMPENSATE, EXECUTE, RETURNED, Injection, When
from antistrophe.testing.verification.points import CLEAN, SUPERVISOR, Point
from antistrophe.testing.verification.report import WHAT_TO_DO, Finding, Kind
from antistrophe.testing.verification.run import Change, Run, is_plain

_IN_DOUBT = {
    When.BEFORE: "what had never happened was undone",
    When.WITHIN: "what was half done was not undone",
    When.AFTER: "what had been done was not undone",
}

Runner = Callable[[Point, Change], Run]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The kind of what is wrong, the step to blame and the one that it can't do with, by index, and what happened."""

    kind: Kind
    step: int | None
    says: str
    other: int | None = None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """That something is wrong: ``step`` is to blame as far as the run itself shows it."""

    kind: Kind
    step: int | None
    says: str
    error_type: str = ""


class Judge:
    """Judges the runs of one verification. ``run`` makes a further run where one is needed to tell."""

    def __init__(self, steps: Sequence[StepSpec], points: Iterable[Point], run: Runner) -> None:
        self._steps = steps
        self._points = {point.name: point for point in points}
        self._run = run
        self._runs: dict[tuple[str, Change], Run] = {}

    def run_of(self, point: Point, change: Change = Change()) -> Run:  # noqa: B008 - frozen
        """The run of that point, made once."""
        if (point.name, change) not in self._runs:
            self.know(self._run(point, change), change)
        return self._runs[point.name, change]

    def know(self, run: Run, change: Change = Change()) -> None:  # noqa: B008 - frozen
        """Take a run that was made elsewhere."""
        self._runs[run.point.name, change] = run

    def knows(self, point: Point) -> bool:
        """True where the run of that point has been made."""
        return (point.name, Change()) in self._runs

    def finding(self, run: Run) -> Finding | None:
        """What that run shows, or None where it shows nothing wrong."""
        trouble = _trouble(run, self._steps)
        if trouble is None:
            return None
        verdict = self._verdict(run, trouble)
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
        )

    def _name(self, step: int | None) -> str | None:
        return None if step is None else self._steps[step].name

    def _verdict(self, run: Run, trouble: _Trouble) -> Verdict:
        point = run.point
        if trouble.kind in (Kind.STUCK, Kind.NOT_COMPLETED):
            return _as_it_is(trouble)
        if is_plain(point):
            return self._plain(point, trouble)
        base = self._base(run)
        known = _trouble(self.run_of(base), self._steps)
        if known is not None:  # the injection has nothing to do with it
            return self._plain(base, known)
        if point.role == COMPENSATE:
            return self._undo(point, trouble)
        if point.once and point.area != SUPERVISOR:
            return self._tried_again(point, trouble)
        return self._doubt(run, trouble)

    def _base(self, run: Run) -> Point:
        """The run in which the same steps succeed, nothing is injected, and all is undone."""
        point, last = run.point, len(self._steps)
        succeeded = run.saga is not None and point.step < last and run.saga.steps[point.step].succeeded
        if point.role == COMPENSATE or point.step >= last or succeeded:
            return self._points[CLEAN]
        return self._up_to(point.step + 1)

    def _up_to(self, count: int) -> Point:
        """The run in which that many steps succeed and the next one raises."""
        if count >= len(self._steps):
            return self._points[CLEAN]
        return self._points[f"execute/{self._steps[count].name}/raise-before"]

    def _fine(self, point: Point, change: Change = Change()) -> bool:  # noqa: B008 - frozen
        run = self.run_of(point, change)
        return run.missed is None and _trouble(run, self._steps) is None

    # --- by what was injected ----------------------------------------------------------------------------------

    def _plain(self, point: Point, trouble: _Trouble) -> Verdict:
        """Steps succeeded, nothing was in doubt, and the undo does not work: alone, or because of a later step?"""
        undone = trouble.step
        if undone is None or not self._steps[undone].requires_compensation:
            return _as_it_is(trouble)
        asked_for = self._later_output(undone, trouble)
        if asked_for is not None:
            says = f"{trouble.says}. Only the outputs of earlier steps can be read"
            return Verdict(Kind.WRONG_ORDER, undone, says, asked_for)
        clean = self._points[CLEAN]
        for later in range(undone + 1, len(self._steps)):
            if self._steps[later].requires_compensation and self._fine(clean, Change(swap=(undone, later))):
                name = self._steps[later].name
                says = f"{trouble.says}. It works where {name} has not been undone yet"
                return Verdict(Kind.WRONG_ORDER, undone, says, later)
        ran = point.step
        if ran > undone + 1 and self._fine(self._up_to(undone + 1)):
            for later in range(undone + 1, ran):
                found = _trouble(self.run_of(self._up_to(later + 1)), self._steps)
                if found is not None and found.step == undone:
                    says = f"{trouble.says}. It works where {self._steps[later].name} has not run"
                    return Verdict(Kind.PAIR, undone, says, later)
        return _as_it_is(trouble)

    def _later_output(self, undone: int, trouble: _Trouble) -> int | None:
        """The later step whose output the undo asked for, or None."""
        if trouble.error_type != "OutputNotFoundError":
            return None
        for later in range(undone + 1, len(self._steps)):
            if f"step {self._steps[later].name!r} has no output" in trouble.says:
                return later
        return None

    def _undo(self, point: Point, trouble: _Trouble) -> Verdict:
        """All is undone where nothing happens to the undo."""
        step = trouble.step if trouble.step is not None else self._index(point)
        if point.when is not When.BEFORE and point.what in (Injection.KILL, Injection.HOLD):
            return Verdict(Kind.NOT_IDEMPOTENT, step, trouble.says)
        return Verdict(trouble.kind, step, trouble.says)

    def _tried_again(self, point: Point, trouble: _Trouble) -> Verdict:
        """The first attempt was spoilt, the second went through."""
        if point.when is When.AFTER:
            return Verdict(Kind.REPEATED, self._index(point), trouble.says)
        return Verdict(trouble.kind, trouble.step, trouble.says)

    def _doubt(self, run: Run, trouble: _Trouble) -> Verdict:
        """All is undone where the step succeeds or raises: it is the doubt that the undo can't do with."""
        point, step = run.point, self._index(run.point)
        if step is None or trouble.step not in (None, step):
            return _as_it_is(trouble)
        spec = self._steps[step]
        again = self._points.get(f"execute/{spec.name}/kill-once")
        if point.when is When.AFTER and again is not None and not self._fine(again):
            return Verdict(Kind.REPEATED, step, trouble.says)
        if run.saga is not None and not run.saga.steps[step].in_doubt:
            says = f"{trouble.says}. The step says atomic = True: an exception means that nothing was done"
            return Verdict(trouble.kind, step, says)
        if point.when is When.AFTER and self._gives_output(step) and self._fine_with_output(point):
            says = f"{trouble.says}. It works where it is given the output of execute"
            return Verdict(Kind.NEEDS_OUTPUT, step, says)
        if trouble.kind is Kind.PARKED:
            return Verdict(Kind.FAILS_IN_DOUBT, step, trouble.says)
        return Verdict(Kind.RESIDUE, step, f"{trouble.says}: in doubt, {_IN_DOUBT[point.when]}")

    def _fine_with_output(self, point: Point) -> bool:
        return point.area != SUPERVISOR and self._fine(point, Change(restored=True))

    def _gives_output(self, step: int) -> bool:
        notes = self.run_of(self._points[CLEAN]).notes
        return any(
            note["output"]
            for note in notes
            if note["what"] == RETURNED and note["role"] == EXECUTE and note["step"] == step
        )

    def _index(self, point: Point) -> int | None:
        return point.step if point.step < len(self._steps) else None


def _as_it_is(trouble: _Trouble) -> Verdict:
    return Verdict(trouble.kind, trouble.step, trouble.says)


def _trouble(run: Run, steps: Sequence[StepSpec]) -> _Trouble | None:
    """What is wrong after that run, or None."""
    if not run.came_to_rest:
        waits = None if run.saga is None else metadata_of(run.saga).waiting
        work = None if run.saga is None else next_work(run.saga)
        says = "the saga did not come to its end" + ("" if waits is None else f": it waits for {waits}")
        return _Trouble(Kind.STUCK, None if work is None else work.step, says)
    if run.point.name == CLEAN and run.missed is not None:
        failed = None if run.saga is None or run.saga.cause is None else run.saga.cause.step
        return _Trouble(Kind.NOT_COMPLETED, failed, "not every step succeeded: " + run.missed)
    if run.status is SagaStatus.FAILED:
        given_up = run.given_up
        assert given_up is not None, "a parked saga has given an undo up"
        index, error_type, error = given_up
        says = f"the undo of {steps[index].name} failed for good: {error}"
        return _Trouble(Kind.PARKED, index, says, error_type)
    if run.residue:
        return _Trouble(Kind.RESIDUE, _who_left(run, len(steps)), "the world was not as before")
    return None


def _who_left(run: Run, count: int) -> int | None:
    """The step with whose undo the world departed for good from what it had been before that step, where the world
    was looked at in between."""
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
