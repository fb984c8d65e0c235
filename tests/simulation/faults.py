"""The faults that a simulated world can suffer, how likely each is, and how often each has really occurred."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from enum import Enum


class Fault(str, Enum):
    """What can go wrong, or come at a bad moment, in a simulated world."""

    ANSWER_LOST = "answer lost"
    MESSAGE_LATE = "message late"
    MESSAGE_DOUBLED = "message doubled"
    MESSAGE_REORDERED = "message overtaken by a later one"
    FENCE_LOST = "proof of death lost"
    GO_LOST = "go message lost"
    GO_LATE = "go message late"
    GO_DOUBLED = "go message doubled"
    GRANT_LATE = "process granted late"
    GRANT_DOUBLED = "two processes granted"
    GRANT_REFUSED = "no process to be had"
    CALL_REFUSED = "process can't make the call"
    DEATH_BEFORE_CALL = "process dies before the call"
    DEATH_BEFORE_EFFECT = "process dies before the effect"
    DEATH_AFTER_EFFECT = "process dies after the effect"
    DEATH_AFTER_OUTCOME = "process dies after it wrote its outcome"
    EVIDENCE_REMOVED = "what a process left behind is removed"
    EVIDENCE_UNREADABLE = "what a process left behind can't be read"
    CRASH_BEFORE_APPEND = "host dies before the append"
    CRASH_AFTER_APPEND = "host dies between append and effects"
    CRASH_BETWEEN_EFFECTS = "host dies between two effects"
    ACTOR_FAILED = "saga actor meets an error"
    JOURNAL_REFUSED = "journal refuses the append"
    COMMIT_UNKNOWN = "nobody can say whether it was committed"
    APPEND_LATE = "append arrives when its sender has given it up"
    FAIL_OVER = "server takes over that lacks the last commits"
    SYSTEM_CRASH = "whole system dies"
    SYSTEM_DRAINED = "system is stopped in order"
    REBOOT = "machine reboots"
    CLOCK_LEAP = "clock leaps forward"
    HANG = "attempt hangs"
    STUBBORN = "process ignores SIGTERM"
    EFFECT_IN_GRACE = "effect between SIGTERM and death"
    OUTCOME_IN_GRACE = "outcome between SIGTERM and death"
    RAISED = "step raises"
    RETRYABLE = "step raises RetryableError"
    FATAL = "step raises FatalError"
    IN_DOUBT = "step raises InDoubtError"
    UNENCODABLE = "result can't be encoded"
    UNDO_FAILED = "compensation fails"
    UNDO_NEVER_WORKS = "compensation fails for ever"
    VERIFY_FAILED = "verify gives no answer"
    CANCEL = "cancel while it runs"
    OPERATOR_RETRIES = "operator retries"
    OPERATOR_RESOLVES = "operator resolves"
    OPERATOR_RESOLVES_EARLY = "operator resolves what has not failed for good"
    ORDER_OUT_OF_PLACE = "order that changes nothing"
    DEADLINE = "deadline passes"


RATES: dict[Fault, float] = {
    Fault.ANSWER_LOST: 0.06,
    Fault.MESSAGE_LATE: 0.06,
    Fault.MESSAGE_DOUBLED: 0.1,
    Fault.FENCE_LOST: 0.1,
    Fault.GO_LOST: 0.04,
    Fault.GO_LATE: 0.05,
    Fault.GO_DOUBLED: 0.08,
    Fault.GRANT_LATE: 0.06,
    Fault.GRANT_DOUBLED: 0.08,
    Fault.GRANT_REFUSED: 0.04,
    Fault.CALL_REFUSED: 0.04,
    Fault.DEATH_BEFORE_CALL: 0.05,
    Fault.DEATH_BEFORE_EFFECT: 0.04,
    Fault.DEATH_AFTER_EFFECT: 0.04,
    Fault.DEATH_AFTER_OUTCOME: 0.05,
    Fault.EVIDENCE_REMOVED: 0.04,
    Fault.EVIDENCE_UNREADABLE: 0.04,
    Fault.CRASH_BEFORE_APPEND: 0.03,
    Fault.CRASH_AFTER_APPEND: 0.05,
    Fault.CRASH_BETWEEN_EFFECTS: 0.08,
    Fault.ACTOR_FAILED: 0.02,
    Fault.JOURNAL_REFUSED: 0.03,
    Fault.COMMIT_UNKNOWN: 0.2,
    Fault.FAIL_OVER: 0.4,
    Fault.SYSTEM_CRASH: 0.005,
    Fault.SYSTEM_DRAINED: 0.003,
    Fault.REBOOT: 0.3,
    Fault.CLOCK_LEAP: 0.005,
}
"""Of the faults of the machinery: how likely each is whenever it could happen. They come out of a world's budget."""

OF_ROUGH_SERVER: dict[Fault, float] = {Fault.COMMIT_UNKNOWN: 0.8, Fault.FAIL_OVER: 0.05}
"""The same where a server loses most answers, and works on for a while before another one takes over: so somebody reads
what the other one has never had."""


class Chances:
    """Draws and counts the faults of one world.

    ``enabled`` are the faults of the machinery that may happen at all, ``budget`` how many of them in all, so that
    every world comes to rest.
    """

    def __init__(
        self,
        rng: random.Random,
        enabled: frozenset[Fault],
        budget: int,
        clock: Callable[[], float],
        rates: Mapping[Fault, float] = RATES,
    ) -> None:
        self._rng = rng
        self._rates = rates
        self._clock = clock
        self._enabled = enabled
        self._left = budget
        self.counts: Counter[Fault] = Counter()
        self.moments: dict[Fault, list[float]] = {}

    def draw(self, fault: Fault) -> bool:
        """Draw whether a fault of the machinery is to happen; whoever makes it happen notes it."""
        if self._left <= 0 or fault not in self._enabled or self._rng.random() >= self._rates[fault]:
            return False
        self._left -= 1
        return True

    def strikes(self, fault: Fault) -> bool:
        """Draw whether a fault of the machinery happens here and now."""
        if self.draw(fault):
            self.note(fault)
            return True
        return False

    def note(self, fault: Fault) -> None:
        """Count a fault that has really happened."""
        self.counts[fault] += 1
        self.moments.setdefault(fault, []).append(self._clock())
