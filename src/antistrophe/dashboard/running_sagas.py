"""The sagas that run, as the pages of processes and limits need them: what each works on, and what limits it has.

Those that were accepted first are looked at, for these are at work. A saga is read again only where it has gone on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from antistrophe.dashboard.look import Look
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import JournalError
from antistrophe.journal.present_numbers import looked_at
from antistrophe.records import SagaMetadata, SagaStatus, StepStatus
from antistrophe.saga.entries import Action
from antistrophe.saga.wait_reasons import WaitReason, reason_in
from antistrophe.scheduling.permits import key_of_class, key_of_name

READING_S = 0.25
"""How long one page reads sagas that have gone on, at most; the next one goes on."""

_WORKING = {StepStatus.RUNNING: "execute", StepStatus.COMPENSATING: "compensate"}


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that a definition has. ``class_ref``: the step class as the journal names it; empty for a saga's name."""

    key: str
    most: int | None
    per_second: float | None = None
    class_ref: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """An attempt that runs: its step, what it calls, its process, and the name of the host where that is; None for a
    journal in a file."""

    step: str
    action: str
    pid: int | None
    host: str | None


@dataclass(frozen=True, slots=True)
class RunningSaga:
    """One saga that runs. ``work``: its attempt, where one runs. ``uses``: the limits under which it is at work;
    ``waits_for``: those that may keep it from its next attempt, for which it waits ``since`` then."""

    id: str
    work: Work | None
    uses: tuple[Bound, ...]
    waits_for: tuple[Bound, ...]
    since: datetime


class RunningSagas:
    """The sagas that run in one journal. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, tuple[int, RunningSaga]] = {}
        self._bounds: dict[str, dict[str, Bound]] = {}
        self._place: object = None

    def read(self, look: Look, place: object) -> tuple[list[RunningSaga], int]:
        """Those that run now, and of how many others nothing is known: more run than are looked at, or they could not
        be read in time. ``place``: which journal it is."""
        until = time.monotonic() + READING_S
        rows = [row for status in SagaStatus if status.running for row in looked_at(look.database, status.value)]
        with self._lock:
            before = self._known if place == self._place else {}
            bounds = self._bounds if place == self._place else {}
        found: dict[str, tuple[int, RunningSaga]] = {}
        for saga_id, _, _, seq, *_ in rows:
            known = before.get(saga_id)
            if (known is None or known[0] != seq) and time.monotonic() < until:
                known = self._read(look, saga_id, seq, bounds)
            if known is not None:
                found[saga_id] = known
        with self._lock:
            self._known, self._place = found, place
            self._bounds = {saga_id: its for saga_id, its in bounds.items() if saga_id in found}
        return [saga for _, saga in found.values()], len(rows) - len(found)

    def _read(
        self, look: Look, saga_id: str, seq: int, bounds: dict[str, dict[str, Bound]]
    ) -> tuple[int, RunningSaga] | None:
        try:
            saga = look.journal.metadata(saga_id)
            if saga is None or not saga.status.running:
                return None
            if saga_id not in bounds:
                accepted = look.journal.accepted(saga_id)
                bounds[saga_id] = {} if accepted is None else dict(_bounds(accepted.spec))
        except JournalError:  # one that can't be read hides no other
            return None
        return seq, _running(saga, bounds[saga_id])


def _bounds(spec: SagaSpec) -> Iterator[tuple[str, Bound]]:
    """The limits of a definition: that of its name under the empty text, those of step classes under the step's."""
    if spec.max_concurrent is not None:
        yield "", Bound(key_of_name(spec.name), spec.max_concurrent)
    for index, step in enumerate(spec.steps):
        throttle = spec.throttle(index)
        if throttle is not None and (throttle.max_concurrent, throttle.max_per_second) != (None, None):
            key = key_of_class(throttle.step_class)
            yield step.name, Bound(key, throttle.max_concurrent, throttle.max_per_second, step.class_ref)


def _running(saga: SagaMetadata, bounds: dict[str, Bound]) -> RunningSaga:
    working = next((step for step in saga.steps if step.status in _WORKING), None)
    work = None if working is None else Work(working.name, _WORKING[working.status], working.pid, working.host)
    turn = saga.waiting is not None and reason_in(saga.waiting) is WaitReason.TURN
    uses = [bounds[""]] if "" in bounds and not turn else []
    uses += [bounds[working.name]] if working is not None and working.name in bounds else []
    return RunningSaga(saga.id, work, tuple(uses), () if working else tuple(_waits_for(saga, bounds)), saga.updated_at)


def _waits_for(saga: SagaMetadata, bounds: dict[str, Bound]) -> Iterator[Bound]:
    """The limits that may keep a saga without an attempt from its next one. Its journal says why it waited at first:
    whoever has had its turn may still wait, for its first step process."""
    reason = reason_in(saga.waiting or "")
    if reason is WaitReason.TURN and "" in bounds:
        yield bounds[""]
    if reason in (WaitReason.TURN, WaitReason.LIMITS) and (name := _next_step(saga, bounds)) is not None:
        yield bounds[name]


def _next_step(saga: SagaMetadata, bounds: dict[str, Bound]) -> str | None:
    """The name of the step of the next attempt, if it has a limit."""
    for name in bounds:
        beginnings = tuple(f"a step process to {action.value} {name} in" for action in Action)
        if name and (saga.waiting or "").startswith(beginnings):
            return name
    ahead = next((step.name for step in saga.steps if step.status is StepStatus.PENDING), None)
    return ahead if saga.status is SagaStatus.EXECUTING and ahead in bounds else None
