"""Steps that misbehave on purpose: each wraps a step of the user, and injects into its calls what a plan says.

These steps run in step processes like any other step, so that the actor system under test needs no hook for them.
"""

from __future__ import annotations

import inspect
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from antistrophe.definition.calling import build_step, call_step, method_of, source_of
from antistrophe.definition.code_loading import inside_step_process, load_step_class
from antistrophe.definition.context import Outputs, StepContext, StepResult, normalise_result
from antistrophe.definition.outputs import pack_output, unpack_output
from antistrophe.definition.result import run_coroutine
from antistrophe.definition.spec import Origin
from antistrophe.definition.step import SagaStep
from antistrophe.definition.worker_start import Worker
from antistrophe.errors import FatalError, InDoubtError, NotSerializableError
from antistrophe.testing.verification.line_tracer import LineTracer
from antistrophe.testing.verification.run_log import INJECTIONS_OFF, RunLog

EXECUTE = "execute"
COMPENSATE = "compensate"

INJECTED = "injected"
"""Note and flag: something was injected."""

HELD = "held"
"""Note: a call waits for the kill of the supervisor."""

TURNED_BACK = "turned-back"
"""Note: all steps have run, and the saga turns back."""

RETURNED = "returned"
"""Note: a call of the user's code returned."""

GATE = "gate"
"""Note: a call has done its work, and waits until the verifier has looked at the world."""


class InjectedError(Exception):
    """The exception that is injected. The user's code does not expect this class."""


class Injection(str, Enum):
    """What is injected into a call."""

    RAISE = "raise"  # an exception that nobody expects
    DOUBT = "doubt"  # InDoubtError
    MEMORY = "memory"  # an allocation that fails
    HANG = "hang"  # the call does not return
    KILL = "kill"  # SIGKILL of its process
    GARBAGE = "garbage"  # a result that can't be stored
    HOLD = "hold"  # the call waits until the whole system is killed


class When(str, Enum):
    """At which moment of a call something is injected."""

    BEFORE = "before"  # the user's code has not run
    WITHIN = "within"  # the user's code has come to a certain line
    AFTER = "after"  # the user's code has returned, and nobody knows yet


@dataclass(frozen=True, slots=True)
class UserStep:
    """A step as the user defined it: its name, where its class is, its packed input, the names of the steps ``before``
    it, and what it has ``computed`` beside its input."""

    index: int
    name: str
    class_ref: str
    input: bytes
    before: tuple[str, ...] = ()
    computed: bytes = b""


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to the calls of one step in one run.

    ``what`` is injected into each call of ``role``, or only into the first call with ``once``. With WITHIN it is
    injected before the line that the call runs as number ``line``. ``traced``: how many of the lines that a call runs
    are noted. ``gated``: a call that has done its work waits until the verifier has looked at the world. ``restored``:
    the undo gets the output of ``execute`` even in doubt. ``undo_before``: another step, whose undo runs before the
    undo of this step. ``undone_elsewhere``: this step is the ``undo_before`` of another step, and its own undo does
    nothing.
    """

    role: str = EXECUTE
    what: Injection | None = None
    when: When = When.BEFORE
    once: bool = False
    line: int | None = None
    traced: int = 0
    gated: bool = False
    restored: bool = False
    undo_before: UserStep | None = None
    undone_elsewhere: bool = False


@dataclass(frozen=True)
class InjectedStep(SagaStep):
    """A step of the user, with a plan. Its StepSpec, not this class, carries the options of the user's step."""

    origin: Origin
    user_step: UserStep
    folder: str
    plan: Plan

    def __post_init__(self) -> None:
        if inside_step_process():
            # The class is imported here and not in the call: the call's time limit does not include the import.
            self._step(self.user_step)

    def execute(self, ctx: StepContext) -> Any:
        return self._call(EXECUTE, ctx)

    def compensate(self, ctx: StepContext) -> Any:
        return self._call(COMPENSATE, ctx)

    def verify(self, ctx: StepContext) -> Any:
        step = self._step(self.user_step)
        return call_step(step, "verify", _seen_from(ctx, step))

    def _step(self, user_step: UserStep) -> SagaStep:
        source = load_step_class(self.origin, user_step.class_ref)
        return build_step(source, user_step.input, user_step.computed)

    def _call(self, role: str, ctx: StepContext) -> Any:
        log, plan = RunLog(self.folder), self.plan
        if log.over:
            return None
        armed = plan.what is not None and plan.role == role and not log.has(INJECTIONS_OFF)
        if armed and plan.when is When.BEFORE:
            self._inject(log, role)
        if role == COMPENSATE:
            if plan.undone_elsewhere:
                return None
            ctx = self._before_undo(log, ctx)
        return self._call_user_code(log, role, ctx, armed=armed)

    def _call_user_code(self, log: RunLog, role: str, ctx: StepContext, *, armed: bool) -> Any:
        """Call the user's code, and do what the plan says when it has returned."""
        step = self._step(self.user_step)
        ctx = _seen_from(ctx, step)
        began = time.monotonic()
        tracer = self._tracer(log, step, role, armed=armed)
        with tracer:
            result = call_step(step, role, ctx)
        if inspect.iscoroutine(result):
            return self._await(result, tracer, lambda value: self._after(value, log, role, began, tracer, armed=armed))
        return self._after(result, log, role, began, tracer, armed=armed)

    async def _await(self, coroutine: Any, tracer: LineTracer, then: Callable[[Any], Any]) -> Any:
        with tracer:
            result = await coroutine
        return then(result)

    def _tracer(self, log: RunLog, step: SagaStep, role: str, *, armed: bool) -> LineTracer:
        plan, method = self.plan, method_of(step, role)
        if armed and plan.when is When.WITHIN and not (plan.once and log.has(INJECTED)):
            return LineTracer(method, plan.line, lambda: self._note_injection(log, role))
        return LineTracer(method if plan.traced else None)

    def _after(self, result: Any, log: RunLog, role: str, began: float, tracer: LineTracer, *, armed: bool) -> Any:
        """Note that the user's code has returned; inject AFTER it, or wait at the gate."""
        index, took_s = self.user_step.index, time.monotonic() - began
        gave_output = role == EXECUTE and _keep_output(log, index, result)
        log.note(
            RETURNED, role=role, step=index, took_s=took_s, output=gave_output, lines=tracer.seen(self.plan.traced)
        )
        if armed and self.plan.when is When.AFTER:
            return self._inject(log, role, result)
        if self.plan.gated:
            log.note(GATE, role=role, step=index)
            log.wait_for(gate_of(role, index))
        return result

    # --- the injection -----------------------------------------------------------------------------------------

    def _inject(self, log: RunLog, role: str, result: Any = None) -> Any:
        what = self.plan.what
        if self.plan.once and not log.raise_flag(INJECTED):
            return result
        if what is not Injection.HOLD:
            self._note_injection(log, role)
        match what:
            case Injection.RAISE:
                raise InjectedError("injected by verify_compensable")
            case Injection.DOUBT:
                raise InDoubtError("injected by verify_compensable")
            case Injection.MEMORY:
                return bytearray(sys.maxsize)  # raises MemoryError
            case Injection.HANG:
                while not log.over:
                    time.sleep(0.05)
            case Injection.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Injection.GARBAGE:
                return StepResult(output=object())
            case Injection.HOLD:
                hold(log, role, self.user_step.index)
        return result

    def _note_injection(self, log: RunLog, role: str) -> None:
        log.raise_flag(INJECTED)
        log.note(INJECTED, role=role, step=self.user_step.index)

    # --- what an undo gets -------------------------------------------------------------------------------------

    def _before_undo(self, log: RunLog, ctx: StepContext) -> StepContext:
        other = self.plan.undo_before
        if other is not None:
            self._undo(other, ctx)
        kept = log.kept(_output_name(self.user_step.index)) if self.plan.restored else None
        return ctx if kept is None else replace(ctx, output=unpack_output(kept, "the output"))

    def _undo(self, other: UserStep, ctx: StepContext) -> None:
        """Call the undo of an earlier step too early, with the context that it would have in its place."""
        given = replace(
            ctx,
            step_name=other.name,
            step_index=other.index,
            idempotency_key=f"{ctx.saga_id}:{other.index}:compensation",
            forward_key=f"{ctx.saga_id}:{other.index}:forward",
            outputs=Outputs({name: ctx.outputs[name] for name in other.before if name in ctx.outputs}, other.name),
            output=ctx.outputs.get(other.name),
            in_doubt=False,
        )
        step = self._step(other)
        result = call_step(step, COMPENSATE, _seen_from(given, step))
        if inspect.iscoroutine(result):
            run_coroutine(result)


@dataclass(frozen=True)
class TurnBack(SagaStep):
    """The last step of every run. It fails, so that every step before it is undone."""

    folder: str
    held: bool

    def execute(self, ctx: StepContext) -> None:
        log = RunLog(self.folder)
        if self.held and log.raise_flag(INJECTED):
            hold(log, EXECUTE, ctx.step_index)
        log.note(TURNED_BACK)
        raise FatalError("every step has run: verify_compensable fails the saga on purpose, so that all is undone")


def hold(log: RunLog, role: str, index: int) -> None:
    """Wait until the whole system is killed, and this process with it."""
    log.note(HELD, role=role, step=index)
    log.wait_for(INJECTIONS_OFF)


def _seen_from(ctx: StepContext, step: SagaStep) -> StepContext:
    """The context with ``worker`` as the user's step has it."""
    worker = ctx.worker
    return replace(ctx, worker=worker.seen_from(source_of(step).__module__) if isinstance(worker, Worker) else worker)


def gate_of(role: str, index: int) -> str:
    """The flag that opens the gate of a call."""
    return f"open-{role}-{index}"


def _output_name(index: int) -> str:
    return f"output-{index}"


def _keep_output(log: RunLog, index: int, result: Any) -> bool:
    """Store the output of an ``execute``. False if there is no output, or none that could be journaled."""
    try:
        output = normalise_result(result).output
        if output is None:
            return False
        log.keep(_output_name(index), pack_output(output))
    except (TypeError, ValueError, NotSerializableError):
        return False
    return True
