"""Checks sagas by what their steps wrote and nothing else: order, overlap, repetition, what was done and not undone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field

from antistrophe import SagaDefinition, SagaStatus
from tests.actors.effects import Effect
from tests.actors.steps_act import Act

_AT_REST = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED)
_CLEAN = ("raise", "fatal", "retryable")


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt, as its own lines tell it."""

    step: str
    back: bool
    attempt: int
    began: float
    last: float
    ended: bool
    pid: int


@dataclass(slots=True)
class Tally:
    """What was seen of all sagas: for the last line of a chaos test."""

    sagas: int = 0
    begun: int = 0
    completed: int = 0
    compensated: int = 0
    parked: int = 0
    undone_again: int = 0
    doubts: int = 0
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.sagas} sagas: {self.completed} completed, {self.compensated} compensated, {self.parked} parked; "
            f"{self.begun} steps begun, {self.doubts} compensated that had begun and not ended, "
            f"{self.undone_again} undone again by a retry"
        )


def check(saga: SagaDefinition, status: SagaStatus, effects: Iterable[Effect], tally: Tally) -> None:
    """Add this saga to the tally, with every fault that is found."""
    runs = runs_of(effects)
    faults = _faults(saga, status, runs, tally)
    tally.sagas += 1
    tally.completed += status is SagaStatus.COMPLETED
    tally.compensated += status is SagaStatus.COMPENSATED
    tally.parked += status is SagaStatus.FAILED
    tally.faults += [f"{saga.id} ({status.value}): {fault}; {_told(runs)}" for fault in faults]


def runs_of(effects: Iterable[Effect]) -> list[Run]:
    """The attempts of one saga, in the order in which they began."""
    told: list[list[Effect]] = []
    latest: dict[tuple[str, bool, int], list[Effect]] = {}
    for each in effects:
        attempt = (each.step, each.back, each.attempt)
        if each.what == "verify":
            continue
        if each.what in ("begin", "undo") or attempt not in latest:  # an attempt that is run again is another run
            latest[attempt] = []
            told.append(latest[attempt])
        latest[attempt].append(each)
    runs = [
        Run(
            lines[0].step,
            lines[0].back,
            lines[0].attempt,
            min(each.at for each in lines),
            max(each.at for each in lines),
            any(each.what in ("done", "undone") for each in lines),
            lines[0].pid,
        )
        for lines in told
    ]
    return sorted(runs, key=lambda run: run.began)


def _faults(saga: SagaDefinition, status: SagaStatus, runs: list[Run], tally: Tally) -> list[str]:
    faults = [] if status in _AT_REST else ["it has come to rest in no final state"]
    faults += [f"{each} overlaps {after}" for each, after in itertools.pairwise(runs) if each.last > after.began]
    backward = False
    for run in runs:
        if backward and not run.back:
            faults.append(f"{run.step} went forward again")
        backward = backward or run.back
    faults += _order_faults(saga, runs)
    if status is SagaStatus.FAILED and not any(run.back and not run.ended for run in runs):
        faults.append("it is parked, and no undo has failed")
    for step in saga.steps:
        assert isinstance(step, Act)
        faults += _step_faults(step, status, runs, tally)
    return faults


def _order_faults(saga: SagaDefinition, runs: list[Run]) -> list[str]:
    names = [step.name for step in saga.steps if isinstance(step, Act)]
    first_undos = list(dict.fromkeys(run.step for run in runs if run.back))
    wanted = [name for name in reversed(names) if name in first_undos]
    forward = list(dict.fromkeys(run.step for run in runs if not run.back))
    faults = [] if first_undos == wanted else [f"undone in the order {first_undos}"]
    return faults if forward == names[: len(forward)] else [*faults, f"done in the order {forward}"]


def _step_faults(step: Act, status: SagaStatus, runs: list[Run], tally: Tally) -> list[str]:
    forward = [run for run in runs if run.step == step.name and not run.back]
    undos = [run for run in runs if run.step == step.name and run.back]
    done = any(run.ended for run in forward)
    undone = sum(run.ended for run in undos)
    faults = []
    if len({run.attempt for run in forward}) != len(forward) or len({run.attempt for run in undos}) != len(undos):
        faults.append(f"{step.name} has one attempt twice")
    if len(forward) > 1 and not step.idempotent and (step.retry is None or step.retry.max_attempts == 1):
        faults.append(f"{step.name} was run {len(forward)} times, with one attempt allowed")
    if status is SagaStatus.COMPLETED and (not done or undos):
        faults.append(f"{step.name} is {'undone' if undos else 'not done'} in a completed saga")
    clean = step.forward[0].partition(":")[0] in _CLEAN
    if status is SagaStatus.COMPENSATED and forward and not clean and not undone:
        faults.append(f"{step.name} has begun and is not undone")
    if undone > 1:
        tally.undone_again += 1
    tally.begun += bool(forward)
    tally.doubts += bool(undos and forward and not done)
    return faults


def _told(runs: list[Run]) -> str:
    return ", ".join(
        f"{'undo' if run.back else 'do'} {run.step}#{run.attempt}{'' if run.ended else ' (no end)'} "
        f"[{run.began:.3f}-{run.last:.3f}] pid {run.pid}"
        for run in runs
    )
