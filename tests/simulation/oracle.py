"""The oracle: which promises a history breaks, judged by its journal and by what its calls themselves wrote."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

from antistrophe.actors.saga.saga import LOOK_AGAIN_S
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import (
    Action,
    AttemptExpired,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    Entry,
    FailureKind,
    SagaCompensated,
    SagaCompleted,
    SagaParked,
    StepResolved,
    TurnedBack,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.inputs import Raised, Refused, Returned, Unencodable, Verified
from tests.simulation.effects_ledger import Call, token_of
from tests.simulation.faults import Fault
from tests.simulation.journal_audit import audit
from tests.simulation.properties import Check, Violation
from tests.simulation.scenario import Scenario
from tests.simulation.simulated_host import SETTINGS
from tests.simulation.world import History, World

MOST_ENTRIES = 600
"""A journal that is longer shows that the saga goes in circles."""

_FINAL = (SagaCompleted, SagaCompensated)
_SETTLING = (AttemptSucceeded, AttemptFailed, VerdictGiven)


_DELAYS = (
    Fault.MESSAGE_LATE,
    Fault.CRASH_BEFORE_APPEND,
    Fault.CRASH_AFTER_APPEND,
    Fault.CRASH_BETWEEN_EFFECTS,
    Fault.ACTOR_FAILED,
    Fault.SYSTEM_CRASH,
    Fault.SYSTEM_DRAINED,
    Fault.CLOCK_LEAP,
)
"""Faults after which nobody may be there to see that an attempt is past its limit."""

_BLINDING = (Fault.REBOOT, Fault.EVIDENCE_REMOVED, Fault.EVIDENCE_UNREADABLE, Fault.COMMIT_UNKNOWN)
"""Faults after which nobody may know what a process left."""

_UNKNOWN_BEGINNINGS = (Fault.EVIDENCE_REMOVED, Fault.EVIDENCE_UNREADABLE)
"""Faults after which nobody may know when a call began, in the process that is struck and for as long as it lives."""

_LATE_GO_S = 3.0
"""How long a message may take that tells a process to make a call."""

_SOON_S = 2 * LOOK_AGAIN_S
"""How late an attempt may be told to end: an actor looks again so often, and messages take their time."""


def judge(history: History) -> list[Violation]:
    """Every promise that this history breaks."""
    if history.lost:
        return [Violation(Check.POSITION, f"the server that has taken over lacks {history.lost}")]
    if not history.journal:
        return [Violation(Check.BOUND, f"after {history.events} events nothing is there")]
    found = audit(history.journal)
    for look in _LOOKS:
        found.extend(look(history))
    return found


def goes_on(history: History, length: int) -> list[Violation]:
    """What goes wrong where the saga goes on from the first ``length`` entries of its journal, after a reboot, in a
    world without faults: it has to come to a final entry."""
    calm = calm_scenario(history.scenario)
    rest = World(calm, history.journal[:length]).run()
    if rest.error is not None:
        return [Violation(Check.GOES_ON, f"from {length} entries: {rest.error!r}")]
    if not rest.rested or not rest.journal or not isinstance(rest.journal[-1], _FINAL) or not rest.told:
        last = rest.journal[-1] if rest.journal else None
        return [Violation(Check.GOES_ON, f"from {length} entries: it stays at {last}")]
    return [Violation(each.check, f"from {length} entries: {each.text}") for each in audit(rest.journal)]


def calm_scenario(scenario: Scenario) -> Scenario:
    """The same saga in a world in which everything works."""
    return replace(
        scenario,
        faults=frozenset(),
        budget=0,
        trouble=0.0,
        undo_fails=tuple(0 for _ in scenario.spec.steps),
        cancel_after_s=None,
        stray_orders=(),
        attended=True,
    )


# --- the end ---------------------------------------------------------------------------------------------------


def _rests(history: History) -> Iterator[Violation]:
    if history.error is not None:
        yield Violation(Check.ERROR, repr(history.error))
        return
    last = history.journal[-1]
    parked = isinstance(last, SagaParked) and not history.scenario.attended
    if not history.rested or not (isinstance(last, _FINAL) or parked):
        yield Violation(Check.BOUND, f"after {history.events} events it stands at {last}")
    if len(history.journal) > MOST_ENTRIES:
        yield Violation(Check.BOUND, f"{len(history.journal)} entries")


def _one_end(history: History) -> Iterator[Violation]:
    ends = [index for index, entry in enumerate(history.journal) if isinstance(entry, _FINAL)]
    if len(ends) > 1:
        yield Violation(Check.ONE_END, f"{len(ends)} final entries")
    last = history.journal[-1]
    if history.error is not None or not (history.rested or isinstance(last, _FINAL)):
        return
    status = {
        SagaCompleted: SagaStatus.COMPLETED,
        SagaCompensated: SagaStatus.COMPENSATED,
        SagaParked: SagaStatus.FAILED,
    }
    expected = status.get(type(last))
    if expected is not None and not any(
        told.status is expected and told.journal_length == len(history.journal) for told in history.told
    ):
        yield Violation(Check.ONE_END, f"{expected} was never told")
    for told in history.told:
        if status.get(type(history.journal[told.journal_length - 1])) is not told.status:
            yield Violation(Check.ONE_END, f"{told.status} was told after {told.journal_length} entries")


def _gives_back(history: History) -> Iterator[Violation]:
    if history.leaked:
        yield Violation(Check.LEASES, f"{history.leaked} were kept")


def _positions(history: History) -> Iterator[Violation]:
    if history.ahead:
        yield Violation(Check.POSITION, f"{history.ahead} were told before they were durable")


# --- calls -----------------------------------------------------------------------------------------------------


def _calls_alone(history: History) -> Iterator[Violation]:
    calls = history.ledger.calls
    for earlier, later in itertools.pairwise(calls):
        if earlier.ended_at is None or later.began_at < earlier.ended_at:
            yield Violation(Check.ALONE, f"{later.token} began while {earlier.token} lived")
    seen = set()
    for call in calls:
        if call.token in seen:
            yield Violation(Check.ALONE, f"{call.token} was called twice")
        seen.add(call.token)


def _calls_intended(history: History) -> Iterator[Violation]:
    for call in history.ledger.calls:
        known = history.journal[: call.journal_length]
        if not any(isinstance(entry, AttemptStarted) and token_of(entry) == call.token for entry in known):
            yield Violation(Check.INTENT, f"{call.token} was called without its intent")
        if call.token.action is not Action.COMPENSATE and any(isinstance(entry, TurnedBack) for entry in known):
            yield Violation(Check.DIRECTION, f"{call.token} was called after the saga turned back")


def _results_known(history: History) -> Iterator[Violation]:
    calls = history.ledger.calls
    for earlier, later in itertools.pairwise(calls):
        known = history.journal[: later.journal_length]
        if not any(isinstance(entry, _SETTLING) and token_of(entry) == earlier.token for entry in known):
            yield Violation(Check.PROGRESS, f"{later.token} was called before {earlier.token} was settled")


def _calls_few(history: History) -> Iterator[Violation]:
    for index, step in enumerate(history.scenario.spec.steps):
        calls = list(history.ledger.of(index, Action.EXECUTE))
        most = max(step.retry.max_attempts, step.retryable_attempts)
        if len(calls) > most:
            yield Violation(
                Check.AT_MOST_ONCE, f"step {index} was called {len(calls)} times, at most {most} are allowed"
            )
        effects = sum(bool(call.effects_at) for call in calls)
        if effects > 1 and not step.idempotent:
            yield Violation(Check.AT_MOST_ONCE, f"step {index} is not idempotent and took effect {effects} times")


def _fresh(history: History) -> Iterator[Violation]:
    owner: dict[str, Call] = {}
    for call in history.ledger.calls:
        fresh = history.scenario.spec.steps[call.token.step].fresh_process
        before = owner.get(call.process)
        if fresh and call.process_used:
            yield Violation(Check.FRESH, f"{call.token} ran in a process that was used before")
        if before is not None and history.scenario.spec.steps[before.token.step].fresh_process:
            yield Violation(Check.FRESH, f"{call.token} ran where {before.token} had a process of its own")
        owner[call.process] = call


def _in_its_place(history: History) -> Iterator[Violation]:
    for call in history.ledger.calls:
        if call.shared != history.scenario.spec.steps[call.token.step].shared:
            yield Violation(Check.SHARED, f"{call.token} ran in {'a slot' if call.shared else 'a process of its own'}")


def _held(history: History) -> Iterator[Violation]:
    for call in history.ledger.calls:
        if not call.held:
            yield Violation(Check.HELD, f"{call.token} was called in {call.process}, which had no lease")
    for entry in history.unheld:
        yield Violation(Check.HELD, f"its lease was not held: {entry}")


def _in_turn(history: History) -> Iterator[Violation]:
    for call in history.ledger.calls:
        throttle = history.scenario.spec.throttle(call.token.step)
        if throttle is not None and call.turn != throttle.step_class:
            yield Violation(Check.TURN, f"{call.token} ran on the turn of {call.turn}")


def _not_early(history: History) -> Iterator[Violation]:
    spec, accepted_at = history.scenario.spec, history.journal[0].at
    latest = 0.0
    for entry in history.journal:
        if isinstance(entry, AttemptStarted):
            latest = entry.deadline + SETTINGS.start_timeout_s
        if not isinstance(entry, AttemptExpired):
            continue
        step = spec.steps[entry.step]
        limit_s = step.compensation_timeout_s if entry.action is Action.COMPENSATE else step.timeout_s
        forward = entry.action is Action.EXECUTE and spec.deadline_s is not None
        if forward and entry.at >= accepted_at + (spec.deadline_s or 0.0):
            continue
        if _blind(history) and entry.at >= latest:  # nobody could see when the call began
            continue
        for call in history.ledger.made(token_of(entry)):
            # Where the system has ended it already, it does not count as timed out, whatever the entry says. While the
            # journal refuses, a call may begin that was given up before it began, when its time to start was over: the
            # entry comes later, and it dies before it is told to end, or is told so when it has just begun.
            until = entry.at if call.told_to_end_at is None else call.began_at
            given_up = entry.at >= latest and _refused_since(history, call.began_at - _LATE_GO_S, until)
            if not call.interrupted and not given_up and call.began_at < entry.at < call.began_at + limit_s:
                yield Violation(Check.EARLY, f"{call.token} had only {entry.at - call.began_at} of {limit_s} s")


def _refused_since(history: History, since: float, until: float) -> bool:
    refused = (Fault.JOURNAL_REFUSED, Fault.COMMIT_UNKNOWN)
    return any(since <= at <= until for fault in refused for at in history.moments.get(fault, ()))


def _not_late(history: History) -> Iterator[Violation]:
    for call in history.ledger.calls:
        step = history.scenario.spec.steps[call.token.step]
        limit_s = step.compensation_timeout_s if call.token.action is Action.COMPENSATE else step.timeout_s
        ends_at = call.told_to_end_at or call.ended_at
        if _is_delayed(history, call.process, call.began_at, ends_at):
            continue
        if ends_at is None or ends_at > call.began_at + limit_s + _SOON_S:
            yield Violation(Check.LATE, f"{call.token} began at {call.began_at}, and was let run until {ends_at}")


def _is_delayed(history: History, process: str, began_at: float, ended_at: float | None) -> bool:
    """Whether something happened shortly before a call or during it that keeps its saga from looking at it in time."""
    until = float("inf") if ended_at is None else ended_at
    lent_at = min(each.began_at for each in history.ledger.calls if each.process == process) - _LATE_GO_S
    if any(lent_at <= at <= until for fault in _UNKNOWN_BEGINNINGS for at in history.moments.get(fault, ())):
        return True
    return any(began_at - _LATE_GO_S <= at <= until for fault in _DELAYS for at in history.moments.get(fault, ()))


def _timed_out(history: History) -> Iterator[Violation]:
    for entry in history.journal:
        if isinstance(entry, AttemptFailed) and entry.failure.kind is FailureKind.CRASH:
            for call in history.ledger.made(token_of(entry)):
                if call.told_to_end_at is not None and not call.interrupted:
                    yield Violation(Check.LATE, f"{call.token} was told to end, and counts as crashed")


# --- what is true ----------------------------------------------------------------------------------------------


def _blind(history: History) -> bool:
    """Whether the saga could not see what some process left behind: then it has to doubt what it can't know. An attempt
    of which nobody knows whether it is journaled gives its process back, and what that left may be gone."""
    return any(history.faults[each] for each in _BLINDING)


def _true_results(history: History) -> Iterator[Violation]:
    """Every settled attempt ended as its own call really did."""
    blind = _blind(history)
    for entry in history.journal:
        if isinstance(entry, _SETTLING):
            calls = history.ledger.made(token_of(entry))
            if not _is_true(entry, calls[0] if calls else None, blind):
                yield Violation(Check.ECHO, f"{entry} does not tell how {calls} ended")


def _is_true(entry: Entry, call: Call | None, blind: bool) -> bool:
    answer = call.answer if call is not None else None
    match entry, answer:
        case AttemptSucceeded(), Returned():
            return (entry.output, entry.events) == (answer.output, answer.events)
        case AttemptSucceeded(action=Action.COMPENSATE), Unencodable():
            return entry.warning is not None
        case AttemptSucceeded(), _:
            return False
        case VerdictGiven(), Verified():
            return entry.verdict is answer.verdict or (blind and entry.verdict is Verdict.UNKNOWN)
        case VerdictGiven(), _:
            return entry.verdict is Verdict.UNKNOWN
        case AttemptFailed(), _:
            return _is_true_failure(entry, call, blind)
    return True


def _is_true_failure(entry: AttemptFailed, call: Call | None, blind: bool) -> bool:
    kind, answer = entry.failure.kind, call.answer if call is not None else None
    if kind in (FailureKind.NEVER_RAN, FailureKind.REFUSED):
        return call is None
    if kind is FailureKind.TIMEOUT and call is not None and call.interrupted:
        return False
    if kind in (FailureKind.TIMEOUT, FailureKind.INTERRUPTED):
        # What was written before a reboot, or can't be read, does not count, and nobody knows what began.
        return blind or (answer is None and (call is not None or entry.action is Action.COMPENSATE))
    if kind is FailureKind.CRASH:
        return blind or (call is not None and answer is None)
    if kind is FailureKind.UNENCODABLE:
        return isinstance(answer, Unencodable)
    return isinstance(answer, Raised) and answer.kind is kind and not isinstance(answer, Refused)


def _ends_true(history: History) -> Iterator[Violation]:
    """What the journal calls final is what the ledger shows."""
    last = history.journal[-1]
    resolved = {entry.step for entry in history.journal if isinstance(entry, StepResolved)}
    for index, step in enumerate(history.scenario.spec.steps):
        done = history.ledger.last_effect(index, Action.EXECUTE)
        undone = history.ledger.last_effect(index, Action.COMPENSATE)
        tried = any(True for _ in history.ledger.of(index, Action.COMPENSATE))
        if isinstance(last, SagaCompleted) and (done is None or tried):
            yield Violation(Check.LEDGER, f"completed, but step {index} took effect at {done}, undone: {tried}")
        owes = done is not None and step.requires_compensation and index not in resolved
        if isinstance(last, SagaCompensated) and owes and (undone is None or undone < (done or 0.0)):
            yield Violation(Check.LEDGER, f"compensated, but step {index}, done at {done}, was undone at {undone}")
        called = any(True for _ in history.ledger.of(index, Action.EXECUTE))
        if tried and not called and not _blind(history):
            yield Violation(Check.DOUBT, f"step {index} was undone, but never called")


_LOOKS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    _rests,
    _one_end,
    _gives_back,
    _positions,
    _calls_alone,
    _calls_intended,
    _results_known,
    _calls_few,
    _fresh,
    _in_its_place,
    _held,
    _in_turn,
    _not_early,
    _not_late,
    _timed_out,
    _true_results,
    _ends_true,
)
