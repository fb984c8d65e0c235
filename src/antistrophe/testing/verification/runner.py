"""Makes the runs in an actor system: starts each saga, opens its gates, kills what its point says, and ends it."""

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
from antistrophe.journal import JournalPlace, open_journal
from antistrophe.linux.process import ProcessIdentity, identity_of, send_signal
from antistrophe.saga.outcome import describe
from antistrophe.saga.state import Saga, replay
from antistrophe.settings import Settings
from antistrophe.testing.verification.injections import (
    COMPENSATE,
    GATE,
    HELD,
    INJECTED,
    TURNED_BACK,
    Injection,
    When,
    gate_of,
)
from antistrophe.testing.verification.points import SUPERVISOR, Point
from antistrophe.testing.verification.run import NO_CHANGE, Change, Run, RunDefinitions, is_plain
from antistrophe.testing.verification.run_log import ABANDONED, INJECTIONS_OFF, RunLog
from antistrophe.testing.verification.snapshots import Snapshots

SETTINGS = Settings(
    drain_s=0.1,
    max_restarts=1_000,  # each run that kills the supervisor costs one restart
    restart_window_s=0.1,
    synchronous="NORMAL",  # a verification never loses power
)

END_S = 30.0
"""How long the runner tries to bring a stuck saga to its end."""

LOOK_S = 0.002
"""How often the runner looks into the log of a run that may need an answer."""

MakeSaga = Callable[[str], SagaDefinition]


class Runner:
    """Makes runs while it is open, in an actor system of ``home``; ``files`` is the folder for the logs of the runs."""

    def __init__(
        self,
        home: Path,
        files: Path,
        make: MakeSaga,
        definitions: RunDefinitions,
        snapshots: Snapshots,
        reset: Callable[[], None] | None,
    ) -> None:
        self._home = home
        self._files = files
        self._make = make
        self._definitions = definitions
        self.snapshots = snapshots
        self._reset = reset
        self._token = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The orchestrator is closed before the pool: closing it ends the waits of the pool's threads.
            self._pool = stack.enter_context(ThreadPoolExecutor(thread_name_prefix="antistrophe-verify"))
            self.orchestrator = stack.enter_context(SagaOrchestrator(self._home, settings=SETTINGS, journal=""))
            self._journal = open_journal(JournalPlace.of_home(self._home), read_only=True)
            stack.callback(self._journal.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def run(self, point: Point, change: Change = NO_CHANGE) -> Run:
        """Make one run, to its end. Errors of ``world``, of ``reset`` and of the saga's function are passed on."""
        began = time.monotonic()
        number = next(self._numbers)
        saga_id = f"verify-{self._token}-{number}"
        log = RunLog(self._files / str(number))
        Path(log.folder).mkdir()
        if self._reset is not None:
            self._reset()
        run = Run(point, saga_id, before=self.snapshots.take(saga_id))
        gated = self.snapshots.given and is_plain(point) and change == NO_CHANGE
        source = self._source(saga_id)
        definition = self._definitions.definition(source, saga_id, log.folder, point, change, gated=gated)
        _RunInProgress(self, run, log, gated=gated).go(definition)
        run.after = self.snapshots.take(saga_id)
        run.saga = self.load(saga_id)
        run.notes = log.notes()
        run.seconds = time.monotonic() - began
        return run

    def _source(self, saga_id: str) -> SagaDefinition:
        source = self._make(saga_id)
        names = [spec.name for spec in source.step_specs]
        if names != [spec.name for spec in self._definitions.specs]:
            raise InvalidDefinitionError(
                f"the saga that was made for {saga_id} has other steps than the first saga had: {names}"
            )
        return source

    # --- for a run in progress ---------------------------------------------------------------------------------

    def rest_of(self, handle: SagaHandle) -> Future[bool]:
        """Becomes True when the saga comes to rest, False when the run has taken ``run_s``."""
        return self._pool.submit(_comes_to_rest, handle, self._definitions.bounds.run_s)

    def load(self, saga_id: str) -> Saga:
        """The saga as its journal has it now."""
        return replay(self._journal.load(saga_id))

    def supervisor(self) -> ProcessIdentity | None:
        return self._identity(lambda role, _: role == "supervisor")

    def end_attempt(self, saga_id: str) -> None:
        """Kill the process that runs a call of that saga, if there is one."""
        process = self._identity(lambda role, of: role == "step" and of == saga_id)
        if process is not None:
            send_signal(process, signal.SIGKILL)

    def _identity(self, wanted: Callable[[str, str | None], bool]) -> ProcessIdentity | None:
        found = (each.pid for each in self.orchestrator.processes() if wanted(each.role, each.saga_id))
        pid = next(found, None)
        return None if pid is None else identity_of(pid)

    def restart_system(self) -> None:
        """Kill the supervisor and return when the system answers again; it has no step process then."""
        process = self.supervisor()
        if process is not None:
            send_signal(process, signal.SIGKILL)
        self.orchestrator.running_count()

    def parks_at_once(self, step: int) -> bool:
        """True if one failure of that step's undo parks the saga."""
        return self._definitions.specs[step].compensation_retry.max_attempts == 1


def _comes_to_rest(handle: SagaHandle, within_s: float) -> bool:
    try:
        handle.result(within_s)
    except SagaError:
        return True
    except TimeoutError:
        return False
    return True


class _RunInProgress:
    """One run in progress."""

    def __init__(self, runner: Runner, run: Run, log: RunLog, *, gated: bool) -> None:
        self._runner = runner
        self._run = run
        self._log = log
        self._gated = gated
        self._kills = run.point.area == SUPERVISOR
        self._killed = False
        self._opened = 0

    def go(self, definition: SagaDefinition) -> None:
        """Run the saga until it comes to rest, and note whether the injection happened."""
        run, runner, point = self._run, self._runner, self._run.point
        outside_calls = self._kills and point.what is None
        at_start, at_end = (outside_calls and point.when is when for when in (When.BEFORE, When.AFTER))
        if at_start:  # without a free process, the acceptance of a saga is an append of its own
            runner.restart_system()
        supervisor = runner.supervisor() if self._kills else None
        handle = runner.orchestrator.start(definition)
        if at_start:
            self._kill_supervisor(supervisor)
        run.came_to_rest = self._wait_for_rest(handle, supervisor)
        if at_end:
            self._kill_supervisor(supervisor)
            runner.orchestrator.get_saga(run.saga_id)  # returns when the system is back
        run.missed = self._missed()
        if not run.came_to_rest:
            self._abandon(handle)
        elif self._parked_by_injection():
            self._log.raise_flag(INJECTIONS_OFF)
            runner.orchestrator.retry_compensation(run.saga_id)
            run.came_to_rest = self._wait_for_rest(handle, None)

    def _wait_for_rest(self, handle: SagaHandle, supervisor: ProcessIdentity | None) -> bool:
        rest = self._runner.rest_of(handle)
        look_s = LOOK_S if self._gated or supervisor is not None else None
        while not rest.done():
            self._open_gates()
            if supervisor is not None and not self._killed and self._log.notes(HELD):
                self._kill_supervisor(supervisor)
            wait({rest}, look_s)
        return rest.result()

    def _open_gates(self) -> None:
        for note in self._log.notes(GATE)[self._opened :]:
            role, step = note["role"], note["step"]
            self._run.worlds[role, step] = self._runner.snapshots.take(self._run.saga_id)
            self._log.raise_flag(gate_of(role, step))
            self._opened += 1

    def _kill_supervisor(self, supervisor: ProcessIdentity | None) -> None:
        if supervisor is not None:
            self._run.records = self._runner.load(self._run.saga_id).seq
            self._killed = send_signal(supervisor, signal.SIGKILL)

    def _missed(self) -> str | None:
        point = self._run.point
        if self._kills:
            happened = self._killed
        elif point.what is None:
            happened = bool(self._log.notes(TURNED_BACK))
        else:
            happened = bool(self._log.notes(INJECTED))
        if happened:
            return None
        saga = self._runner.load(self._run.saga_id)
        if saga.cause is None or saga.cause.failure is None:
            return "the call was not made"
        return f"{saga.spec.steps[saga.cause.step].name} failed before: {describe(saga.cause.failure)}"

    def _parked_by_injection(self) -> bool:
        """True if the injected failure by itself parks the saga. An operator would then have the undo retried."""
        point, saga = self._run.point, self._runner.load(self._run.saga_id)
        if not saga.parked or point.area != COMPENSATE or saga.steps[point.step].given_up is None:
            return False
        return point.always or (point.what is not Injection.GARBAGE and self._runner.parks_at_once(point.step))

    def _abandon(self, handle: SagaHandle) -> None:
        """Bring a stuck saga to its end: its further calls do nothing. A saga that waits for a time is left waiting."""
        self._log.raise_flag(ABANDONED)
        until = time.monotonic() + END_S
        while time.monotonic() < until and self._runner.load(handle.id).current is not None:
            self._runner.end_attempt(handle.id)
            if _comes_to_rest(handle, 0.2):
                return
