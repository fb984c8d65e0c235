"""One saga in sentences: what happened, why it turned back, what is owed, and what can be done now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.table import Table

from antistrophe.cli import screen
from antistrophe.cli.invocation import places
from antistrophe.cli.sentences import Told, running, tell
from antistrophe.records import SagaStatus
from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import Entry, TurnReason
from antistrophe.saga.outcome import describe, status_of
from antistrophe.saga.state import Saga, evolve, owed
from antistrophe.saga.view import metadata_of


@dataclass(frozen=True, slots=True)
class Explanation:
    """``story`` are moments with a sentence each; ``orders`` the words that can follow `antistrophe` now."""

    id: str
    name: str
    status: SagaStatus
    standing: str
    story: tuple[Told, ...]
    turned_back: str | None
    owed: tuple[str, ...]
    advice: tuple[str, ...]
    orders: tuple[str, ...]


def explain(entries: Sequence[Entry], *, system_runs: bool) -> Explanation:
    """The explanation of a saga whose journal this is. Raises ValueError on a broken one."""
    saga: Saga | None = None
    story: list[Told] = []
    for entry in entries:
        before, saga = saga, evolve(saga, entry)
        story.extend(tell(before, entry, saga))
    if saga is None:
        raise ValueError("a saga without entries")
    story.extend(running(saga))
    advice, orders = _advice(saga, system_runs)
    return Explanation(
        id=saga.id,
        name=saga.spec.name,
        status=status_of(saga),
        standing=_standing(saga),
        story=tuple(story),
        turned_back=_turned_back(saga),
        owed=tuple(_owed(saga)),
        advice=tuple(advice),
        orders=tuple(orders),
    )


def told_table(story: Iterable[Told]) -> Table:
    """Sentences with their times, one a line."""
    made = screen.grid(2)
    for told in story:
        made.add_row(screen.words(screen.local_time(told.at, date=False), style="dim"), screen.words(told.text))
    return made


def _names(saga: Saga, steps: Iterable[int]) -> str:
    return ", ".join(saga.spec.steps[index].name for index in steps)


def _standing(saga: Saga) -> str:
    """Where it stands, in one sentence."""
    if saga.completed:
        return "It completed: every step succeeded."
    if saga.compensated:
        resolved = _names(saga, (index for index, step in enumerate(saga.steps) if step.resolved))
        by_hand = f" ({resolved}: by an operator's word)" if resolved else ""
        undone = any(step.undone or step.resolved for step in saga.steps)
        return f"It was compensated: {'all that it did is undone' if undone else 'it had nothing to undo'}{by_hand}."
    if saga.parked:
        return "It is parked: an undo failed for good, and a person has to see to it."
    direction = "It is on its way back." if saga.backward else "It is going forward."
    waiting = metadata_of(saga).waiting
    return f"{direction} It waits: {waiting}." if waiting else direction


def _turned_back(saga: Saga) -> str | None:
    cause = saga.cause
    if cause is None:
        return None
    name = saga.spec.steps[cause.step].name if saga.spec.steps else ""
    why = "" if cause.failure is None else f": {describe(cause.failure)}"
    match cause.reason:
        case TurnReason.CANCELLED:
            note = f" ({cause.note})" if cause.note else ""
            return f"It was cancelled{note}."
        case TurnReason.DEADLINE:
            return f"Its deadline of {saga.spec.deadline_s or 0:g} s passed while {name} was due."
        case TurnReason.STEP_TIMED_OUT:
            limit_s = cause.failure.duration_s if cause.failure is not None else None
            return f"{name} did not end within {limit_s or 0:g} s and had to be killed."
        case TurnReason.STEP_CRASHED:
            return f"The process of {name} died{why}."
        case _:
            return f"{name} failed{why}."


def _owed(saga: Saga) -> Iterable[str]:
    if not saga.backward:
        return
    for index in owed(saga):
        spec, step = saga.spec.steps[index], saga.steps[index]
        because = "it is in doubt: nobody knows whether it took effect" if step.in_doubt else "it took effect"
        often = f" after it had failed {screen.times(step.undo_failures)}" if step.undo_failures else ""
        given_up = f", and was given up{often}: {describe(step.given_up)}" if step.given_up is not None else ""
        yield f"the undo of {spec.name} ({because}){given_up}"


def _advice(saga: Saga, system_runs: bool) -> tuple[list[str], list[str]]:
    if saga.ended:
        return ["Nothing is left to do."], []
    if saga.parked:
        given_up = [index for index in owed(saga) if saga.steps[index].given_up is not None]
        orders = [f"retry {places(saga.id)}"]
        note = "--note 'how it was settled'"
        orders += [f"resolve {places(saga.id, saga.spec.steps[i].name, options=note)}" for i in given_up]
        return [
            "Repair what kept the undo from working, then have it tried again with `retry`.",
            "Or settle it by other means, and say how with `resolve`; the steps before it are then compensated.",
        ], orders
    advice = []
    if not system_runs:
        advice.append("No actor system runs in this home: it goes on as soon as a program opens the home, or now with")
        return advice, ["serve"]
    advice.append("Nothing: it goes on by itself.")
    if saga.waiting is not None and next_work(saga) is not None:
        advice = ["Remove what it waits for; it then goes on by itself."]
    return advice, [] if saga.backward else [f"cancel {places(saga.id)}"]
