"""The step actor: user code runs in its process, one attempt at a time."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.step.attempt_file import AttemptFile, AttemptId
from antistrophe.actors.step.call import EXIT_AFTER_CANCEL, Caller, answer_of, fresh_context
from antistrophe.actors.step.fingerprint import Fingerprint
from antistrophe.actors.step.leftovers import Leftovers
from antistrophe.actors.step.raised import answer_of_exception, exit_of
from antistrophe.actors.step.stack_dumps import StackFile
from antistrophe.actors.step.step_context import context_of
from antistrophe.actors.step.stored_outputs import StoredOutputs
from antistrophe.actors.step.user_process import (
    REFUSALS,
    become_user_process,
    configure_user_process,
    import_steps,
    keep_outcome,
    leave_if_changed,
    not_loaded,
    refusal,
)
from antistrophe.actors.step.worker_resources import WorkerResources
from antistrophe.definition.calling import build_step, call_step
from antistrophe.definition.code_loading import CodeNotLoadableError, load_step_class
from antistrophe.definition.context import StepContext
from antistrophe.definition.step import StepSource
from antistrophe.messages import (
    Address,
    CallOver,
    CodeLoaded,
    CodeNotLoaded,
    LoadCode,
    RunStep,
    StepAnswer,
    StepConfiguration,
)
from antistrophe.saga.inputs import Answer, Exited


class StepActor(RuntimeActor):
    """Imports the user's step classes, makes one call at a time, and writes its start and outcome to an attempt file.

    An attempt runs once, however often a message asks for it: later messages get the answer of the first.
    """

    role = "step"

    def __init__(self) -> None:
        super().__init__()
        become_user_process(self)
        self._caller = Caller(self._look_at_process)
        self._name = ""
        self._attempt_file: AttemptFile | None = None
        self._stacks: StackFile | None = None
        self._last: tuple[AttemptId, Answer] | None = None
        self._outcome_kept = False
        self._leftovers = Leftovers()
        self._fingerprint = Fingerprint()
        self._spoilt: str | None = None
        self._resources = WorkerResources()
        self._caller.on_end = self._close_resources
        self._over: CallOver | None = None
        self._supervisor: Address = None

    def handlers(self) -> Mapping[type, Handler]:
        return {StepConfiguration: self._on_configuration, LoadCode: self._on_load, RunStep: self._on_run}

    def _on_configuration(self, message: StepConfiguration, sender: Address) -> None:
        self._name, self._supervisor = message.name, sender
        self._stored_outputs = StoredOutputs.of_system(message.base)
        ready, self._speakers = configure_user_process(self, message, self._lay_down(message.base.home))
        self._speakers.is_late = self._leftovers.is_left
        self.send(sender, ready)

    def _lay_down(self, home: str) -> str:
        """Have the attempt file there before any attempt. Returns its identity."""
        try:
            self._attempt_file = AttemptFile(home, self._name)
        except OSError as error:
            log.error("no attempt file can be made in %s: %s; it is tried again for the next attempt", home, error)
            return ""
        return self._attempt_file.identity

    def _on_load(self, message: LoadCode, sender: Address) -> None:
        answer: CodeLoaded | CodeNotLoaded
        try:
            files = import_steps(message)
            self._start_resources()
            answer = CodeLoaded(self._name, message.class_refs, self._resources.to_close, files)
        except CodeNotLoadableError as error:
            answer = not_loaded(self._name, message, error, to_close=self._resources.to_close)
        self._caller.take_signals()
        self._leftovers.belong()
        self._fingerprint.belong()
        self.send(sender, answer)

    def _start_resources(self) -> None:
        """Make what is to live as long as this process. Raises CodeNotLoadableError."""
        self._resources.start(self._caller.loop.run_apart)

    def _close_resources(self) -> None:
        self._resources.close(self._caller.loop.run_apart)

    def _look_at_process(self) -> None:
        self._spoilt = self._fingerprint.look()
        if self._fingerprint.mended and self._stacks is not None:
            self._stacks.close()  # its handlers may be gone
            self._stacks = None

    def _on_run(self, message: RunStep, sender: Address) -> None:
        if message.lease_name != self._name:
            return
        attempt_id = AttemptId(message.saga_id, message.step, message.action, message.attempt)
        if self._last is None or self._last[0] != attempt_id:
            own_files = self.own_files(connections=True)
            with self._caller.attempt:
                self._last = (attempt_id, self._attempt(message, attempt_id))
                self._leave_if_cancelled()
            leave_if_changed(own_files, message)
            left = self._leftovers.look() if self._spoilt is None else None  # one that is spoilt may not be able to
            if message.fresh and left is None and self._spoilt is None:
                self._close_resources()
            if left is not None or self._spoilt is not None or (message.fresh and self._outcome_kept):
                self._over = CallOver(self._name, message.class_ref, left, self._spoilt)
        if self._over is not None:
            self.send(self._supervisor, self._over)
            return
        self.send(
            sender,
            StepAnswer(message.saga_id, message.step, message.action, message.attempt, self._name, self._last[1]),
        )

    def _attempt(self, message: RunStep, attempt_id: AttemptId) -> Answer:
        assert self.base is not None, "configured before it runs anything"
        self._outcome_kept = False
        try:
            # Outside of the attempt's context: a module is imported once, and what it sets holds for every attempt.
            source = load_step_class(message.origin, message.class_ref)
        except REFUSALS as error:
            return refusal(message, self.base.home, error)
        return fresh_context().run(self._attempt_with, source, message, attempt_id)

    def _attempt_with(self, source: StepSource, message: RunStep, attempt_id: AttemptId) -> Answer:
        assert self.base is not None, "configured before it runs anything"
        action, speakers = message.action.value, self._speakers
        speakers.begin(speakers.output_of(message.saga_id, message.step_name, action, message.run))
        try:
            step = build_step(source, message.input, message.computed)
            if self._resources.missing():  # the step itself has imported other modules
                self._start_resources()
                self._leftovers.belong()
                self._fingerprint.belong()
            worker = self._resources.seen_from(source)
            context = context_of(message, self.wall() + message.limit_s, worker, self._stored_outputs)
            if self._attempt_file is None:
                self._attempt_file = AttemptFile(self.base.home, self._name)
            self._begin_stacks()
            self._leave_if_cancelled()
            self._attempt_file.begin(attempt_id, self.now())
        except REFUSALS as error:
            speakers.end()
            return refusal(message, self.base.home, error)
        answer = self._call(message, step, context)
        speakers.end()
        self._outcome_kept = keep_outcome(self._attempt_file, attempt_id, answer, message)
        if isinstance(answer, Exited):
            self._exit(answer.exit_code)
        return answer

    def _begin_stacks(self) -> None:
        """Have a file ready for the stacks of the next attempt. The attempt runs without one, too: only people read
        stacks."""
        assert self.base is not None, "configured before it runs anything"
        try:
            if self._stacks is None or not self._stacks.begin():
                self._stacks = StackFile(self.base.home, self._name)
                self._stacks.begin()
                self._caller.on_waiting = self._stacks.write_tasks
        except OSError as error:
            log.error("the stacks of the next attempt can't be kept in %s: %s", self.base.home, error)

    def _call(self, message: RunStep, step: Any, context: StepContext) -> Answer:
        assert self.base is not None, "configured before it runs anything"
        try:
            result = self._caller.call(lambda: call_step(step, message.action.value, context), message.limits)
        except BaseException as error:
            # A cancelled call may raise anything on its way out, and nobody knows how far it got.
            self._leave_if_cancelled()
            if isinstance(error, SystemExit):
                ended = exit_of(error)
                return ended if isinstance(ended, Exited) else self._exit(ended)
            return answer_of_exception(error, message.limits)
        return answer_of(message.action, result, self.base.settings.max_payload_bytes)

    def _leave_if_cancelled(self) -> None:
        """End the process if it was told to. Its attempt file says all that an answer could say."""
        if self._caller.cancelled:
            self._exit(EXIT_AFTER_CANCEL)

    def _exit(self, code: int) -> NoReturn:
        self._speakers.end()
        logging.shutdown()
        os._exit(code)
