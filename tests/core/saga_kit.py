"""A saga told step by step: what the tests of the machine say to it, and what they look at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import LeaseRequest, Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.saga.effects import Effect, RequestLease, effects_of
from antistrophe.saga.entries import Action, AttemptStarted, Entry, FailureKind, Lease, SagaAccepted, Verdict
from antistrophe.saga.inputs import (
    Answer,
    Answered,
    Fenced,
    Input,
    ProcessGranted,
    Raised,
    Resumed,
    Returned,
    TimePassed,
    Verified,
)
from antistrophe.saga.machine import decide
from antistrophe.saga.outcome import error_of, outcome_of
from antistrophe.saga.state import Saga, evolve, owed
from antistrophe.saga.step_state import StepState

E = TypeVar("E")

NO_WAIT = RetryPolicy(1, 0.0, 1.0, 0.0, jitter=False)


def step(name: str = "pay", **changes: Any) -> StepSpec:
    """A step with one attempt of everything and no waits; ``changes`` are its fields."""
    plain = StepSpec(
        name=name,
        class_ref=f"shop:{name}",
        input=b"\x80",
        timeout_s=10.0,
        kill_grace_s=2.0,
        retry=NO_WAIT,
        retryable_attempts=1,
        compensation_timeout_s=20.0,
        compensation_retry=NO_WAIT,
        idempotent=False,
        atomic=True,
        requires_compensation=True,
        fresh_process=False,
        has_verify=False,
    )
    return replace(plain, **changes)


def attempts(most: int, initial_s: float = 0.0, max_s: float = 100.0) -> RetryPolicy:
    """A policy of so many attempts, without jitter, so that waits can be told exactly."""
    return RetryPolicy(most, initial_s, 2.0, max_s, jitter=False)


def event_of(text: str) -> EncodedEvent:
    """An event whose fields don't matter."""
    return EncodedEvent(text, 1, b"\x80")


class Told:
    """One saga, told inputs at a time that only passes when it is said."""

    def __init__(self, *steps: StepSpec, deadline_s: float | None = None, park: bool = True) -> None:
        self.now = 1000.0
        self.journal: list[Entry] = []
        self.effects: tuple[Effect, ...] = ()
        self._leases = 0
        spec = SagaSpec("saga-1", "order", deadline_s, park, steps, Origin(None, (), "/"))
        accepted = SagaAccepted(self.now, "request-1", spec)
        self.saga: Saga = evolve(None, accepted)
        self.journal.append(accepted)
        self.tell(Resumed())

    # --- what it is told ---------------------------------------------------------------------------------------

    def tell(self, said: Input, **options: Any) -> tuple[Entry, ...]:
        """Say something; the entries that are true since."""
        before = self.saga
        entries = decide(before, said, self.now, **options)
        for entry in entries:
            self.saga = evolve(self.saga, entry)
        self.journal.extend(entries)
        self.effects = effects_of(before, self.saga) if entries else ()
        return entries

    def grant(self, *, used: bool = False) -> tuple[Entry, ...]:
        """Grant it a lease, as soon as it may start the next attempt."""
        self.now = max(self.now, self.saga.not_before or 0.0)
        self._leases += 1
        return self.tell(ProcessGranted(Lease(f"process-{self._leases}", self._leases, 1, "boot"), used))

    def run(self) -> AttemptStarted:
        """The attempt that runs, started where none does."""
        if self.saga.current is None:
            self.grant()
        assert self.saga.current is not None, "nothing starts"
        return self.saga.current

    def answer(self, answer: Answer) -> tuple[Entry, ...]:
        """The current attempt answers."""
        current = self.run()
        return self.tell(Answered(current.step, current.action, current.attempt, answer))

    def raises(self, kind: FailureKind = FailureKind.RAISED, after_s: float | None = None) -> tuple[Entry, ...]:
        """The current attempt raises."""
        return self.answer(Raised(kind, "no money", "BankError", after_s))

    def says(self, verdict: Verdict) -> tuple[Entry, ...]:
        """Verify, which has to be what runs, answers."""
        assert self.run().action is Action.VERIFY
        output = b"\x01" if verdict is Verdict.APPLIED else None
        return self.answer(Verified(verdict, output, (event_of("seen"),) if output else ()))

    def dies(self, *, began: bool | None = True, **found: Any) -> tuple[Entry, ...]:
        """The process of the current attempt is proven dead."""
        current = self.run()
        return self.tell(Fenced(current.step, current.action, current.attempt, began, **found))

    def expires(self) -> tuple[Entry, ...]:
        """The current attempt runs past its limit."""
        current = self.run()
        self.now = max(self.now, current.deadline)
        return self.tell(TimePassed(current.at, 0.0))

    def times_out(self) -> tuple[Entry, ...]:
        """The current attempt runs past its limit, and is seen dead."""
        return self.expires() + self.dies(signal=9)

    # --- what is true ------------------------------------------------------------------------------------------

    def asks(self, *, fresh: bool, urgent: bool, not_before: float | None) -> RequestLease:
        """What it does where it asks for a process for any of its steps."""
        class_refs = tuple(dict.fromkeys(each.class_ref for each in self.saga.spec.steps))
        return RequestLease(LeaseRequest(self.saga.spec.origin, class_refs, fresh, urgent), not_before)

    def at(self, index: int) -> StepState:
        """One step."""
        return self.saga.steps[index]

    @property
    def owed(self) -> tuple[int, ...]:
        """The steps still to compensate, in the order of compensation."""
        return owed(self.saga)

    @property
    def error(self) -> Exception | None:
        """What its caller gets; the saga has to have ended, or be parked."""
        outcome = outcome_of(self.saga)
        assert outcome is not None, "it runs"
        return error_of(outcome)

    @property
    def trail(self) -> list[str]:
        """Every attempt so far, like ``execute 0``."""
        return [f"{each.action.value} {each.step}" for each in self.journal if isinstance(each, AttemptStarted)]

    def last(self, kind: type[E]) -> E:
        """The last entry of that kind."""
        return next(entry for entry in reversed(self.journal) if isinstance(entry, kind))

    def has(self, kind: type[Entry]) -> bool:
        """True where there is an entry of that kind."""
        return any(isinstance(entry, kind) for entry in self.journal)


def parked(*, policy: RetryPolicy | None = None, park: bool = True) -> Told:
    """A saga of three steps: the third failed, the compensation of the second failed for good."""
    told = Told(step("pay"), step("ship", compensation_retry=policy or attempts(1)), step("mail"), park=park)
    told.answer(Returned(b"\xa2ok"))
    told.answer(Returned(b"\xa2ok"))
    told.raises()
    while not told.saga.parked and told.run().step == 1:
        told.raises()
    return told
