"""One saga in sentences: what happened, why it turned back, what is owed, and what to do now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from antistrophe.narration import times
from antistrophe.narration.entry_sentences import Sentence, running_attempt, sentences_of
from antistrophe.narration.phrases import how_often, places
from antistrophe.records import SagaStatus
from antistrophe.saga.effects import next_work
from antistrophe.saga.entries import Entry, FailureKind, TurnReason
from antistrophe.saga.outcome import describe, status_of
from antistrophe.saga.resolving import resolvable
from antistrophe.saga.state import Saga, evolve, owed
from antistrophe.saga.view import metadata_of
from antistrophe.serialization.printable import printable

_NOTE = "--note 'how it was settled'"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``story``: one sentence for each moment. ``owed``: the compensations that are still to be done. ``orders``: the
    words that can follow `antistrophe` on a command line now."""

    id: str
    name: str
    status: SagaStatus
    standing: str
    story: tuple[Sentence, ...]
    turned_back: str | None
    owed: tuple[str, ...]
    advice: tuple[str, ...]
    orders: tuple[str, ...]


def explain(entries: Sequence[Entry], *, system_runs: bool) -> Explanation:
    """The explanation of a saga from its journal entries. Raises ValueError where they are broken."""
    saga: Saga | None = None
    story: list[Sentence] = []
    for entry in entries:
        before, saga = saga, evolve(saga, entry)
        story.extend(sentences_of(before, entry, saga))
    if saga is None:
        raise ValueError("a saga without entries")
    story.extend(running_attempt(saga))
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


def _names(saga: Saga, steps: Iterable[int]) -> str:
    return ", ".join(saga.spec.steps[index].name for index in steps)


def _standing(saga: Saga) -> str:
    """The state of the saga, in one sentence."""
    if saga.completed:
        return "The saga completed: every step succeeded."
    if saga.compensated:
        resolved = _names(saga, (index for index, step in enumerate(saga.steps) if step.resolved))
        by_hand = f" ({resolved}: settled by an operator)" if resolved else ""
        undone = any(step.undone or step.resolved for step in saga.steps)
        proof = "everything it did is undone" if undone else "it had nothing to undo"
        return f"The saga was compensated: {proof}{by_hand}."
    if saga.parked:
        return "The saga is parked: an undo failed for good, and a person has to settle it."
    direction = "The saga is being compensated." if saga.backward else "The saga goes forward."
    waiting = metadata_of(saga).waiting
    return f"{direction} It waits: {printable(times.with_local_times(waiting))}." if waiting else direction


def _turned_back(saga: Saga) -> str | None:
    cause = saga.cause
    if cause is None:
        return None
    name = saga.spec.steps[cause.step].name if saga.spec.steps else ""
    why = "" if cause.failure is None else f": {printable(describe(cause.failure))}"
    match cause.reason:
        case TurnReason.CANCELLED:
            note = f" ({printable(cause.note)})" if cause.note else ""
            return f"The saga was cancelled{note}."
        case TurnReason.DEADLINE:
            return f"The saga's deadline of {saga.spec.deadline_s or 0:g} s passed before {name} was done."
        case TurnReason.STEP_TIMED_OUT:
            limit_s = cause.failure.duration_s if cause.failure is not None else None
            return f"{name} did not end within {limit_s or 0:g} s and was killed."
        case TurnReason.STEP_CRASHED:
            interrupted = cause.failure is not None and cause.failure.kind is FailureKind.INTERRUPTED
            return f"{name} was interrupted{why}." if interrupted else f"The process of {name} died{why}."
        case _:
            return f"{name} failed{why}."


def _owed(saga: Saga) -> Iterable[str]:
    if not saga.backward:
        return
    for index in owed(saga):
        spec, step = saga.spec.steps[index], saga.steps[index]
        because = "in doubt: nobody knows whether it took effect" if step.in_doubt else "it took effect"
        often = f" after it failed {how_often(step.undo_failures)}" if step.undo_failures else ""
        given_up = f"; given up{often}: {printable(describe(step.given_up))}" if step.given_up is not None else ""
        yield f"the undo of {spec.name} ({because}){given_up}"


def _advice(saga: Saga, system_runs: bool) -> tuple[list[str], list[str]]:
    if saga.ended:
        return ["Nothing is left to do."], []
    if saga.parked:
        given_up = [index for index in owed(saga) if saga.steps[index].given_up is not None]
        orders = [f"retry {places(saga.id)}"]
        orders += [f"resolve {places(saga.id, saga.spec.steps[i].name, options=_NOTE)}" for i in given_up]
        return [
            "Repair the cause of the failed undo, then try the undo again with `retry`.",
            "Or settle the undo by other means, and say how with `resolve`; the saga then undoes the steps before it.",
        ], orders
    waits = saga.waiting is not None and next_work(saga) is not None
    advice, orders = _way_out(saga, waits=waits)
    if not system_runs:
        runs = "No actor system runs in this home. The saga goes on as soon as a program opens the home, or now with:"
        return [runs, *advice], ["serve", *(orders if advice else [])]
    by_itself = "Remove the reason why the saga waits; it then goes on" if waits else "Nothing: the saga goes on"
    return [f"{by_itself} by itself.", *advice], orders


def _way_out(saga: Saga, *, waits: bool) -> tuple[list[str], list[str]]:
    """The orders to a saga that runs, and, where it may never go on by itself, what they do."""
    no_wait = "--no-wait" if waits else ""  # it may wait for ever
    if not saga.backward:
        cancels = "Or, if that can't be, cancel the saga: it turns back at once, without another attempt of that step."
        return [cancels] if waits else [], [f"cancel {places(saga.id, options=no_wait)}"]
    ahead = next(iter(resolvable(saga)), None)
    if ahead is None or not (waits or saga.steps[ahead].undo_failures or saga.given_up):
        return [], []
    name = saga.spec.steps[ahead].name
    settles = f"Or settle the undo of {printable(name)} by other means, and say how with `resolve`;"
    order = f"resolve {places(saga.id, name, options=f'{_NOTE} {no_wait}'.rstrip())}"
    return [f"{settles} the saga then undoes the steps before it."], [order]
