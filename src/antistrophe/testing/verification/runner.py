"""The actor system that the runs happen in: starts each run, answers its gates, kills what its point says, ends it."""

from __future__ import annotations

import itertools
import signal
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from antistrophe.client.handle import SagaHandle
from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import InvalidDefinitionError, SagaError
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.linux.process import ProcessIdentity, identity_of, send_signal
from antistrophe.saga.outcome import describe
from antistrophe.saga.state import Saga, replay
from antistrophe.settings import Settings
from antistrophe.testing.verification.injections import COMPENSATE, FIRED, GATE, HELD, TURNED, Injection, When, gate_of
from antistrophe.testing.verification.points import SUPERVISOR, Point
from antistrophe.testing.verification.run import Change, Run, Trials, is_plain
from antistrophe.testing.verification.run_log import ABANDONED, LIFTED, Trail
from antistrophe.testing.verification.snapshots import Snapshots

SETTINGS = Settings(
    drain_s=0.1,
    max_restarts=1_000,  # each run at a point of the supervisor's costs one
    restart_window_s=0.1,
    synchronous="NORMAL",  # no power is lost here
)

END_S = 30.0
"""How long it may take to bring a stuck run to its end."""

LOOK_S = 0.002

BEFORE, AFTER = When.BEFORE, When.AFTER

Make = Callable[[str], SagaDefinition]


class Stage:
    """Open while runs are made: the system of ``home``, and ``files`` for what the runs leave behind."""

    def __init__(
        self,
        home: Path,
        files: Path,
        make: Make,
        trials: Trials,
        snapshots: Snapshots,
        reset: Callable[[], None] | None,
    ) -> None:
        self._home = home
        self._files = files
        self._make = make
        self._trials = trials
        self._snapshots = snapshots
        self._reset = reset
        self._token = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # Left in the opposite order: the threads that wait for a saga are let go when the orchestrator is closed.
            self._pool = stack.enter_context(ThreadPoolExecutor(thread_name_prefix="antistrophe-verify"))
            self._orchestrator = stack.enter_context(SagaOrchestrator(self._home, settings=SETTINGS))
            self._journal = SqliteJournal(journal_path(self._home), read_only=True)
            stack.callback(self._journal.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, point: Point, change: Change = Change()) -> Run:  # noqa: B008 - frozen
        """Make one run, to its end. Lets through what ``world``, ``reset`` and the maker of the saga raise."""
        began = time.monotonic()
        number = next(self._numbers)
        saga_id = f"verify-{self._token}-{number}"
        trail = Trail(self._files / str(number))
        Path(trail.folder).mkdir()
        if self._reset is not None:
            self._reset()
        run = Run(point, saga_id, before=self._snapshots.take(saga_id))
        gated = self._snapshots.given and is_plain(point) and change == Change()
        source = self._source(saga_id)
        definition = self._trials.definition(source, saga_id, trail.folder, point, change, gated=gated)
        _Attendance(self, run, trail, gated=gated).go(definition)
        run.after = self._snapshots.take(saga_id)
        run.saga = self.load(saga_id)
        run.notes = trail.notes()
        run.seconds = time.monotonic() - began
        return run

    def _source(self, saga_id: str) -> SagaDefinition:
        source = self._make(saga_id)
        names = [spec.name for spec in source.step_specs]
        if names != [spec.name for spec in self._trials.specs]:
            raise InvalidDefinitionError(
                f"the saga that was made for {saga_id} has other steps than the first: {names}"
            )
        return source

    # --- for the attendance of a run ---------------------------------------------------------------------------

    def start(self, definition: SagaDefinition) -> SagaHandle:
        return self._orchestrator.start(definition)

    def outcome_of(self, handle: SagaHandle, within_s: float) -> Future[bool]:
        """Whether the saga comes to rest within that time, once that is known."""
        return self._pool.submit(_comes_to_rest, handle, within_s)

    def load(self, saga_id: str) -> Saga:
        """The saga as its journal has it now."""
        return replay(self._journal.load(saga_id))

    def take(self, saga_id: str) -> object:
        return self._snapshots.take(saga_id)

    def supervisor(self) -> ProcessIdentity | None:
        return self._identity(lambda role, _: role == "supervisor")

    def end_attempt(self, saga_id: str) -> None:
        """Kill the process in which a call of that saga runs, if there is one."""
        process = self._identity(lambda role, of: role == "step" and of == saga_id)
        if process is not None:
            send_signal(process, signal.SIGKILL)

    def _identity(self, wanted: Callable[[str, str | None], bool]) -> ProcessIdentity | None:
        found = (each.pid for each in self._orchestrator.processes() if wanted(each.role, each.saga_id))
        pid = next(found, None)
        return None if pid is None else identity_of(pid)

    def retry_compensation(self, saga_id: str) -> None:
        self._orchestrator.retry_compensation(saga_id)

    def cool_down(self) -> None:
        """Have the system start anew, without any step process."""
        process = self.supervisor()
        if process is not None:
            send_signal(process, signal.SIGKILL)
        self._orchestrator.running_count()

    def wait_until_back(self, saga_id: str) -> None:
        """Return when the system answers questions about that saga (again)."""
        self._orchestrator.get_saga(saga_id)

    @property
    def run_s(self) -> float:
        """How long a run may take before it counts as stuck."""
        return self._trials.bounds.run_s

    def parks_at_once(self, step: int) -> bool:
        """True where one failure of that step's undo is enough to park the saga."""
        return self._trials.specs[step].compensation_retry.max_attempts == 1


def _comes_to_rest(handle: SagaHandle, within_s: float) -> bool:
    try:
        handle.result(within_s)
    except SagaError:
        return True
    except TimeoutError:
        return False
    return True


class _Attendance:
    """What is done about one run while it goes on."""

    def __init__(self, stage: Stage, run: Run, trail: Trail, *, gated: bool) -> None:
        self._stage = stage
        self._run = run
        self._trail = trail
        self._gated = gated
        self._kill = run.point.area == SUPERVISOR
        self._killed = False
        self._opened = 0

    def go(self, definition: SagaDefinition) -> None:
        """Start the saga, see it to its rest, and note whether its injection happened."""
        run, stage, point = self._run, self._stage, self._run.point
        at_start, at_end = (self._kill and point.what is None and point.when is when for when in (BEFORE, AFTER))
        if at_start:  # without a process at hand, a saga is accepted in an append of its own
            stage.cool_down()
        victim = stage.supervisor() if self._kill else None
        handle = stage.start(definition)
        if at_start:
            self._strike(victim)
        run.came_to_rest = self._attend(handle, victim)
        if at_end:
            self._strike(victim)
            stage.wait_until_back(run.saga_id)
        run.missed = self._missed()
        if not run.came_to_rest:
            self._abandon(handle)
        elif self._parked_by_injection():
            self._trail.raise_flag(LIFTED)
            stage.retry_compensation(run.saga_id)
            run.came_to_rest = self._attend(handle, None)

    def _attend(self, handle: SagaHandle, victim: ProcessIdentity | None) -> bool:
        ended = self._stage.outcome_of(handle, self._stage.run_s)
        look_s = LOOK_S if self._gated or victim is not None else None
        while not ended.done():
            self._open_gates()
            if victim is not None and not self._killed and self._trail.notes(HELD):
                self._strike(victim)
            wait({ended}, look_s)
        return ended.result()

    def _open_gates(self) -> None:
        for note in self._trail.notes(GATE)[self._opened :]:
            role, step = note["role"], note["step"]
            self._run.worlds[role, step] = self._stage.take(self._run.saga_id)
            self._trail.raise_flag(gate_of(role, step))
            self._opened += 1

    def _strike(self, victim: ProcessIdentity | None) -> None:
        if victim is not None:
            self._run.records = self._stage.load(self._run.saga_id).seq
            self._killed = send_signal(victim, signal.SIGKILL)

    def _missed(self) -> str | None:
        point = self._run.point
        if self._kill:
            happened = self._killed
        elif point.what is None:
            happened = bool(self._trail.notes(TURNED))
        else:
            happened = bool(self._trail.notes(FIRED))
        if happened:
            return None
        cause = self._stage.load(self._run.saga_id).cause
        if cause is None or cause.failure is None:
            return "the call was not made"
        spec = self._stage.load(self._run.saga_id).spec.steps[cause.step]
        return f"{spec.name} failed before: {describe(cause.failure)}"

    def _parked_by_injection(self) -> bool:
        """True where the injected failure itself is enough to park the saga: then an operator has it tried again."""
        point, saga = self._run.point, self._stage.load(self._run.saga_id)
        if not saga.parked or point.area != COMPENSATE or saga.steps[point.step].given_up is None:
            return False
        return point.always or (point.what is not Injection.GARBAGE and self._stage.parks_at_once(point.step))

    def _abandon(self, handle: SagaHandle) -> None:
        """Bring a stuck saga to its end: whatever it still calls does nothing. One that waits is left waiting."""
        self._trail.raise_flag(ABANDONED)
        until = time.monotonic() + END_S
        while time.monotonic() < until and self._stage.load(handle.id).current is not None:
            self._stage.end_attempt(handle.id)
            if _comes_to_rest(handle, 0.2):
                return
