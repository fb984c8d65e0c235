"""``verify_compensable``: runs a saga once for each point at which something can go wrong, and compares the world."""

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
from antistrophe.exception_text import name_and_text
from antistrophe.launcher.probe import probe
from antistrophe.serialization.type_hints import short
from antistrophe.serialization.whole_numbers import check_whole_number
from antistrophe.testing.verification.injections import RETURNED
from antistrophe.testing.verification.points import SUPERVISOR, Point, points_of, points_within
from antistrophe.testing.verification.report import Checked, Report
from antistrophe.testing.verification.run import NO_CHANGE, TURN_NAME, Bounds, Change, Run, RunDefinitions, Runs
from antistrophe.testing.verification.runner import MakeSaga, Runner
from antistrophe.testing.verification.snapshots import Snapshots, World
from antistrophe.testing.verification.verdict import Verdicts

Progress: TypeAlias = Callable[[Point, int, int], None]
"""Called before each run, with its point, the number of points that are done, and the number of all points."""


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
    before and after. The last step of every run fails, so that a correct saga leaves the world as it was.

    ``saga``: a definition, which is run under other ids; or a function that makes the definition for a given id, if the
    fields of the steps depend on the id. ``world``: a function that returns a snapshot of what the saga touches, in
    plain values; ``world(saga_id)`` may return the part of one saga. Without ``world`` only undos that fail are found.
    ``home``: a folder for the actor system, in which no system runs; by default a temporary folder. ``reset``: called
    before each run, to repair the world after a saga that is not correct.

    ``only``: names of points, as a finding has them, or patterns (``"compensate/*/kill-*"``). ``sample``: run at most
    this number of points, drawn with ``seed``. ``at_a_time``: the number of runs at the same time; more than one needs
    a ``world`` that takes the saga's id. ``trust_atomic``: a step with atomic = True (the default) says that an
    exception means that nothing was done; False also injects exceptions after the effect of such a step.

    Raises RequestError for what can't be verified. Errors of ``world`` and ``reset`` are passed on. An example::

        report = verify_compensable(order, world)
        assert report.ok, report
    """
    _check_arguments(world=world, reset=reset, bounds=bounds, sample=sample, seed=seed, at_a_time=at_a_time)
    selection = _Selection(None if only is None else _names(only), sample, seed)
    verification = _Verification(saga, Snapshots(world), reset, bounds, selection, at_a_time, trust_atomic, progress)
    with _folders(home) as (place, files):
        return verification.verify(place, files)


@dataclass(frozen=True, slots=True)
class _Selection:
    """Which points to run: those that ``only`` names, and of these at most ``sample``."""

    only: tuple[str, ...] | None
    sample: int | None
    seed: int | None

    def of(self, points: Sequence[Point]) -> tuple[list[Point], int | None]:
        """The selected points, and the seed if a sample was drawn."""
        names = [point.name for point in points]
        wanted = names if self.only is None else [name for each in self.only for name in _matching(each, names)]
        chosen = [point for point in points if point.name in wanted]
        if self.sample is None or self.sample >= len(chosen):
            return chosen, None
        seed = random.SystemRandom().randrange(2**32) if self.seed is None else self.seed
        drawn = random.Random(seed).sample(chosen, self.sample)
        return [point for point in chosen if point in drawn], seed


@dataclass
class _Verification:
    """One verification."""

    saga: SagaDefinition | Callable[[str], SagaDefinition]
    snapshots: Snapshots
    reset: Callable[[], None] | None
    bounds: Bounds
    selection: _Selection
    at_a_time: int
    trust_atomic: bool
    progress: Progress | None

    def __post_init__(self) -> None:
        if self.at_a_time > 1 and (not self.snapshots.per_saga or self.reset is not None):
            raise RequestError("at_a_time over 1 needs a world(saga_id) with the part of one saga, and no reset")
        self.make = _saga_maker(self.saga)
        definition = self.make("verify-first-look")
        if not definition.step_specs:
            raise InvalidDefinitionError("a saga without steps has nothing to undo")
        if TURN_NAME in (spec.name for spec in definition.step_specs):
            raise InvalidDefinitionError(f"a step can't be called {TURN_NAME!r}: the verifier adds a step of that name")
        self.name = definition.name
        self.definitions = RunDefinitions(definition, self.bounds)
        self.selected: list[Point] = []
        self.lock = threading.Lock()
        self.points_done = 0
        self.runs_made = 0
        self.began = time.monotonic()

    def verify(self, home: Path, files: Path) -> Report:
        """Make the runs, and report the verdicts on them."""
        specs = self.definitions.specs
        points = points_of(specs, trust_atomic=self.trust_atomic)
        if self.reset is not None:
            self.reset()
        self.snapshots.check_steady("verify-first-look")
        with Runner(home, files, self.make, self.definitions, self.snapshots, self.reset) as runner:
            runs = Runs(lambda point, change: self._run(runner, point, change))
            verdicts = Verdicts(specs, points, runs)
            clean = runs.of(points[0])
            returned = [note for note in clean.notes if note["what"] == RETURNED]
            self._set_limits(returned)
            seed = None
            if clean.missed is None and clean.came_to_rest:
                self.selected, seed = self.selection.of(_in_order(points, points_within(specs, returned)))
                checked = self._check_all(runner, runs, verdicts)
            else:
                checked = [self._check(runs, verdicts, points[0])]
        return Report(
            saga=self.name,
            steps=tuple(spec.name for spec in specs),
            checked=tuple(checked),
            assumptions=tuple(_assumptions(specs, self.snapshots, trust_atomic=self.trust_atomic)),
            runs=self.runs_made,
            seconds=time.monotonic() - self.began,
            seed=seed,
        )

    def _run(self, runner: Runner, point: Point, change: Change) -> Run:
        with self.lock:
            self.runs_made += 1
            if self.progress is not None:
                self.progress(point, self.points_done, len(self.selected))
        run = runner.run(point, change)
        with self.lock:
            self.points_done += change == NO_CHANGE and point in self.selected
        return run

    def _set_limits(self, returned: Sequence[Mapping[str, Any]]) -> None:
        """Derive the time limits of later runs from the time that each call took."""
        self.definitions.took_s = {(note["role"], note["step"]): float(note["took_s"]) for note in returned}

    def _check_all(self, runner: Runner, runs: Runs, verdicts: Verdicts) -> list[Checked]:
        if self.at_a_time > 1:
            together = [point for point in self.selected if point.area != SUPERVISOR and point not in runs]
            with ThreadPoolExecutor(self.at_a_time, "antistrophe-verify-run") as pool:
                try:
                    for run in pool.map(lambda point: self._run_in_time(runner, point), together):
                        if run is not None:
                            runs.add(run)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
        return [self._check(runs, verdicts, point) for point in self.selected]

    @property
    def _time_is_over(self) -> bool:
        return time.monotonic() - self.began > self.bounds.total_s

    def _run_in_time(self, runner: Runner, point: Point) -> Run | None:
        return None if self._time_is_over else self._run(runner, point, NO_CHANGE)

    def _check(self, runs: Runs, verdicts: Verdicts, point: Point) -> Checked:
        if self._time_is_over and point not in runs:
            return Checked(point, missed=f"not run: the time limit of {self.bounds.total_s:g} s (total_s) was over")
        run = runs.of(point)
        return Checked(point, verdicts.finding(run), run.missed, run.saga_id, run.records, run.seconds)


def _in_order(points: Sequence[Point], within: Sequence[Point]) -> list[Point]:
    """All points; those that kill the supervisor come last."""
    return sorted([*points, *within], key=lambda point: point.area == SUPERVISOR)


def _saga_maker(saga: SagaDefinition | Callable[[str], SagaDefinition]) -> MakeSaga:
    """A function that makes the saga for an id. The user's function may give the saga another id."""
    if not isinstance(saga, SagaDefinition) and not callable(saga):
        raise InvalidDefinitionError(f"not a SagaDefinition, and not a function that makes one: {saga!r}")

    def make(saga_id: str) -> SagaDefinition:
        try:
            made = saga if isinstance(saga, SagaDefinition) else saga(saga_id)
        except Exception as error:  # the user's own code
            raise InvalidDefinitionError(f"the saga's function raised {name_and_text(error)}") from error
        if not isinstance(made, SagaDefinition):
            raise InvalidDefinitionError(f"the saga's function returned {type(made).__name__}, no SagaDefinition")
        return made

    return make


def _check_arguments(*, world: Any, reset: Any, bounds: Any, sample: Any, seed: Any, at_a_time: Any) -> None:
    """Raise RequestError for wrong arguments before a system is started: some would pass unseen and verify nothing."""
    for name, value in (("world", world), ("reset", reset)):
        if value is not None and not callable(value):
            raise RequestError(f"{name} must be a function, not {short(value)}")
    if not isinstance(bounds, Bounds):
        raise RequestError(f"bounds must be Bounds(...), not {short(bounds)}")
    numbers = (("sample", sample, 1), ("seed", seed, 0), ("at_a_time", at_a_time, 1))
    for name, value, least in numbers:
        if value is not None or name == "at_a_time":
            check_whole_number(value, name, least, error=RequestError)


def _names(only: Any) -> tuple[str, ...]:
    names = (only,) if isinstance(only, str) else tuple(only) if isinstance(only, Iterable) else ()
    if not names or not all(isinstance(each, str) for each in names):
        raise RequestError(f"only must name at least one point, in one text or several, not {short(only)}")
    return names


def _matching(wanted: str, names: Sequence[str]) -> list[str]:
    """The names that equal ``wanted``, or that match it as a pattern."""
    found = [wanted] if wanted in names else fnmatch.filter(names, wanted)
    if not found:
        near = difflib.get_close_matches(wanted, names, n=3, cutoff=0.0)
        raise RequestError(
            f"there is no point {wanted!r}; the nearest are {', '.join(near)}; there are {len(names) - len(near)} more"
        )
    return found


def _assumptions(specs: Sequence[StepSpec], snapshots: Snapshots, *, trust_atomic: bool) -> Iterator[str]:
    if not snapshots.given:
        yield "No world was given: effects that an undo leaves behind were not looked for."
    atomic = [spec.name for spec in specs if spec.atomic]
    if trust_atomic and atomic:
        yield (
            f"{', '.join(atomic)}: atomic, that is, an exception other than InDoubtError means that nothing was done."
            " If a step is not atomic, say atomic = False, or verify with trust_atomic=False."
        )


@contextmanager
def _folders(home: str | os.PathLike[str] | None) -> Iterator[tuple[Path, Path]]:
    """The home, and a folder for the logs of the runs."""
    with tempfile.TemporaryDirectory(prefix="antistrophe-verify-", ignore_cleanup_errors=True) as folder:
        files = Path(folder) / "runs"
        files.mkdir()
        place = Path(folder) / "home" if home is None else Path(home)
        if place.exists() and probe(place) is not None:
            raise RequestError(
                f"an actor system runs in {place}, and verifying kills the system again and again: give another home"
            )
        yield place, files
