"""The carrier actor: a process in which the coroutines of many sagas run at the same time, each in its slot."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.step.attempt_file import AttemptFile, Token
from antistrophe.actors.step.call import EXIT_AFTER_CANCEL, answer_of, answer_of_exception
from antistrophe.actors.step.event_loop import Call, EventLoop
from antistrophe.actors.step.loop_watchdog import LOOK_S, LoopWatch
from antistrophe.actors.step.stack_dumps import StackFile, write_tasks_to
from antistrophe.actors.step.step_context import context_of
from antistrophe.actors.step.user_process import REFUSALS, become_user_process, introduce, load_code, refusal
from antistrophe.definition.code_loading import load_step_class
from antistrophe.definition.step import build_step, call_step
from antistrophe.errors import InDoubtError
from antistrophe.messages import (
    Address,
    CallEnded,
    EndCall,
    LoadCode,
    LoopBlocked,
    RunStep,
    StepAnswer,
    StepConfiguration,
)
from antistrophe.saga.inputs import Answer, Refused


class _Slot:
    """What runs in a slot, or ran last: the same attempt told again is answered with what it gave."""

    def __init__(self, token: Token, sender: Address) -> None:
        self.token = token
        self.sender = sender
        self.answer: Answer | None = None


class _Settled:
    """The event loop's thread to the actor: a call is over; with ``answer`` None it was ended."""

    def __init__(self, lease_name: str, answer: Answer | None) -> None:
        self.lease_name = lease_name
        self.answer = answer


class AsyncStepActor(RuntimeActor):
    """Imports the user's step classes, and has an event loop in a thread of its own make the calls."""

    def __init__(self) -> None:
        super().__init__()
        become_user_process(self)
        self._name = ""
        self._slots: dict[str, _Slot] = {}
        self._closed: set[str] = set()
        self._marks: dict[str, AttemptFile] = {}
        self._stacks: StackFile | None = None
        self._loop: EventLoop | None = None
        self._watch: LoopWatch | None = None
        self._watching = False
        self._supervisor: Address = None

    def handlers(self) -> Mapping[type, Handler]:
        return {
            StepConfiguration: self._on_configuration,
            LoadCode: self._on_load,
            RunStep: self._on_run,
            EndCall: self._on_end,
            _Settled: self._on_settled,
            WakeupMessage: self._on_wakeup,
        }

    def _on_configuration(self, message: StepConfiguration, sender: Address) -> None:
        self._name = message.name
        ready = introduce(self, message)
        signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_AFTER_CANCEL))
        _allow_many_files()
        try:
            self._stacks = StackFile(message.base.home, message.name)
        except OSError as error:
            log.error("no stack of the calls can be kept in %s: %s", message.base.home, error)
        self._loop = EventLoop(message.name)
        self._watch, self._supervisor = LoopWatch(self._loop), sender
        self.send(sender, ready)

    def _on_load(self, message: LoadCode, sender: Address) -> None:
        self.send(sender, load_code(message, self._name))

    # --- calls -------------------------------------------------------------------------------------------------

    def _on_run(self, message: RunStep, sender: Address) -> None:
        name = message.lease_name
        if name in self._closed or self._loop is None:
            return
        token = Token(message.saga_id, message.step, message.action, message.attempt)
        slot = self._slots.get(name)
        if slot is not None and slot.token == token:
            slot.sender = sender  # the saga's actor may be another now
            if slot.answer is not None:
                self._tell(name, slot)
        elif slot is None or slot.answer is not None:
            self._slots[name] = _Slot(token, sender)
            self._begin(message, token)
            self._look_later()

    def _begin(self, message: RunStep, token: Token) -> None:
        assert self.base is not None, "configured before it runs anything"
        assert self._loop is not None, "configured before it runs anything"
        home, name, limit_bytes = self.base.home, message.lease_name, self.base.settings.max_payload_bytes
        try:
            step = build_step(load_step_class(message.origin, message.class_ref), message.input)
            context = context_of(message, self.now() + message.limit_s)
            marks = self._marks_of(name)
        except REFUSALS as error:
            return self._settle(name, refusal(message, home, error))

        async def attempt() -> Answer:
            try:
                marks.begin(token, self.now())
            except OSError as error:
                return refusal(message, home, error)
            result = call_step(step, message.action.value, context)
            return answer_of(message.action, await result if asyncio.iscoroutine(result) else result, limit_bytes)

        def settled(outcome: Answer | BaseException | None) -> None:
            answer = answer_of_exception(_without_exit(outcome)) if isinstance(outcome, BaseException) else outcome
            if answer is not None and not isinstance(answer, Refused):
                try:
                    marks.finish(token, answer)
                except OSError as error:
                    log.error("the outcome of %s of %s can't be marked: %s", message.step_name, token.saga_id, error)
            self.hand_over(_Settled(name, answer))

        self._loop.start(Call(name, attempt, settled, lambda tasks: write_tasks_to(home, name, tasks)))
        return None

    def _marks_of(self, name: str) -> AttemptFile:
        assert self.base is not None, "configured before it runs anything"
        marks = self._marks.get(name)
        if marks is None:
            marks = self._marks[name] = AttemptFile(self.base.home, name)
        return marks

    def _settle(self, name: str, answer: Answer) -> None:
        slot = self._slots[name]
        slot.answer = answer
        self._tell(name, slot)

    def _tell(self, name: str, slot: _Slot) -> None:
        token = slot.token
        assert slot.answer is not None, "told once it is known"
        self.send(slot.sender, StepAnswer(token.saga_id, token.step, token.action, token.attempt, name, slot.answer))

    # --- the loop ----------------------------------------------------------------------------------------------

    def _look_later(self) -> None:
        if not self._watching:
            self._watching = True
            self.wake_in(LOOK_S)

    def _on_wakeup(self, _message: WakeupMessage, _sender: Address) -> None:
        assert self._watch is not None, "configured before it runs anything"
        assert self.base is not None, "configured before it runs anything"
        self._watching = False
        unanswered = {name for name, slot in self._slots.items() if slot.answer is None}
        if not unanswered:
            return
        self._look_later()
        block_s = self.base.settings.loop_block_s
        blocker = self._watch.blocker(block_s)
        if blocker is not None and unanswered > {blocker}:  # alone it keeps nobody waiting
            self.send(self._supervisor, LoopBlocked(blocker, block_s))

    # --- their ends --------------------------------------------------------------------------------------------

    def _on_end(self, message: EndCall, sender: Address) -> None:
        name = message.lease_name
        self._closed.add(name)
        slot = self._slots.get(name)
        if slot is None or slot.answer is not None:
            self._forget(name)
            self.send(sender, CallEnded(name))
        else:
            slot.sender = sender
            assert self._loop is not None, "it runs the call"
            self._loop.end(name)

    def _on_settled(self, message: Any, _sender: Address) -> None:
        name, slot = message.lease_name, self._slots.get(message.lease_name)
        if slot is None:
            return
        if name in self._closed:
            # Whatever it came to is in its file; what counts now is that nothing of it is left.
            sender = slot.sender
            self._forget(name)
            self.send(sender, CallEnded(name))
        elif message.answer is not None:
            self._settle(name, message.answer)

    def _forget(self, name: str) -> None:
        self._slots.pop(name, None)
        marks = self._marks.pop(name, None)
        if marks is not None:
            marks.close()


def _without_exit(error: BaseException) -> BaseException:
    """An exit would end the calls of others; what is meant is that this one does not go on."""
    return (
        InDoubtError(f"the step ended itself: SystemExit({error.code!r})") if isinstance(error, SystemExit) else error
    )


def _allow_many_files() -> None:
    """Each call has a file of its own, and sockets of the user's."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
