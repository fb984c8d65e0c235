"""The planted bugs: at least one for each property of the machine and for each promise that it can keep by itself."""

from __future__ import annotations

from tests.simulation.mutants.planting import Mutant, Patch
from tests.simulation.properties import Check

_MACHINE = "antistrophe.saga.machine:"
_RETRIES = "antistrophe.saga.retries:"
_STATE = "antistrophe.saga.state:"
_STEP_STATE = "antistrophe.saga.step_state:"
_EFFECTS = "antistrophe.saga.effects:"
_ANSWERS = "antistrophe.saga.answers:"
_HOST = "antistrophe.actors.saga.hosted_sagas:HostedSagas."
_BATCH = "antistrophe.actors.saga.batch_commit:Batch."
_ACTOR = "antistrophe.actors.saga.saga:SagaActor."
_EXECUTION = "antistrophe.actors.saga.execution:Execution."

MUTANTS: tuple[Mutant, ...] = (
    # --- the eight properties -----------------------------------------------------------------------------------
    Mutant(
        "compensations start in the order of the steps",
        "P1 G5",
        Check.ORDER,
        (
            Patch(_STATE + "_settled", "starts[-1 - number]", "starts[number]"),
            Patch(_EFFECTS + "next_work", "saga.first_starts[left - 1]", "saga.first_starts[saga.settled]"),
        ),
    ),
    Mutant(
        "the last of what is owed is compensated first",
        "P1 G5",
        Check.ORDER,
        (Patch(_EFFECTS + "next_work", "saga.first_starts[left - 1]", "saga.first_starts[0]"),),
    ),
    Mutant(
        "a clean failure clears the doubt of an earlier attempt",
        "P2 G5",
        Check.DOUBT,
        (Patch(_STATE + "_attempt_failed", "step.in_doubt or leaves_doubt", "leaves_doubt"),),
    ),
    Mutant(
        "what is in doubt is not owed",
        "P2 G5",
        Check.LEDGER,
        (Patch(_STEP_STATE + "is_owed", "(state.succeeded or state.in_doubt)", "state.succeeded"),),
    ),
    Mutant(
        "an exception of a step that is not atomic is no doubt",
        "P2 G5",
        Check.DOUBT,
        (Patch(_STEP_STATE + "kind_leaves_doubt", "not atomic and", "not atomic and False and"),),
    ),
    Mutant(
        "a verify that knows nothing clears the doubt",
        "P2 G5",
        Check.DOUBT,
        (Patch(_STATE + "_verdict_given", "elif entry.verdict is Verdict.NOT_APPLIED:", "else:"),),
    ),
    Mutant(
        "an operator resolves what is owed in any order",
        "P1 G5",
        Check.ORDER,
        (Patch("antistrophe.saga.resolving:resolvable", "(work.step, *given_up)", "owed(saga)"),),
    ),
    Mutant(
        "an operator resolves a compensation while it may run",
        "P1 G2 G6",
        Check.ALONE,
        (Patch("antistrophe.saga.resolving:resolvable", "return ()", "return owed(saga) if saga.backward else ()"),),
    ),
    Mutant(
        "an operator resolves a step of a saga that goes forward",
        "P1 G6",
        Check.PARK,
        (Patch("antistrophe.saga.resolving:resolvable", "not saga.backward or ", ""),),
    ),
    Mutant(
        "any answer settles the current attempt",
        "P3",
        Check.ECHO,
        (Patch(_MACHINE + "_is", "== (step, action, attempt)", "is not None"),),
    ),
    Mutant(
        "an answer is taken for another attempt of the same step",
        "P3",
        Check.ECHO,
        (Patch(_MACHINE + "_is", "== (step, action, attempt)", "[:2] == (step, action)"),),
    ),
    Mutant(
        "the outcome that a dead process wrote is ignored",
        "P3",
        Check.ECHO,
        (Patch(_ANSWERS + "entries_of_death", "if fenced.answer is not None:", "if False:"),),
    ),
    Mutant(
        "the limit counts from the intent and not from the call",
        "P4 G10",
        Check.EARLY,
        (
            Patch(
                _MACHINE + "_Draft.pass_time",
                "latest if began_at is None else max(current.deadline, began_at + current.limit_s)",
                "current.deadline",
            ),
        ),
    ),
    Mutant(
        "the saga's deadline holds for its compensations",
        "P4 G9",
        Check.EARLY,
        (Patch(_MACHINE + "_Draft.pass_time", "if current.action is Action.EXECUTE and", "if"),),
    ),
    Mutant(
        "a recovered saga that has ended ends again",
        "P5",
        Check.ONE_END,
        (
            Patch(_MACHINE + "transition", "if not saga.ended:", "if True:"),
            Patch(_MACHINE + "_Draft.advance", " or self.saga.ended", ""),
            Patch(_STATE + "evolve", "if saga.ended:", "if False:"),
        ),
    ),
    Mutant(
        "nobody is told the outcome where the actor died after the final entry",
        "P5",
        Check.ONE_END,
        (
            Patch(
                _EFFECTS + "resume",
                "return _without_attempt(saga)",
                "return () if saga.ended else _without_attempt(saga)",
            ),
        ),
    ),
    Mutant(
        "what the last entry left undecided stays so",
        "P6 G8",
        Check.GOES_ON,
        (
            Patch(
                _MACHINE + "_Draft.hear",
                "case Resumed():\n            self.advance(None)",
                "case Resumed():\n            pass",
            ),
        ),
    ),
    Mutant(
        "a saga that waits for a process does not ask again after a crash",
        "P6 P7 G8",
        Check.BOUND,
        (
            Patch(
                _EFFECTS + "resume",
                "return _without_attempt(saga)",
                "return (TellOutcome(),) if saga.ended or saga.parked else ()",
            ),
        ),
    ),
    Mutant(
        "the process of an attempt past its limit is not ended",
        "P7 G10",
        Check.BOUND,
        (Patch(_EFFECTS + "effects_of", "effects.append(end(after))", "pass"),),
    ),
    Mutant(
        "the process of an attempt past its limit is not ended after a crash",
        "P6 G10",
        Check.GOES_ON,
        (Patch(_EFFECTS + "resume", "(end(saga),) if saga.ending", "() if saga.ending"),),
    ),
    Mutant(
        "an operator's retry turns the saga forward",
        "P8 G7",
        Check.DIRECTION,
        (Patch(_STATE + "_retried", '"waiting": None', '"waiting": None, "cause": None'),),
    ),
    Mutant(
        "a step in doubt is asked about by verify on the way back",
        "P8 G7",
        Check.DIRECTION,
        (
            Patch(
                _EFFECTS + "next_work",
                "if saga.unsettled is not None and not saga.backward:",
                "if saga.unsettled is not None:",
            ),
            Patch(
                _MACHINE + "_Draft.advance",
                "if self.saga.backward:",
                "if self.saga.backward and self.saga.steps[self.saga.unsettled.step].undo_counted > 1:",
            ),
        ),
    ),
    # --- the promises -------------------------------------------------------------------------------------------
    Mutant(
        "the append is not awaited",
        "G1",
        Check.INTENT,
        (Patch(_HOST + "send", "if self._batch is None:", "if True:"),),
    ),
    Mutant(
        "a step that failed is passed over",
        "G2",
        Check.PROGRESS,
        (
            Patch(
                _EFFECTS + "next_work",
                "index = saga.ahead",
                "index = saga.ahead + any(step.failure is not None for step in saga.steps)",
            ),
        ),
    ),
    Mutant(
        "a timeout is believed without proof of death",
        "G3",
        Check.ALONE,
        (
            Patch(
                _MACHINE + "_Draft.expire",
                "self.add(AttemptExpired(self.now, current.step, current.action, current.attempt))",
                "late = Failure(FailureKind.TIMEOUT, 'late')\n"
                "    self.add(AttemptFailed(self.now, current.step, current.action, current.attempt, late))\n"
                "    self.advance(None)",
            ),
        ),
    ),
    Mutant(
        "an attempt starts although another may be running",
        "G3",
        Check.ERROR,
        (
            Patch(_MACHINE + "_Draft.advance", "self.saga.current is not None or ", ""),
            Patch(_EFFECTS + "next_work", " or saga.current is not None", ""),
        ),
    ),
    Mutant(
        "one attempt more than the policy has",
        "G4",
        Check.AT_MOST_ONCE,
        (Patch(_RETRIES + "may_retry", "step.counted < limit", "step.counted <= limit"),),
    ),
    Mutant(
        "doubt is retried although the step is not idempotent",
        "G4",
        Check.AT_MOST_ONCE,
        (Patch(_RETRIES + "may_retry", "doubtful and not spec.idempotent", "False"),),
    ),
    Mutant(
        "after a reboot, what may have run is taken as never called",
        "G4",
        Check.ECHO,
        (Patch(_ANSWERS + "_death", "if fenced.began is False:", "if not fenced.began:"),),
    ),
    Mutant(
        "what left no trace is taken as never called",
        "G4",
        Check.AT_MOST_ONCE,
        (Patch("antistrophe.actors.saga.execution:_began", "record.never_began", "record.began_at is None"),),
    ),
    Mutant(
        "one attempt less than the policy has",
        "G4",
        Check.RETRIES,
        (Patch(_RETRIES + "may_retry", "step.counted < limit", "step.counted < limit - 1"),),
    ),
    Mutant(
        "a saga with a compensation that failed for good counts as compensated",
        "G5 G6",
        Check.PROOF,
        (
            Patch(
                _MACHINE + "_Draft._finish",
                "elif self.saga.given_up:",
                "elif False:",
            ),
        ),
    ),
    Mutant(
        "what an operator retries counts as settled",
        "G5 G6",
        Check.PROOF,
        (Patch(_STATE + "_retried", "_settled(saga, steps, 0)", "saga.settled"),),
    ),
    Mutant(
        "the first success completes the saga",
        "G6",
        Check.PROOF,
        (Patch(_EFFECTS + "next_work", "index < len(saga.steps)", "index < min(1, len(saga.steps))"),),
    ),
    Mutant(
        "compensations that the system ended count",
        "G9",
        Check.UNDO_RETRIES,
        (Patch(_ANSWERS + "_failed", "failure.kind is FailureKind.INTERRUPTED and", "False and"),),
    ),
    Mutant(
        "an undo whose result can't be encoded has failed",
        "G5",
        Check.UNDO_RETRIES,
        (Patch(_ANSWERS + "entries_of_answer", "if current.action is Action.COMPENSATE:", "if False:"),),
    ),
    Mutant(
        "an operator's retry gives no full policy",
        "G9",
        Check.UNDO_RETRIES,
        (Patch(_STATE + "_retried", '"undo_counted": 0,', ""),),
    ),
    Mutant(
        "what needs a process of its own runs beside others",
        "G3",
        Check.SHARED,
        (Patch(_MACHINE + "_Draft._may_start", "and lease.shared == spec.shared", ""),),
    ),
    # --- the actor and its host ----------------------------------------------------------------------------------
    Mutant(
        "a grant that the journal refused is decided again later",
        "G3",
        Check.HELD,
        (
            Patch(_EXECUTION + "_keep", "isinstance(said, _STAYS_TRUE)", "True"),
            Patch(_EXECUTION + "retry", "dispatch=False", "dispatch=True"),
        ),
    ),
    Mutant(
        "nobody asks for another process where the journal refused the grant",
        "P7",
        Check.BOUND,
        (Patch(_ACTOR + "_ask_if_idle", "if self._run.saga.current is None and", "if False and"),),
    ),
    Mutant(
        "a batch that was undone leaves its position behind",
        "rules",
        Check.POSITION,
        (Patch(_BATCH + "roll_back", "self._journal.position = self._position", "pass"),),
    ),
    Mutant(
        "a batch that was undone leaves its actors as they were after it",
        "G2",
        Check.LEASES,
        (Patch(_HOST + "_handle_one_by_one", "self._actors[saga_id] = actor", "pass"),),
    ),
    Mutant(
        "what a process left before the machine was started anew counts",
        "G4",
        Check.ECHO,
        (Patch(_EXECUTION + "death", "current.lease.boot_id == self._evidence.boot_id()", "True"),),
    ),
    Mutant(
        "an attempt past its limit is ended only once that is journaled",
        "G10",
        Check.LATE,
        (Patch(_ACTOR + "_pass_time", "if self._run.keep_overdue(passed):", "if False:"),),
    ),
    Mutant(
        "an attempt that was ended past its limit while the journal refused counts as crashed",
        "G10",
        Check.LATE,
        (
            Patch(_EXECUTION + "_keep", "isinstance(said, _STAYS_TRUE)", "isinstance(said, Answered | Fenced)"),
            Patch(_EXECUTION + "death", "dead.overdue", "False"),
        ),
    ),
    # --- the rules ----------------------------------------------------------------------------------------------
    Mutant(
        "nobody waits before the next attempt",
        "rules",
        Check.BACKOFF,
        (Patch(_MACHINE + "_Draft._may_start", "due and turn and", "turn and"),),
    ),
    Mutant(
        "verify is not asked",
        "rules",
        Check.VERIFY,
        (Patch(_MACHINE + "_Draft._may_ask_verify", "return not asked and", "return False and"),),
    ),
    Mutant(
        "steps start after the deadline",
        "rules",
        Check.DEADLINE,
        (Patch(_MACHINE + "_Draft._turn_if_due", "elif work is not None:", "elif False:"),),
    ),
    Mutant(
        "a cancel that the last step outran is forgotten",
        "rules",
        Check.CANCEL,
        (
            Patch(
                _MACHINE + "_Draft._turn_if_due",
                "if self.saga.cancel is not None:",
                "if self.saga.cancel is not None and work is not None:",
            ),
        ),
    ),
    Mutant(
        "every failure is told as the step's own",
        "rules",
        Check.CAUSE,
        (
            Patch(
                _MACHINE + "_Draft._settle_forward",
                "_TURN_REASONS.get(failure.kind, TurnReason.STEP_FAILED)",
                "TurnReason.STEP_FAILED",
            ),
        ),
    ),
    Mutant(
        "a compensation that failed for good holds nothing up",
        "G5",
        Check.PARK,
        (Patch(_EFFECTS + "next_work", "if saga.spec.park_on_failure and", "if False and"),),
    ),
    Mutant(
        "a fresh process may be a used one",
        "rules",
        Check.FRESH,
        (Patch(_MACHINE + "_Draft._may_start", "used and", "False and"),),
    ),
    Mutant(
        "a step class with limits starts on any process",
        "rules",
        Check.TURN,
        (Patch(_MACHINE + "_Draft._may_start", "due and turn and", "due and"),),
    ),
    Mutant(
        "a step class with limits keeps its process for the next attempt",
        "rules",
        Check.TURN,
        (
            Patch(_MACHINE + "_Draft.hear", "spec.fresh_process or spec.asks_anew or", "spec.fresh_process or"),
            Patch(
                _MACHINE + "_Draft._may_start",
                "throttle.step_class == step_class",
                "used or throttle.step_class == step_class",
            ),
        ),
    ),
    Mutant(
        "processes are not given back",
        "rules",
        Check.LEASES,
        (
            Patch(
                _EFFECTS + "effects_of",
                "(new is None or new.lease != old.lease)",
                "new is not None and new.lease != old.lease",
            ),
        ),
    ),
)
