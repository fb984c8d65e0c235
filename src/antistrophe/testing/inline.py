"""Runs a saga in the calling process: the same machine and the same encoding, but no other process, and no waiting."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from antistrophe.actors.saga.run_step import run_step
from antistrophe.actors.step.call import answer_of, answer_of_exception, exit_code_of
from antistrophe.actors.step.step_context import context_of
from antistrophe.definition.events import decode_event
from antistrophe.definition.saga_definition import DEFAULT_MAX_PAYLOAD_BYTES, SagaDefinition
from antistrophe.definition.spec import LeaseRequest
from antistrophe.definition.step import build_step, call_step, source_of
from antistrophe.errors import AttemptCancelled, SagaError
from antistrophe.journal import SqliteJournal
from antistrophe.linux.process import identity_of
from antistrophe.records import SagaStatus, TimelineEntry
from antistrophe.saga.effects import EndProcess, RequestLease, RunAttempt, effects_of, wake_at
from antistrophe.saga.entries import AttemptStarted, Entry, Lease, SagaAccepted
from antistrophe.saga.inputs import Answer, Answered, Fenced, Input, ProcessGranted, Resumed, TimePassed
from antistrophe.saga.machine import transition
from antistrophe.saga.outcome import error_of, outcome_of
from antistrophe.saga.state import Saga, evolve
from antistrophe.saga.view import metadata_of
from antistrophe.storage.opening import open_in_memory

_CAUGHT = (Exception, AttemptCancelled, asyncio.CancelledError)
"""What a call may raise. Anything else (KeyboardInterrupt, what a test framework raises) is not the saga's to have."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a saga ended: its ``events`` in step order (none unless it completed), its ``status`` (COMPLETED, COMPENSATED
    or FAILED), the ``error`` that a caller of ``execute`` would get (None if it completed), and every entry of its
    journal as ``timeline``."""

    events: list[object]
    status: SagaStatus
    error: SagaError | None
    timeline: list[TimelineEntry]


def run_inline(saga: SagaDefinition) -> Outcome:
    """Run a saga here and now, for unit tests: the user's own ``execute``, ``compensate`` and ``verify``, one call
    after another, in this thread. Everything is decided, encoded and journaled (in memory) as in an actor system; a
    wait before a retry takes no time, but counts in the timeline and against ``deadline_s``.

    Where this differs from a system: a call that hangs can't be ended, and hangs the test. One that comes back later
    than its limit is booked as timed out, as it would have been killed by then. ``limits`` and ``isolation`` have no
    effect, ``os._exit`` and a crash end the test; ``sys.exit`` counts as the death of the process. Raises
    PayloadTooLargeError for an input over the limit, and UnreadableDataError for one that does not come back from its
    packed form.
    """
    return _Inline(saga).run()


class _Inline:
    """One run. Its clock shows the time of day, and moves on at once where there is something to wait for."""

    def __init__(self, definition: SagaDefinition) -> None:
        self._spec = definition.spec()
        self._sources = [source_of(step) for step in definition.steps]
        self._journal = SqliteJournal(open_in_memory())
        self._leases = _leases()
        self._offset_s = time.time() - time.monotonic()
        self._saga: Saga | None = None

    def run(self) -> Outcome:
        now = self._now()
        accepted = SagaAccepted(now, "inline", self._spec)
        first = evolve(None, accepted)
        entries, saga = transition(first, Resumed(), now)
        said = self._follow(None, saga, (accepted, *entries))
        while said is not None:
            before = saga
            entries, saga = transition(before, said, self._now())
            said = self._follow(before, saga, entries)
        return self._outcome(saga)

    def _follow(self, before: Saga | None, after: Saga, entries: tuple[Entry, ...]) -> Input | None:
        """Journal what is true, and do what follows: what the saga is told next, or None at its end."""
        if entries:
            expected_seq = 0 if before is None else before.seq
            self._journal.append(after.id, expected_seq=expected_seq, entries=entries, row=metadata_of(after))
        for effect in effects_of(before, after):
            match effect:
                case RunAttempt(started):
                    return self._call(after, started)
                case EndProcess(started):
                    return Fenced(started.step, started.action, started.attempt, began=True)
                case RequestLease():
                    return self._wait(after, effect)
        return None

    # --- time --------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return time.monotonic() + self._offset_s

    def _skip_to(self, moment: float) -> None:
        self._offset_s += max(0.0, moment - self._now())

    def _wait(self, saga: Saga, asked: RequestLease) -> Input:
        deadline, not_before = wake_at(saga), asked.not_before
        if not_before is not None and deadline is not None and deadline < not_before:
            self._skip_to(deadline)
            return TimePassed()
        self._skip_to(not_before or 0.0)
        return self._grant(asked.request)

    def _grant(self, asked: LeaseRequest) -> ProcessGranted:
        """A process at once: nobody else runs anything here."""
        step_class = None if asked.throttle is None else asked.throttle.step_class
        return ProcessGranted(replace(next(self._leases), shared=asked.shared), step_class=step_class)

    # --- calls -------------------------------------------------------------------------------------------------

    def _call(self, saga: Saga, started: AttemptStarted) -> Input:
        """Make the call of an attempt."""
        message = run_step(saga, started)
        step = build_step(self._sources[started.step], message.input)
        began_at = self._now()
        context = context_of(message, began_at + message.limit_s)
        try:
            result = _awaited(lambda: call_step(step, message.action.value, context))
        except SystemExit as ended:
            code = exit_code_of(ended)
            return Fenced(started.step, started.action, started.attempt, began=True, exit_code=code)
        except _CAUGHT as error:
            answer: Answer = answer_of_exception(error)
        else:
            answer = answer_of(message.action, result, DEFAULT_MAX_PAYLOAD_BYTES)
        if self._now() > began_at + message.limit_s:
            return TimePassed(began_at)
        return Answered(started.step, started.action, started.attempt, answer)

    def _outcome(self, saga: Saga) -> Outcome:
        outcome = outcome_of(saga)
        assert outcome is not None, "a saga that nothing follows for has ended, or is parked"
        events = [decode_event(event.type, event.type_version, event.data) for event in outcome.events]
        return Outcome(events, outcome.status, error_of(outcome), self._journal.timeline(saga.id))


def _leases() -> Iterator[Lease]:
    """This process under ever new names: each attempt is lent one that no other has used."""
    identity = identity_of(os.getpid())
    assert identity is not None, "this process lives"
    number = 0
    while True:
        number += 1
        yield Lease(f"inline-{number}", identity.pid, identity.start_ticks, identity.boot_id)


def _awaited(make: Callable[[], Any]) -> Any:
    """What ``make`` returns, or what the coroutine that it returns does."""
    result = make()
    if not asyncio.iscoroutine(result):
        return result
    if not _loop_runs_here():
        return asyncio.run(result)
    with ThreadPoolExecutor(1, "antistrophe-inline") as pool:
        return pool.submit(asyncio.run, result).result()


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
