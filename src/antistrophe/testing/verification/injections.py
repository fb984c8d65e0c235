"""Steps that misbehave on purpose: each wraps a step of the user's, and does to its calls what a plan says.

They run in step processes like any other step, so that the actor system under test needs no hook for them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from antistrophe.definition.code_loading import inside_step_process, load_step_class
from antistrophe.definition.context import Outputs, StepContext, StepResult, normalise_result
from antistrophe.definition.spec import Origin
from antistrophe.definition.step import SagaStep, build_step, call_step, method_of
from antistrophe.errors import FatalError, InDoubtError, NotSerializableError
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.testing.verification.line_tracer import Lines
from antistrophe.testing.verification.run_log import LIFTED, Trail

EXECUTE = "execute"
COMPENSATE = "compensate"

FIRED = "fired"
HELD = "held"
TURNED = "turned"
RETURNED = "returned"
GATE = "gate"


class InjectedError(Exception):
    """What an injected exception is; no code of the user's expects it."""


class Injection(str, Enum):
    """What is done to a call."""

    RAISE = "raise"  # an exception that nobody expects
    DOUBT = "doubt"  # InDoubtError
    MEMORY = "memory"  # an allocation that fails
    HANG = "hang"  # it does not come back
    KILL = "kill"  # SIGKILL of its process
    GARBAGE = "garbage"  # a result that can't travel
    HOLD = "hold"  # it waits for the death of the whole system


class When(str, Enum):
    """Where in a call it is done."""

    BEFORE = "before"  # the user's code has not run
    WITHIN = "within"  # it has come to a certain line
    AFTER = "after"  # it has returned, and nobody has heard of it


@dataclass(frozen=True, slots=True)
class Wrapped:
    """A step of the user's as its definition had it: what it is called, where its class is, its packed input, and the
    names of the steps ``before`` it."""

    index: int
    name: str
    class_ref: str
    input: bytes
    before: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens to the calls of one step in one run.

    ``what`` is done to each call of ``role``, or only to the first with ``once``; WITHIN a call, before its line number
    ``line``. ``traced``: so many of the lines that a call runs are noted. ``gated``: each call waits, when its
    work is done, until the verifier has looked at the world. ``restored``: the undo is given the output of ``execute``
    even in doubt. ``undo_before``: a step whose undo is called before this one's own; ``undone_elsewhere``: this is
    that step, and its own undo does nothing.
    """

    role: str = EXECUTE
    what: Injection | None = None
    when: When = When.BEFORE
    once: bool = False
    line: int | None = None
    traced: int = 0
    gated: bool = False
    restored: bool = False
    undo_before: Wrapped | None = None
    undone_elsewhere: bool = False


@dataclass(frozen=True)
class InjectedStep(SagaStep):
    """A step of the user's, with a plan. Its options are those in its StepSpec, which has the user's."""

    origin: Origin
    wrapped: Wrapped
    folder: str
    plan: Plan

    def __post_init__(self) -> None:
        if inside_step_process():
            # Here and not in the call: the time limit of a call does not count the import of its code.
            self._step(self.wrapped)

    def execute(self, ctx: StepContext) -> Any:
        return self._call(EXECUTE, ctx)

    def compensate(self, ctx: StepContext) -> Any:
        return self._call(COMPENSATE, ctx)

    def verify(self, ctx: StepContext) -> Any:
        return call_step(self._step(self.wrapped), "verify", ctx)

    def _step(self, wrapped: Wrapped) -> SagaStep:
        return build_step(load_step_class(self.origin, wrapped.class_ref), wrapped.input)

    def _call(self, role: str, ctx: StepContext) -> Any:
        trail, plan = Trail(self.folder), self.plan
        if trail.over:
            return None
        armed = plan.what is not None and plan.role == role and not trail.has(LIFTED)
        if armed and plan.when is When.BEFORE:
            self._strike(trail, role)
        if role == COMPENSATE:
            if plan.undone_elsewhere:
                return None
            ctx = self._before_undo(trail, ctx)
        return self._make(trail, role, ctx, armed=armed)

    def _make(self, trail: Trail, role: str, ctx: StepContext, *, armed: bool) -> Any:
        """Have the user's code called, and what follows done."""
        step = self._step(self.wrapped)
        began = time.monotonic()
        lines = self._lines(trail, step, role, armed=armed)
        with lines:
            result = call_step(step, role, ctx)
        if asyncio.iscoroutine(result):
            return self._await(result, lines, lambda value: self._after(value, trail, role, began, lines, armed=armed))
        return self._after(result, trail, role, began, lines, armed=armed)

    async def _await(self, coroutine: Any, lines: Lines, then: Callable[[Any], Any]) -> Any:
        with lines:
            result = await coroutine
        return then(result)

    def _lines(self, trail: Trail, step: SagaStep, role: str, *, armed: bool) -> Lines:
        plan, method = self.plan, method_of(step, role)
        if armed and plan.when is When.WITHIN and not (plan.once and trail.has(FIRED)):
            return Lines(method, plan.line, lambda: self._note_strike(trail, role))
        return Lines(method if plan.traced else None)

    def _after(self, result: Any, trail: Trail, role: str, began: float, lines: Lines, *, armed: bool) -> Any:
        """The user's code has returned."""
        index, took_s = self.wrapped.index, time.monotonic() - began
        gave_output = role == EXECUTE and _keep_output(trail, index, result)
        trail.note(
            RETURNED, role=role, step=index, took_s=took_s, output=gave_output, lines=lines.seen(self.plan.traced)
        )
        if armed and self.plan.when is When.AFTER:
            return self._strike(trail, role, result)
        if self.plan.gated:
            trail.note(GATE, role=role, step=index)
            trail.wait_for(gate_of(role, index))
        return result

    # --- what is done to a call --------------------------------------------------------------------------------

    def _strike(self, trail: Trail, role: str, result: Any = None) -> Any:
        what = self.plan.what
        if self.plan.once and not trail.raise_flag(FIRED):
            return result
        if what is not Injection.HOLD:
            self._note_strike(trail, role)
        match what:
            case Injection.RAISE:
                raise InjectedError("injected by verify_compensable")
            case Injection.DOUBT:
                raise InDoubtError("injected by verify_compensable")
            case Injection.MEMORY:
                return bytearray(sys.maxsize)  # raises MemoryError
            case Injection.HANG:
                while not trail.over:
                    time.sleep(0.05)
            case Injection.KILL:
                os.kill(os.getpid(), signal.SIGKILL)
            case Injection.GARBAGE:
                return StepResult(output=object())
            case Injection.HOLD:
                hold(trail, role, self.wrapped.index)
        return result

    def _note_strike(self, trail: Trail, role: str) -> None:
        trail.raise_flag(FIRED)
        trail.note(FIRED, role=role, step=self.wrapped.index)

    # --- what an undo is given ---------------------------------------------------------------------------------

    def _before_undo(self, trail: Trail, ctx: StepContext) -> StepContext:
        other = self.plan.undo_before
        if other is not None:
            self._undo(other, ctx)
        kept = trail.kept(_output_name(self.wrapped.index)) if self.plan.restored else None
        return ctx if kept is None else replace(ctx, output=unpack_payload(kept))

    def _undo(self, other: Wrapped, ctx: StepContext) -> None:
        """Call the undo of an earlier step out of its turn, with the context that it would have."""
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
        result = call_step(self._step(other), COMPENSATE, given)
        if asyncio.iscoroutine(result):
            asyncio.run(result)


@dataclass(frozen=True)
class TurnBack(SagaStep):
    """The last step of every run: it fails, so that all that was done before is undone."""

    folder: str
    held: bool

    def execute(self, ctx: StepContext) -> None:
        trail = Trail(self.folder)
        if self.held and trail.raise_flag(FIRED):
            hold(trail, EXECUTE, ctx.step_index)
        trail.note(TURNED)
        raise FatalError("every step has run: verify_compensable has the saga turn back")


def hold(trail: Trail, role: str, index: int) -> None:
    """Wait for the death of the whole system, which ends this process too."""
    trail.note(HELD, role=role, step=index)
    trail.wait_for(LIFTED)


def gate_of(role: str, index: int) -> str:
    """The flag that lets a gated call go on."""
    return f"open-{role}-{index}"


def _output_name(index: int) -> str:
    return f"output-{index}"


def _keep_output(trail: Trail, index: int, result: Any) -> bool:
    """Keep the output of an ``execute``; False where it gave none that could be journaled."""
    try:
        output = normalise_result(result).output
        if output is None:
            return False
        trail.keep(_output_name(index), pack_payload(output))
    except (TypeError, ValueError, NotSerializableError):
        return False
    return True
