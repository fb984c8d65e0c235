"""Proves that a saga can be undone, or shows where it can't: runs it with one thing after another going wrong."""

from __future__ import annotations

import difflib
import fnmatch
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import StepSpec
from antistrophe.errors import InvalidDefinitionError, RequestError
from antistrophe.launcher.probe import look
from antistrophe.serialization.type_hints import short
from antistrophe.testing.verification.injections import RETURNED
from antistrophe.testing.verification.points import SUPERVISOR, Point, points_of, points_within
from antistrophe.testing.verification.report import Checked, Report
from antistrophe.testing.verification.run import TURN_NAME, Bounds, Change, Run, Trials
from antistrophe.testing.verification.runner import Make, Stage
from antistrophe.testing.verification.snapshots import Snapshots, World
from antistrophe.testing.verification.verdict import Judge

Progress: TypeAlias = Callable[[Point, int, int], None]
"""Told before each run: its point, how many points are done, and how many there are."""


def verify_compensable(
    saga: SagaDefinition | Callable[[str], SagaDefinition],
    world: World | None = None,
    home: str | os.PathLike[str] | None = None,
    *,
    only: str | Iterable[str] | None = None,
    reset: Callable[[], None] | None = None,
    bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    at_a_time: int = 1,
    sample: int | None = None,
    seed: int | None = None,
    trust_atomic: bool = True,
    progress: Progress | None = None,
) -> Report:
    """Run a saga in real step processes, once for each point at which something can go wrong, and compare the world
    before and after: whatever happens, everything that was done has to be undone.

    ``saga``: a definition, which is run under other ids; or a function that makes one for a given id, where the steps'
    fields depend on it. ``world()`` returns a snapshot, of plain values, of what the saga touches; ``world(saga_id)``
    is called with the id where it takes one. Without it only undos that fail are found. ``home``: a folder for the
    actor system, where none runs; by default one that is removed. Every run ends by turning back, so that a correct
    saga leaves the world as it was; ``reset()``, called before each run, is for one that is not.

    ``only``: names of points, as a finding has them, or patterns (``"compensate/*/kill-*"``). ``sample``: at most so
    many points, drawn by ``seed``. ``at_a_time``: runs at the same time, for a ``world`` that takes the saga's id.
    ``trust_atomic`` False: raise after the effect also where a step says atomic = True (the default), which says that
    it never does that.

    Raises RequestError for what can't be verified, and whatever ``world`` and ``reset`` raise.
    """
    _refuse_nonsense(world=world, reset=reset, sample=sample, seed=seed, at_a_time=at_a_time)
    choice = _Choice(None if only is None else _names(only), sample, seed)
    call = _Call(saga, Snapshots(world), reset, bounds, choice, at_a_time, trust_atomic, progress)
    with _folders(home) as (place, files):
        return call.verify(place, files)


@dataclass(frozen=True, slots=True)
class _Choice:
    """Which points to run: those that ``only`` names, or at most ``sample`` of them."""

    only: tuple[str, ...] | None
    sample: int | None
    seed: int | None

    def of(self, points: Sequence[Point]) -> tuple[list[Point], int | None]:
        """The chosen ones, and the seed that they were drawn with, if they were."""
        names = [point.name for point in points]
        wanted = names if self.only is None else [name for each in self.only for name in _matching(each, names)]
        chosen = [point for point in points if point.name in wanted]
        if self.sample is None or self.sample >= len(chosen):
            return chosen, None
        seed = random.SystemRandom().randrange(2**32) if self.seed is None else self.seed
        drawn = random.Random(seed).sample(chosen, self.sample)
        return [point for point in chosen if point in drawn], seed


@dataclass
class _Call:
    """One verification."""

    saga: SagaDefinition | Callable[[str], SagaDefinition]
    snapshots: Snapshots
    reset: Callable[[], None] | None
    bounds: Bounds
    choice: _Choice
    at_a_time: int
    trust_atomic: bool
    progress: Progress | None

    def __post_init__(self) -> None:
        if self.at_a_time < 1 or (self.at_a_time > 1 and (not self.snapshots.own or self.reset is not None)):
            raise RequestError("runs at the same time need a world(saga_id) that shows one saga's part, and no reset")
        self.make = _maker(self.saga)
        definition = self.make("verify-first-look")
        if not definition.step_specs:
            raise InvalidDefinitionError("a saga without steps has nothing to undo")
        if TURN_NAME in (spec.name for spec in definition.step_specs):
            raise InvalidDefinitionError(f"a step can't be called {TURN_NAME!r}: that is the verifier's own last step")
        self.name = definition.name
        self.trials = Trials(definition, self.bounds)
        self.chosen: list[Point] = []
        self.lock = threading.Lock()
        self.done = 0
        self.runs = 0
        self.began = time.monotonic()

    def verify(self, home: Path, files: Path) -> Report:
        """Make the runs, and judge them."""
        specs = self.trials.specs
        points = points_of(specs, trust_atomic=self.trust_atomic)
        if self.reset is not None:
            self.reset()
        self.snapshots.check_steady("verify-first-look")
        with Stage(home, files, self.make, self.trials, self.snapshots, self.reset) as stage:
            judge = Judge(specs, points, lambda point, change: self._run(stage, point, change))
            clean = judge.run_of(points[0])
            usable = clean.missed is None and clean.came_to_rest
            returned = [note for note in clean.notes if note["what"] == RETURNED]
            self._learn(returned)
            within = points_within(specs, returned)
            seed = None
            if usable:
                self.chosen, seed = self.choice.of(_in_order(points, within))
                checked = self._check_all(stage, judge)
            else:
                checked = [self._check(judge, points[0])]
        return Report(
            saga=self.name,
            steps=tuple(spec.name for spec in specs),
            checked=tuple(checked),
            assumptions=tuple(_assumptions(specs, self.snapshots, trust_atomic=self.trust_atomic)),
            runs=self.runs,
            seconds=time.monotonic() - self.began,
            seed=seed,
        )

    def _run(self, stage: Stage, point: Point, change: Change) -> Run:
        with self.lock:
            self.runs += 1
            if self.progress is not None:
                self.progress(point, self.done, len(self.chosen))
        run = stage.run(point, change)
        with self.lock:
            self.done += change == Change() and point in self.chosen
        return run

    def _learn(self, returned: Sequence[Mapping[str, Any]]) -> None:
        """How long each call takes is what the limits of later runs go by."""
        self.trials.took_s = {(note["role"], note["step"]): float(note["took_s"]) for note in returned}

    def _check_all(self, stage: Stage, judge: Judge) -> list[Checked]:
        if self.at_a_time > 1:
            together = [point for point in self.chosen if point.area != SUPERVISOR and not judge.knows(point)]
            with ThreadPoolExecutor(self.at_a_time, "antistrophe-verify-run") as pool:
                try:
                    for run in pool.map(lambda point: self._run_in_time(stage, point), together):
                        if run is not None:
                            judge.know(run)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        return [self._check(judge, point) for point in self.chosen]

    @property
    def _time_is_over(self) -> bool:
        return time.monotonic() - self.began > self.bounds.total_s

    def _run_in_time(self, stage: Stage, point: Point) -> Run | None:
        return None if self._time_is_over else self._run(stage, point, Change())

    def _check(self, judge: Judge, point: Point) -> Checked:
        if self._time_is_over and not judge.knows(point):
            return Checked(point, missed=f"not run: {self.bounds.total_s:g} s (total_s) were over")
        run = judge.run_of(point)
        finding = judge.finding(run)
        return Checked(point, finding, run.missed, run.saga_id, run.records, run.seconds)


def _in_order(points: Sequence[Point], within: Sequence[Point]) -> list[Point]:
    """All points, those at which everything is killed last."""
    return sorted([*points, *within], key=lambda point: point.area == SUPERVISOR)


def _maker(saga: SagaDefinition | Callable[[str], SagaDefinition]) -> Make:
    """Makes the saga for an id, whatever id the user's function gives it."""
    if not isinstance(saga, SagaDefinition) and not callable(saga):
        raise InvalidDefinitionError(f"not a SagaDefinition, nor a function that makes one: {saga!r}")

    def make(saga_id: str) -> SagaDefinition:
        try:
            made = saga if isinstance(saga, SagaDefinition) else saga(saga_id)
        except Exception as error:  # the user's own code
            raise InvalidDefinitionError(f"the saga's function raised {type(error).__name__}: {error}") from error
        if not isinstance(made, SagaDefinition):
            raise InvalidDefinitionError(f"the saga's function returned no SagaDefinition, but {type(made).__name__}")
        return made

    return make


def _refuse_nonsense(*, world: Any, reset: Any, sample: Any, seed: Any, at_a_time: Any) -> None:
    """Before a system is started: what would be found out late, or would verify nothing and call that well."""
    for name, value in (("world", world), ("reset", reset)):
        if value is not None and not callable(value):
            raise RequestError(f"{name} is to be a function, not {short(value)}")
    numbers = (("sample", sample, 1), ("seed", seed, 0), ("at_a_time", at_a_time, 1))
    for name, value, least in numbers:
        optional = value is None and name != "at_a_time"
        if not optional and (not isinstance(value, int) or isinstance(value, bool) or value < least):
            raise RequestError(f"{name} is to be a whole number from {least} on, not {short(value)}")


def _names(only: Any) -> tuple[str, ...]:
    names = (only,) if isinstance(only, str) else tuple(only) if isinstance(only, Iterable) else ()
    if not names or not all(isinstance(each, str) for each in names):
        raise RequestError(f"only is to name at least one point, as a text or several, not {short(only)}")
    return names


def _matching(wanted: str, names: Sequence[str]) -> list[str]:
    """The points of that name, or that fit the pattern."""
    found = [wanted] if wanted in names else fnmatch.filter(names, wanted)
    if not found:
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.0)
        raise RequestError(
            f"there is no point {wanted!r}; there are {', '.join(near)}, and {len(names) - len(near)} more"
        )
    return found


def _assumptions(specs: Sequence[StepSpec], snapshots: Snapshots, *, trust_atomic: bool) -> Iterator[str]:
    if not snapshots.given:
        yield "No world was given: what an undo leaves behind is not seen."
    atomic = [spec.name for spec in specs if spec.atomic]
    if trust_atomic and atomic:
        yield (
            f"{', '.join(atomic)}: atomic, that is, an exception other than InDoubtError means that nothing was done."
            " Say atomic = False where that is not so, or verify with trust_atomic=False."
        )


@contextmanager
def _folders(home: str | os.PathLike[str] | None) -> Iterator[tuple[Path, Path]]:
    """The home, and a folder for what the runs leave behind."""
    with tempfile.TemporaryDirectory(prefix="antistrophe-verify-", ignore_cleanup_errors=True) as folder:
        files = Path(folder) / "runs"
        files.mkdir()
        place = Path(folder) / "home" if home is None else Path(home)
        if place.exists() and look(place) is not None:
            raise RequestError(
                f"an actor system runs in {place}: verifying kills it again and again; give another home"
            )
        yield place, files
