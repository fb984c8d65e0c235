"""The step actor: a process of its own in which user code runs, one attempt at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.step.attempt_file import AttemptFile, Token
from antistrophe.actors.step.call import EXIT_AFTER_CANCEL, Caller, answer_of, answer_of_exception, exit_code_of
from antistrophe.actors.step.stack_dumps import StackFile
from antistrophe.actors.step.step_context import context_of
from antistrophe.actors.step.user_process import REFUSALS, become_user_process, introduce, load_code, refusal
from antistrophe.definition.code_loading import load_step_class
from antistrophe.definition.context import StepContext
from antistrophe.definition.step import build_step, call_step
from antistrophe.messages import (
    Address,
    LoadCode,
    RunStep,
    StepAnswer,
    StepConfiguration,
)
from antistrophe.saga.inputs import Answer


class StepActor(RuntimeActor):
    """Imports the user's step classes, makes one call at a time, and marks its start and its outcome in a file.

    The same attempt told again is answered with what it gave: an attempt runs once, however often it is asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        become_user_process(self)
        self._caller = Caller()
        self._name = ""
        self._marks: AttemptFile | None = None
        self._stacks: StackFile | None = None
        self._last: tuple[Token, Answer] | None = None

    def handlers(self) -> Mapping[type, Handler]:
        return {StepConfiguration: self._on_configuration, LoadCode: self._on_load, RunStep: self._on_run}

    def _on_configuration(self, message: StepConfiguration, sender: Address) -> None:
        self._name = message.name
        self.send(sender, introduce(self, message))

    def _on_load(self, message: LoadCode, sender: Address) -> None:
        self.send(sender, load_code(message, self._name))

    def _on_run(self, message: RunStep, sender: Address) -> None:
        if message.lease_name != self._name:
            return
        token = Token(message.saga_id, message.step, message.action, message.attempt)
        if self._last is None or self._last[0] != token:
            with self._caller.attempt():
                self._last = (token, self._attempt(message, token))
                self._leave_if_cancelled()
        self.send(
            sender,
            StepAnswer(message.saga_id, message.step, message.action, message.attempt, self._name, self._last[1]),
        )

    def _attempt(self, message: RunStep, token: Token) -> Answer:
        assert self.base is not None, "configured before it runs anything"
        try:
            cls = load_step_class(message.origin, message.class_ref)
            step = build_step(cls, message.input)
            context = context_of(message, self.now() + message.limit_s)
            if self._marks is None:
                self._marks = AttemptFile(self.base.home, self._name)
            self._forget_stacks()
            self._leave_if_cancelled()
            self._marks.begin(token, self.now())
        except REFUSALS as error:
            return refusal(message, self.base.home, error)
        answer = self._call(message, step, context)
        try:
            self._marks.finish(token, answer)
        except OSError as error:
            log.error("the outcome of %s of saga %s can't be marked: %s", message.step_name, message.saga_id, error)
        return answer

    def _forget_stacks(self) -> None:
        """Make ready for the stacks of another attempt. An attempt goes on without: they are for people to read."""
        assert self.base is not None, "configured before it runs anything"
        try:
            if self._stacks is None:
                self._stacks = StackFile(self.base.home, self._name)
                self._caller.on_waiting = self._stacks.write_tasks
            self._stacks.begin()
        except OSError as error:
            log.error("no stack of the next attempt can be kept in %s: %s", self.base.home, error)

    def _call(self, message: RunStep, step: Any, context: StepContext) -> Answer:
        assert self.base is not None, "configured before it runs anything"
        try:
            result = self._caller.call(lambda: call_step(step, message.action.value, context), message.limits)
        except BaseException as error:
            # Whatever was raised on the way out: nobody knows how far the call got.
            self._leave_if_cancelled()
            if isinstance(error, SystemExit):
                logging.shutdown()
                os._exit(exit_code_of(error))
            return answer_of_exception(error, message.limits)
        return answer_of(message.action, result, self.base.settings.max_payload_bytes)

    def _leave_if_cancelled(self) -> None:
        """This process is to end: what it has marked says all that it could still say."""
        if self._caller.cancelled:
            logging.shutdown()
            os._exit(EXIT_AFTER_CANCEL)
