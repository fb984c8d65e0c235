"""Proves that a saga can be undone, or shows where it can't: runs it with one thing after another going wrong."""

from __future__ import annotations

import fnmatch
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from antistrophe.definition import SagaDefinition
from antistrophe.errors import InvalidDefinitionError, RequestError
from antistrophe.spec import StepSpec
from antistrophe.system.reach import look
from antistrophe.testing.injections import RETURNED
from antistrophe.testing.judge import Judge
from antistrophe.testing.points import CLEAN, SUPERVISOR, Point, points_of
from antistrophe.testing.report import Checked, Report
from antistrophe.testing.snapshots import Snapshots, World
from antistrophe.testing.stage import Make, Stage
from antistrophe.testing.trial import Bounds, Change, Run, Trials

Progress: TypeAlias = Callable[[Point, int, int], None]
"""Told before each run: its point, how many points are done, and how many there are."""


def verify_compensable(
    saga: SagaDefinition | Callable[[str], SagaDefinition],
    world: World | None = None,
    home: str | os.PathLike[str] | None = None,
    *,
    only: str | Iterable[str] | None = None,
    reset: Callable[[], None] | None = None,
    hang_s: float = 0.3,
    call_s: float = 5.0,
    run_s: float = 60.0,
    limit_s: float = 900.0,
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
    many points, drawn by ``seed``. ``hang_s``: how long an injected hang lasts until it is ended; ``call_s``: how long
    any other call may take, if its own limit is higher and it was not seen to take a tenth of it; ``run_s``: how long a
    run may take until it counts as stuck. After ``limit_s`` seconds no further run starts; points that were not run are
    reported as missed. ``at_a_time``: runs at the same time, for a ``world`` that takes the saga's id. ``trust_atomic``
    False: raise after the effect also where a step says atomic = True (the default), which says that it never does.

    Raises RequestError for what can't be verified, and whatever ``world`` and ``reset`` raise.
    """
    call = _Call(
        saga, Snapshots(world), reset, Bounds(hang_s, call_s, run_s), at_a_time, limit_s, trust_atomic, progress
    )
    call.choose(only, sample, seed)
    with _folders(home) as (place, files):
        return call.verify(place, files)


@dataclass
class _Call:
    """One verification."""

    saga: SagaDefinition | Callable[[str], SagaDefinition]
    snapshots: Snapshots
    reset: Callable[[], None] | None
    bounds: Bounds
    at_a_time: int
    limit_s: float
    trust_atomic: bool
    progress: Progress | None

    def __post_init__(self) -> None:
        if self.at_a_time < 1 or (self.at_a_time > 1 and (not self.snapshots.own or self.reset is not None)):
            raise RequestError("runs at the same time need a world(saga_id) that shows one saga's part, and no reset")
        if not all(value > 0 for value in (self.bounds.hang_s, self.bounds.call_s, self.bounds.run_s, self.limit_s)):
            raise RequestError("hang_s, call_s, run_s and limit_s are numbers of seconds over 0")
        self.make = _maker(self.saga)
        definition = self.make("verify-first-look")
        if not definition.step_specs:
            raise InvalidDefinitionError("a saga without steps has nothing to undo")
        self.trials = Trials(definition, self.bounds)
        self.points = points_of(self.trials.specs, trust_atomic=self.trust_atomic)
        self.seed: int | None = None
        self.done = 0
        self.runs = 0
        self.began = time.monotonic()

    def choose(self, only: str | Iterable[str] | None, sample: int | None, seed: int | None) -> None:
        """Choose the points to run."""
        by_name = {point.name: point for point in self.points}
        self.by_name, self.chosen = by_name, self.points
        if only is not None:
            wanted = {name for each in ([only] if isinstance(only, str) else only) for name in _matching(each, by_name)}
            self.chosen = [point for point in self.points if point.name in wanted]
        if sample is not None and sample < len(self.chosen):
            self.seed = random.SystemRandom().randrange(2**32) if seed is None else seed
            drawn = set(random.Random(self.seed).sample([point.name for point in self.chosen], sample))
            self.chosen = [point for point in self.chosen if point.name in drawn]

    def verify(self, home: Path, files: Path) -> Report:
        """Make the runs, and judge them."""
        with Stage(home, files, self.make, self.trials, self.snapshots, self.reset) as stage:
            judge = Judge(self.trials.specs, self.by_name, lambda point, change: self._run(stage, point, change))
            first = self.by_name[CLEAN]
            clean = judge.run_of(first)
            self._learn(clean)
            checked = [self._check(judge, first)] if first in self.chosen or clean.missed else []
            if clean.missed is None:
                checked += self._check_all(stage, judge, [point for point in self.chosen if point is not first])
        return Report(
            saga=self.make("verify-last-look").name,
            steps=tuple(spec.name for spec in self.trials.specs),
            checked=tuple(checked),
            assumptions=tuple(_assumptions(self.trials.specs, self.snapshots, trust_atomic=self.trust_atomic)),
            runs=self.runs,
            seconds=time.monotonic() - self.began,
            seed=self.seed,
        )

    def _run(self, stage: Stage, point: Point, change: Change) -> Run:
        if self.progress is not None:
            self.progress(point, self.done, len(self.chosen))
        self.runs += 1
        return stage.run(point, change)

    def _learn(self, clean: Run) -> None:
        """How long each call takes is what the limits of later runs go by."""
        took_s = {
            (note["role"], note["step"]): float(note["took_s"]) for note in clean.notes if note["what"] == RETURNED
        }
        self.trials.bounds = replace(self.bounds, took_s=took_s)

    def _check_all(self, stage: Stage, judge: Judge, points: Sequence[Point]) -> list[Checked]:
        together = [point for point in points if point.area != SUPERVISOR]
        if self.at_a_time > 1:
            with ThreadPoolExecutor(self.at_a_time, "antistrophe-verify-run") as pool:
                for run in pool.map(lambda point: self._run(stage, point, Change()), together):
                    judge.know(run)
        return [self._check(judge, point) for point in points]

    def _check(self, judge: Judge, point: Point) -> Checked:
        if time.monotonic() - self.began > self.limit_s and not judge.knows(point):
            return Checked(point, missed=f"not run: {self.limit_s:g} s (limit_s) were over")
        run = judge.run_of(point)
        finding = judge.finding(run)
        self.done += 1
        return Checked(point, finding, run.missed, run.seconds)


def _maker(saga: SagaDefinition | Callable[[str], SagaDefinition]) -> Make:
    """Makes the saga for an id, whatever id the user's function gives it."""
    if not isinstance(saga, SagaDefinition) and not callable(saga):
        raise InvalidDefinitionError(f"not a SagaDefinition, nor a function that makes one: {saga!r}")

    def make(saga_id: str) -> SagaDefinition:
        made = saga if isinstance(saga, SagaDefinition) else saga(saga_id)
        if not isinstance(made, SagaDefinition):
            raise InvalidDefinitionError(f"the saga's function returned no SagaDefinition, but {type(made).__name__}")
        return made

    return make


def _matching(wanted: str, names: Iterable[str]) -> list[str]:
    """The points of that name, or that fit the pattern."""
    found = [wanted] if wanted in names else fnmatch.filter(names, wanted)
    if not found:
        raise RequestError(f"there is no point {wanted!r}; there are {', '.join(names)}")
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
