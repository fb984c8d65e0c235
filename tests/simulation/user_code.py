"""How the user's code behaves in a simulated world: what each call does, when, and what it gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import StepSpec
from antistrophe.saga.entries import Action, FailureKind, Verdict
from antistrophe.saga.inputs import Answer, Raised, Returned, Unencodable, Verified
from tests.simulation.effects_ledger import EffectsLedger, Token
from tests.simulation.faults import Chances, Fault
from tests.simulation.scenario import Scenario

_RAISES = {
    Fault.RAISED: (FailureKind.RAISED, "ValueError"),
    Fault.RETRYABLE: (FailureKind.RETRYABLE, "RetryableError"),
    Fault.FATAL: (FailureKind.FATAL, "FatalError"),
    Fault.IN_DOUBT: (FailureKind.IN_DOUBT, "InDoubtError"),
}
_TROUBLES = (
    Fault.RAISED,
    Fault.RETRYABLE,
    Fault.FATAL,
    Fault.IN_DOUBT,
    Fault.UNENCODABLE,
    Fault.HANG,
    Fault.DEATH_BEFORE_EFFECT,
    Fault.DEATH_AFTER_EFFECT,
)
_DEATHS = (Fault.DEATH_BEFORE_EFFECT, Fault.DEATH_AFTER_EFFECT)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one call is going to do: take effect after so many seconds (None: never), end after so many (None: it
    hangs), and give an answer (None: its process dies). ``fault``: what goes wrong, to be noted when it has."""

    effect_after_s: float | None
    ends_after_s: float | None
    answer: Callable[[], Answer] | None
    fault: Fault | None = None
    lasting: bool = False


def returned(token: Token) -> Returned:
    """What a call of that attempt returns when all is well; no other attempt returns the same."""
    mark = f"{token.action.value}/{token.step}/{token.attempt}".encode()
    return Returned(mark, (EncodedEvent("happened", 1, mark),))


class UserCode:
    """The step classes of one scenario."""

    def __init__(self, scenario: Scenario, rng: random.Random, chances: Chances, ledger: EffectsLedger) -> None:
        self._scenario = scenario
        self._rng = rng
        self._chances = chances
        self._ledger = ledger

    def plan(self, token: Token) -> Plan:
        """What the call of that attempt is going to do."""
        spec = self._scenario.spec.steps[token.step]
        if token.action is Action.EXECUTE:
            return self._execute(spec, token)
        if token.action is Action.COMPENSATE:
            return self._compensate(spec, token)
        return self._verify(spec, token)

    def _execute(self, spec: StepSpec, token: Token) -> Plan:
        rng = self._rng
        trouble = self._death()
        if trouble is None and rng.random() < self._scenario.trouble:
            trouble = rng.choice(_TROUBLES)
        half_done = not spec.atomic and rng.random() < 0.5
        if trouble is Fault.IN_DOUBT:
            half_done = rng.random() < 0.5
        return self._made(trouble, spec.timeout_s, token, half_done)

    def _compensate(self, spec: StepSpec, token: Token) -> Plan:
        rng = self._rng
        fails = self._scenario.undo_fails[token.step]
        earlier = sum(1 for _ in self._ledger.of(token.step, Action.COMPENSATE)) - 1
        trouble = self._death()
        if trouble is None and (fails is None or earlier < fails or rng.random() < self._scenario.trouble / 3):
            trouble = rng.choice([each for each in _TROUBLES if fails is not None or each is not Fault.UNENCODABLE])
        plan = self._made(trouble, spec.compensation_timeout_s, token, rng.random() < 0.4)
        if trouble is None or trouble is Fault.UNENCODABLE:
            return plan
        return Plan(plan.effect_after_s, plan.ends_after_s, plan.answer, Fault.UNDO_FAILED, lasting=fails is None)

    def _verify(self, spec: StepSpec, token: Token) -> Plan:
        rng = self._rng
        at = rng.uniform(0.01, 0.9) * spec.timeout_s
        if rng.random() >= self._scenario.trouble:
            return Plan(None, at, lambda: self._truth(token))
        answers: tuple[Callable[[], Answer] | None, ...] = (
            lambda: Verified(Verdict.UNKNOWN),
            lambda: Raised(FailureKind.RAISED, "no idea", "ValueError"),
            lambda: Unencodable("too large", "PayloadTooLargeError"),
            None,
        )
        hangs = rng.random() < 0.25
        return Plan(None, None if hangs else at, rng.choice(answers), Fault.VERIFY_FAILED)

    def _truth(self, token: Token) -> Answer:
        """What a verify that looks at the world sees."""
        if self._ledger.last_effect(token.step, Action.EXECUTE) is None:
            return Verified(Verdict.NOT_APPLIED)
        seen = returned(token)
        return Verified(Verdict.APPLIED, seen.output, seen.events)

    def _death(self) -> Fault | None:
        return next((death for death in _DEATHS if self._chances.draw(death)), None)

    def _made(self, trouble: Fault | None, limit_s: float, token: Token, half_done: bool) -> Plan:
        """A plan with that trouble; ``half_done``: an exception comes after the effect."""
        rng = self._rng
        ends_after_s = rng.uniform(0.01, 0.9) * limit_s
        effect_after_s = ends_after_s * rng.random()
        if trouble is None:
            return Plan(effect_after_s, ends_after_s, lambda: returned(token))
        if trouble is Fault.UNENCODABLE:
            wrong = Unencodable("an open file", "NotSerializableError")
            return Plan(effect_after_s, ends_after_s, lambda: wrong, trouble)
        if trouble is Fault.HANG:
            if rng.random() < 0.6:
                return Plan(effect_after_s if rng.random() < 0.5 else None, None, None, trouble)
            late_s = limit_s * rng.uniform(1.0, 1.6)
            return Plan(late_s * rng.random(), late_s, lambda: returned(token), trouble)
        if trouble in _DEATHS:
            effect = effect_after_s if trouble is Fault.DEATH_AFTER_EFFECT else None
            return Plan(effect, ends_after_s, None, trouble)
        kind, name = _RAISES[trouble]
        after_s = rng.choice((None, 0.0, 4.0)) if trouble is Fault.RETRYABLE else None
        raised = Raised(kind, f"it {trouble.value}", name, after_s)
        return Plan(effect_after_s if half_done else None, ends_after_s, lambda: raised, trouble)
