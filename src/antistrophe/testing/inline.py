"""Runs a saga in the calling process: the actor, the machine and the encoding that ship, but no other process, and no
waiting."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from antistrophe.actors.saga.saga import SagaActor
from antistrophe.actors.step.attempt_file import AttemptId, AttemptRecord
from antistrophe.actors.step.call import answer_of, fresh_context
from antistrophe.actors.step.call_loop import CallLoop
from antistrophe.actors.step.raised import answer_of_exception, exit_of
from antistrophe.actors.step.step_context import context_of
from antistrophe.actors.step.stored_outputs import StoredOutputs
from antistrophe.actors.step.worker_resources import WorkerResources
from antistrophe.definition.calling import build_step, call_step, source_of
from antistrophe.definition.events import decode_event
from antistrophe.definition.saga_definition import DEFAULT_MAX_PAYLOAD_BYTES, SagaDefinition, checked_saga
from antistrophe.definition.worker_start import worker_starts_reached
from antistrophe.errors import AttemptCancelled, SagaError
from antistrophe.journal import JournalRecord
from antistrophe.journal.last_entry import NEW_SAGA, Basis
from antistrophe.journal.timeline import timeline_entry
from antistrophe.linux.process import boot_id, identity_of
from antistrophe.messages import (
    BeginSaga,
    EndProcess,
    ProcessDead,
    ProcessGrant,
    RequestLease,
    ResumeSaga,
    RunStep,
    SagaEnded,
    SagaSleeps,
    StepAnswer,
)
from antistrophe.records import LogRecord, SagaStatus, TimelineEntry
from antistrophe.saga.entries import Entry, Lease
from antistrophe.saga.inputs import Answer, Exited
from antistrophe.saga.outcome import error_of, outcome_of
from antistrophe.saga.results import result_in
from antistrophe.saga.state import Saga, replay
from antistrophe.settings import Settings
from antistrophe.testing.inline_logs import InlineLogs

_CAUGHT = (Exception, AttemptCancelled, asyncio.CancelledError, SystemExit)
"""What a call may raise. Anything else (KeyboardInterrupt, what a test framework raises) is not the saga's to have."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a saga ended: its ``events`` in step order (none unless it completed), its ``status`` (COMPLETED, COMPENSATED
    or FAILED), the ``error`` that a caller of ``execute`` would get (None if it completed), every entry of its
    journal as ``timeline``, and what its steps have printed and logged as ``logs``: from the levels of this process
    on."""

    events: list[object]
    status: SagaStatus
    error: SagaError | None
    timeline: list[TimelineEntry]
    logs: list[LogRecord] = field(default_factory=list)


def run_inline(saga: SagaDefinition) -> Outcome:
    """Run a saga here and now, for unit tests: the user's own ``execute``, ``compensate`` and ``verify``, one call
    after another, in this thread. Everything is decided, encoded and journaled (in memory) as in an actor system; a
    wait before a retry takes no time, but counts in the timeline and against ``deadline_s``.

    Where this differs from a system: a call that hangs can't be ended, and hangs the test. One that comes back later
    than its limit is booked as timed out, as it would have been killed by then. ``limits`` and ``isolation`` have no
    effect, ``os._exit`` and a crash end the test; ``sys.exit`` counts as the death of the process. What is under
    ``@on_worker_start`` in the modules of the steps, and in those whose names stand in them, is made for this run and
    closed after it.

    Raises PayloadTooLargeError for an input over the limit, UnreadableDataError for one that does not come back from
    its packed form, and CodeNotLoadableError where a function under ``@on_worker_start`` fails.
    """
    return _Inline(saga).run()


class _Inline:
    """One run: the saga actor that ships, with this thread as its host, supervisor and step process.

    Its clock shows the time of day, and moves on at once where there is something to wait for.
    """

    supervisor = "supervisor"
    process = "process"
    draining = False

    def __init__(self, definition: SagaDefinition) -> None:
        self.settings = Settings()
        self.position = 0
        self._spec = checked_saga(definition).spec()
        self._sources = [source_of(step) for step in definition.steps]
        self._entries: list[Entry] = []
        self._stored_outputs = StoredOutputs(lambda: _Results(self._entries))
        self._leases = _leases()
        self._offset_s = time.time() - time.monotonic()
        self._actor = SagaActor(self, self, self, self._spec.id)
        self._alarm: float | None = None
        self._todo: deque[Callable[[], None]] = deque()
        self._record: tuple[str, AttemptRecord] | None = None
        self._ended = False
        self._resources = WorkerResources()
        self._coroutines = _Coroutines()
        self._logs = InlineLogs()

    def run(self) -> Outcome:
        run_apart = self._coroutines.run_apart
        try:
            starts = worker_starts_reached(source.__module__ for source in self._sources)
            self._resources.start(run_apart, starts)
            return self._run()
        finally:
            self._resources.close(run_apart)
            self._coroutines.close()

    def _run(self) -> Outcome:
        self._tell(BeginSaga("inline", self._spec))
        while not self._ended:
            if self._todo:
                self._todo.popleft()()
            else:
                assert self._alarm is not None, "a saga that has not ended waits for something"
                self._skip_to(self._alarm)
                self._alarm = None
                self._actor.wake()
        saga = replay(self._entries)
        outcome = outcome_of(saga)
        assert outcome is not None, "an actor that leaves has ended or parked its saga"
        encoded = outcome.events
        if outcome.events_stored:
            encoded = tuple(event for result in map(result_in, self._entries) if result for event in result.events)
        events = [decode_event(event.type, event.type_version, event.data) for event in encoded]
        records = [JournalRecord(seq, saga.id, seq, entry) for seq, entry in enumerate(self._entries, start=1)]
        timeline = [timeline_entry(record) for record in records]
        return Outcome(events, outcome.status, error_of(outcome), timeline, self._logs.records)

    def _tell(self, message: Any) -> None:
        self._todo.append(lambda: self._actor.receive(message))

    # --- the host of the actor: its clock, mailbox and alarm ----------------------------------------------------

    def now(self) -> float:
        return time.monotonic() + self._offset_s

    def wall(self) -> float:
        return self.now()

    def _skip_to(self, moment: float) -> None:
        self._offset_s += max(0.0, moment - self.now())

    def send(self, to: Any, message: Any) -> None:
        if to == self.process:
            self._todo.append(lambda: fresh_context().run(self._call, message))
        elif to == self.supervisor:
            self._supervise(message)

    def send_made(self, to: Any, answer: Callable[[int], Any]) -> None:
        self.send(to, answer(self.position))

    def once_durable(self, do: Callable[[], object]) -> None:
        do()

    def wake_saga_at(self, moment: float, saga_id: str) -> None:
        self._alarm = moment if self._alarm is None else min(self._alarm, moment)

    def leave(self, saga_id: str) -> None:
        self._alarm = None

    # --- the journal --------------------------------------------------------------------------------------------

    def commit(self, before: Saga | None, after: Saga, entries: Sequence[Entry], basis: Basis) -> Basis:
        self._entries += entries
        self.position = len(self._entries)
        return basis

    def take(self, saga_id: str) -> tuple[Saga, Basis]:
        return replay(self._entries), NEW_SAGA

    def confirm(self) -> None:
        pass

    # --- what the process leaves behind of an attempt -------------------------------------------------------------

    def boot_id(self) -> str:
        return boot_id()

    def read(self, lease: Lease, attempt_id: AttemptId) -> AttemptRecord:
        if self._record is not None and self._record[0] == lease.name:
            return self._record[1]
        return AttemptRecord(never_began=True)

    def stack(self, lease_name: str) -> str | None:
        return None

    def why_no_stack(self, dead: ProcessDead) -> str | None:
        return None

    def remove(self, lease_name: str) -> None:
        self._record = None

    # --- the supervisor -----------------------------------------------------------------------------------------

    def _supervise(self, message: Any) -> None:
        match message:
            case RequestLease():
                self._grant(message)
            case EndProcess():
                self._tell(ProcessDead(message.saga_id, message.lease, None, None, False))
            case SagaSleeps():
                self._todo.append(lambda: self._resume(message))
            case SagaEnded():
                self._ended = True

    def _grant(self, asked: RequestLease) -> None:
        """Grant a lease at once: nobody else runs anything here."""
        throttle = asked.request.throttle
        lease = replace(next(self._leases), shared=asked.request.shared)
        step_class = None if throttle is None else throttle.step_class
        self._tell(ProcessGrant(asked.saga_id, lease, self.process, step_class, fresh=asked.request.fresh))

    def _resume(self, asleep: SagaSleeps) -> None:
        assert asleep.until is not None, "only a saga whose code can't be loaded sleeps without a time"
        self._skip_to(asleep.until)
        self._actor = SagaActor(self, self, self, asleep.saga_id)
        self._actor.receive(ResumeSaga(asleep.saga_id))

    # --- the step process ---------------------------------------------------------------------------------------

    def _call(self, message: RunStep) -> None:
        """Make the call of an attempt. One that comes back too late is not answered: the actor wakes, and ends it."""
        source = self._sources[message.step]
        step = build_step(source, message.input, message.computed)
        began_at = self.now()
        self._record = (message.lease_name, AttemptRecord(began_at))
        worker = self._resources.seen_from(source)
        context = context_of(message, time.time() + message.limit_s, worker, self._stored_outputs)
        try:
            with self._logs.heard(message):
                result = self._coroutines.result_of(lambda: call_step(step, message.action.value, context))
        except SystemExit as ended:
            end = exit_of(ended)
            if isinstance(end, Exited):
                self._record = (message.lease_name, AttemptRecord(began_at, end))
            self._die(end.exit_code if isinstance(end, Exited) else end)
            return
        except BaseException as error:
            if not _is_the_sagas(error):
                raise
            answer: Answer = answer_of_exception(error)
        else:
            answer = answer_of(message.action, result, DEFAULT_MAX_PAYLOAD_BYTES)
        if self.now() <= began_at + message.limit_s:
            self._tell(
                StepAnswer(message.saga_id, message.step, message.action, message.attempt, message.lease_name, answer)
            )

    def _die(self, exit_code: int) -> None:
        current = replay(self._entries).current
        assert current is not None, "a call belongs to the current attempt"
        self._tell(ProcessDead(self._spec.id, current.lease, exit_code, None, False))


class _Results:
    """The journal of the run, for calls that ask for outputs."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = entries

    def entry(self, _saga_id: str, seq: int) -> Entry | None:
        return self._entries[seq - 1] if seq <= len(self._entries) else None

    def results(self, saga_id: str, after_seq: int = 0) -> Iterator[JournalRecord]:
        for seq, entry in enumerate(self._entries[after_seq:], start=after_seq + 1):
            yield JournalRecord(seq, saga_id, seq, entry)

    def close(self) -> None: ...


def _leases() -> Iterator[Lease]:
    """Leases of this process, each under a new name, so that each attempt gets a name that no other attempt has had."""
    identity = identity_of(os.getpid())
    assert identity is not None, "this process lives"
    number = 0
    while True:
        number += 1
        yield Lease(f"inline-{number}", identity.pid, identity.start_ticks, identity.boot_id)


def _is_the_sagas(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.split(lambda each: isinstance(each, _CAUGHT))[1] is None
    return isinstance(error, _CAUGHT)


class _Coroutines:
    """Runs the coroutines of one run on one event loop: in this thread, or beside it where a loop runs in this one."""

    def __init__(self) -> None:
        self._loop = CallLoop()
        self._beside = ThreadPoolExecutor(1, "antistrophe-inline") if _loop_runs_here() else None

    def result_of(self, make: Callable[[], Any]) -> Any:
        """What ``make`` returns, or what the coroutine that it returns does."""
        result = make()
        return self._do(self._loop.run, result) if inspect.iscoroutine(result) else result

    def run_apart(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine that is no part of a call."""
        return self._do(self._loop.run_apart, coroutine)

    def close(self) -> None:
        self._do(self._loop.close)
        if self._beside is not None:
            self._beside.shutdown()

    def _do(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self._beside is None:
            return work(*arguments)
        return self._beside.submit(contextvars.copy_context().run, work, *arguments).result()


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
