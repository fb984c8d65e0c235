"""The async worker: coroutines of many sagas run in its process at the same time, each in a slot of its own."""

from __future__ import annotations

import inspect
import os
import resource
import signal
from collections.abc import Callable, Mapping
from typing import Any

from thespian.actors import WakeupMessage

from antistrophe.actors.base import Handler, RuntimeActor, log
from antistrophe.actors.step.attempt_file import AttemptFile, AttemptId
from antistrophe.actors.step.call import EXIT_AFTER_CANCEL, answer_of, fresh_context
from antistrophe.actors.step.event_loop import Call, EventLoop
from antistrophe.actors.step.fingerprint import Fingerprint
from antistrophe.actors.step.loop_watchdog import LOOK_S, LoopWatchdog
from antistrophe.actors.step.raised import answer_of_exception
from antistrophe.actors.step.stack_dumps import StackFile, write_tasks_to
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
from antistrophe.definition.code_files import FileStamp
from antistrophe.definition.code_loading import CodeNotLoadableError, load_step_class
from antistrophe.definition.step import StepSource
from antistrophe.errors import InDoubtError
from antistrophe.logs.speaking import speak_as
from antistrophe.messages import (
    Address,
    CallEnded,
    CallOver,
    CodeLoaded,
    EndCall,
    LoadCode,
    LoopBlocked,
    ProcessSpoilt,
    RunStep,
    StepAnswer,
    StepConfiguration,
)
from antistrophe.saga.inputs import Answer, Refused


class _Slot:
    """The attempt that runs in a slot, or ran there last, with its answer: the same attempt asked for again gets it."""

    def __init__(self, attempt_id: AttemptId, step_class: str, sender: Address) -> None:
        self.attempt_id = attempt_id
        self.step_class = step_class
        self.sender = sender
        self.answer: Answer | None = None
        self.over: CallOver | None = None


class _CallSettled:
    """From the event loop's thread to the actor: a call is over. ``answer`` is None where the call was ended. ``left``:
    the threads and processes that it has left, in words."""

    def __init__(self, lease_name: str, answer: Answer | None, left: str | None) -> None:
        self.lease_name = lease_name
        self.answer = answer
        self.left = left


class _ResourcesStarted:
    """From the event loop's thread to the actor: what the message's classes need is made, or ``error`` says why not.
    ``files``: what was loaded for them."""

    def __init__(
        self, message: LoadCode, files: tuple[FileStamp, ...], sender: Address, error: BaseException | None
    ) -> None:
        self.message = message
        self.files = files
        self.sender = sender
        self.error = error


class AsyncStepActor(RuntimeActor):
    """Imports the user's step classes, and has an event loop in another thread make the calls.

    The actor's thread receives messages and watches the loop, so a call that blocks the loop does not block the actor.
    """

    role = "step"

    def __init__(self) -> None:
        super().__init__()
        become_user_process(self)
        self._name = ""
        self._slots: dict[str, _Slot] = {}
        self._closed: set[str] = set()
        self._attempt_files: dict[str, AttemptFile] = {}
        self._stacks: StackFile | None = None
        self._loop: EventLoop | None = None
        self._watchdog: LoopWatchdog | None = None
        self._resources = WorkerResources()
        self._ending = False
        self._wakeup_is_due = False
        self._supervisor: Address = None
        self._fingerprint = Fingerprint()
        self._spoilt: ProcessSpoilt | CallOver | None = None

    def handlers(self) -> Mapping[type, Handler]:
        return {
            StepConfiguration: self._on_configuration,
            LoadCode: self._on_load,
            RunStep: self._on_run,
            EndCall: self._on_end,
            _CallSettled: self._on_settled,
            _ResourcesStarted: self._on_resources_started,
            WakeupMessage: self._on_wakeup,
        }

    def _on_configuration(self, message: StepConfiguration, sender: Address) -> None:
        self._name = message.name
        self._stored_outputs = StoredOutputs.of_system(message.base)
        ready, self._speakers = configure_user_process(self, message)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        _allow_many_files()
        try:
            self._stacks = StackFile(message.base.home, message.name)
        except OSError as error:
            log.error("the stacks of the calls can't be kept in %s: %s", message.base.home, error)
        self._loop = EventLoop(message.name)
        self._watchdog, self._supervisor = LoopWatchdog(self._loop), sender
        self.send(sender, ready)

    def _on_load(self, message: LoadCode, sender: Address) -> None:
        try:
            files = import_steps(message)
        except CodeNotLoadableError as error:
            self._loaded(_ResourcesStarted(message, (), sender, error))
        else:
            self._start_resources(lambda error: self.hand_over(_ResourcesStarted(message, files, sender, error)))

    def _start_resources(self, done: Callable[[BaseException | None], None]) -> None:
        """Make what is to live as long as this process, on its loop, beside the calls that run there."""
        if self._loop is None or not self._resources.missing():
            done(None)
        else:
            self._loop.run_apart(self._resources.start_on_loop(), done)

    def _on_resources_started(self, started: _ResourcesStarted, _sender: Address) -> None:
        self._loaded(started)

    def _loaded(self, started: _ResourcesStarted) -> None:
        if self._loop is not None and all(slot.answer is not None for slot in self._slots.values()):
            self._loop.belong()
        self._fingerprint.belong()
        to_close = self._resources.to_close
        if started.error is None:
            self.send(started.sender, CodeLoaded(self._name, started.message.class_refs, to_close, started.files))
        else:
            self.send(started.sender, not_loaded(self._name, started.message, started.error, to_close=to_close))

    def _on_sigterm(self, *_: Any) -> None:
        """Close what was made at the start, where no call runs, and end the process."""
        busy = any(slot.answer is None for slot in self._slots.values())
        if busy or self._ending or self._loop is None or not self._resources.to_close:
            os._exit(EXIT_AFTER_CANCEL)
        self._ending = True
        self._loop.run_apart(self._resources.close_on_loop(), lambda _: os._exit(EXIT_AFTER_CANCEL))

    # --- calls -------------------------------------------------------------------------------------------------

    def _on_run(self, message: RunStep, sender: Address) -> None:
        name = message.lease_name
        if name in self._closed or self._loop is None:
            return
        attempt_id = AttemptId(message.saga_id, message.step, message.action, message.attempt)
        slot = self._slots.get(name)
        if slot is not None and slot.attempt_id == attempt_id:
            slot.sender = sender  # the saga may have another actor now
            if slot.answer is not None:
                self._tell(name, slot)
        elif slot is None or slot.answer is not None:
            self._slots[name] = _Slot(attempt_id, message.class_ref, sender)
            self._load_and_begin(message, attempt_id)
            self._wake_soon()

    def _load_and_begin(self, message: RunStep, attempt_id: AttemptId) -> None:
        assert self.base is not None, "configured before it runs anything"
        if self._spoilt is not None:
            self.send(self._supervisor, self._spoilt)  # the first one may be lost
            why = "a call has spoilt the process, which makes no more calls; another one makes this call"
            return self._settle(message.lease_name, Refused(why))
        try:
            # Outside of the call's context: a module is imported once, and what it sets holds for every call.
            source = load_step_class(message.origin, message.class_ref)
        except REFUSALS as error:
            self._settle(message.lease_name, refusal(message, self.base.home, error))
        else:
            fresh_context().run(self._begin, source, message, attempt_id)
        return None

    def _begin(self, source: StepSource, message: RunStep, attempt_id: AttemptId) -> None:
        assert self.base is not None, "configured before it runs anything"
        assert self._loop is not None, "configured before it runs anything"
        loop, resources, own_files = self._loop, self._resources, self.own_files(connections=False)
        home, name, limit_bytes = self.base.home, message.lease_name, self.base.settings.max_payload_bytes
        output = self._speakers.output_of(message.saga_id, message.step_name, message.action.value, message.run)
        speak_as(output)
        try:
            step = build_step(source, message.input, message.computed)
            worker = self._resources.seen_from(source)
            context = context_of(message, self.wall() + message.limit_s, worker, self._stored_outputs)
            attempt_file = self._attempt_file(name)
        except REFUSALS as error:
            output.end()
            return self._settle(name, refusal(message, home, error))

        async def attempt() -> Answer:
            try:
                if resources.missing():  # the step itself has imported other modules
                    await loop.apart(resources.start_on_loop())
                attempt_file.begin(attempt_id, self.now())
            except REFUSALS as error:
                return refusal(message, home, error)
            result = call_step(step, message.action.value, context)
            return answer_of(message.action, await result if inspect.iscoroutine(result) else result, limit_bytes)

        def settled(outcome: Answer | BaseException | None, left: str | None) -> None:
            output.end()
            answer = answer_of_exception(_without_exit(outcome)) if isinstance(outcome, BaseException) else outcome
            if answer is not None and not isinstance(answer, Refused):
                keep_outcome(attempt_file, attempt_id, answer, message)
            leave_if_changed(own_files, message)
            self.hand_over(_CallSettled(name, answer, left))

        loop.start(Call(name, attempt, settled, lambda tasks: write_tasks_to(home, name, tasks)))
        return None

    def _attempt_file(self, name: str) -> AttemptFile:
        assert self.base is not None, "configured before it runs anything"
        file = self._attempt_files.get(name)
        if file is None:
            file = self._attempt_files[name] = AttemptFile(self.base.home, name)
        return file

    def _settle(self, name: str, answer: Answer) -> None:
        slot = self._slots[name]
        slot.answer = answer
        self._tell(name, slot)

    def _tell(self, name: str, slot: _Slot) -> None:
        attempt, answer = slot.attempt_id, slot.answer
        assert answer is not None, "told once it is known"
        if slot.over is not None:  # the saga hears of the answer when nothing of the call is left
            self.send(self._supervisor, slot.over)
            return
        self.send(slot.sender, StepAnswer(attempt.saga_id, attempt.step, attempt.action, attempt.attempt, name, answer))

    # --- the loop ----------------------------------------------------------------------------------------------

    def _wake_soon(self) -> None:
        if not self._wakeup_is_due:
            self._wakeup_is_due = True
            self.wake_in(LOOK_S)

    def _on_wakeup(self, _message: WakeupMessage, _sender: Address) -> None:
        assert self._watchdog is not None, "configured before it runs anything"
        assert self.base is not None, "configured before it runs anything"
        self._wakeup_is_due = False
        unanswered = {name for name, slot in self._slots.items() if slot.answer is None}
        if not unanswered:
            return
        self._wake_soon()
        block_s = self.base.settings.loop_block_s
        blocker = self._watchdog.blocker(block_s)
        if blocker is not None and unanswered > {blocker}:  # a call that is alone keeps nobody waiting
            self.send(self._supervisor, LoopBlocked(blocker, block_s))

    # --- ends of calls -----------------------------------------------------------------------------------------

    def _on_end(self, message: EndCall, sender: Address) -> None:
        name = message.lease_name
        self._closed.add(name)
        slot = self._slots.get(name)
        if slot is not None and slot.over is not None:
            self.send(self._supervisor, slot.over)
        elif slot is None or slot.answer is not None:
            self._forget(name)
            self.send(sender, CallEnded(name))
        else:
            slot.sender = sender
            assert self._loop is not None, "the loop runs the call"
            self._loop.end(name)

    def _on_settled(self, message: Any, _sender: Address) -> None:
        name, slot = message.lease_name, self._slots.get(message.lease_name)
        if slot is None:
            return
        self._look_at_process(slot)
        if name in self._closed:
            # The attempt file has the outcome; the supervisor waits for the proof that nothing of the call is left.
            sender = slot.sender
            self._forget(name)
            self.send(sender, CallEnded(name))
        elif message.answer is not None:
            if message.left is not None:
                slot.over = CallOver(name, slot.step_class, message.left, None)
                self._spoilt = self._spoilt or slot.over
            self._settle(name, message.answer)

    def _look_at_process(self, ended: _Slot) -> None:
        """A call has ended. One that has changed the process for good has nobody else called here."""
        assert self._loop is not None, "the loop has run the call"
        alone = all(slot is ended or slot.answer is not None for slot in self._slots.values())
        spoilt = self._fingerprint.look(alone=alone) or self._loop.spoilt
        if spoilt is not None and self._spoilt is None:
            self._spoilt = ProcessSpoilt(self._name, ended.step_class, spoilt)
            self.send(self._supervisor, self._spoilt)

    def _forget(self, name: str) -> None:
        self._slots.pop(name, None)
        file = self._attempt_files.pop(name, None)
        if file is not None:
            file.close()


def _without_exit(error: BaseException) -> BaseException:
    """An InDoubtError for a SystemExit, which would end the calls of other sagas; any other error as it is."""
    if isinstance(error, SystemExit):
        doubt = InDoubtError(f"the step ended itself: SystemExit({error.code!r})")
        return doubt.with_traceback(error.__traceback__)
    return error


def _allow_many_files() -> None:
    """Raise the soft limit of open files: each call has an attempt file, and the user's sockets."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
