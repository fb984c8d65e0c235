"""What a step process and an async worker have in common: their place in the system, imports, and refusals."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace

from antistrophe.actors.base import RuntimeActor, log
from antistrophe.actors.step.attempt_file import AttemptFile, AttemptId
from antistrophe.actors.step.stack_dumps import STACK_SIGNAL
from antistrophe.definition.calling import prepare_step
from antistrophe.definition.code_files import FileStamp, stamp_of
from antistrophe.definition.code_loading import CodeNotLoadableError, load_step_class, mark_step_process
from antistrophe.definition.relocation import other_place
from antistrophe.errors import JournalError, UnreadableDataError
from antistrophe.journal import journal_path
from antistrophe.linux.control_groups import enter_group
from antistrophe.linux.descendants import mark_step_descendants
from antistrophe.linux.descriptor import OpenFile, changed, give_up_files
from antistrophe.linux.open_files import restore_open_files_limit
from antistrophe.linux.process import become_subreaper, identity_of
from antistrophe.logs.caller_level import LEVEL_VARIABLE, level_in
from antistrophe.logs.listening import listen
from antistrophe.logs.speaking import Speakers
from antistrophe.messages import CodeNotLoaded, LoadCode, RunStep, StepConfiguration, StepReady
from antistrophe.saga.entries import Lease
from antistrophe.saga.inputs import Answer, Refused

REFUSALS = (CodeNotLoadableError, UnreadableDataError, JournalError, OSError)
"""What can keep an attempt from its call; nothing of the user's has run then."""

_OF_THE_SYSTEM = b"ANTISTROPHE_"

EXIT_WITHOUT_DESCRIPTORS = 74
"""The exit code of a process whose own descriptors user code has closed (EX_IOERR of sysexits.h)."""


def become_user_process(actor: RuntimeActor) -> None:
    """Make this process one of user code; the actor's ``__init__`` calls this."""
    # The process leads a group of its own, so that what user code starts can be ended with it.
    os.setpgid(0, 0)
    actor.die_with_parent()
    become_subreaper()  # what a step has started stays below its process, and can be seen there
    os.register_at_fork(after_in_child=_die_of_sigterm)
    restore_open_files_limit()
    # As in any Python: a file that grows over the limit is an OSError. Thespian's handler would write to a file, too.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    mark_step_process()


def _die_of_sigterm() -> None:
    """In a fork that a step makes: SIGTERM ends it, as it ends that of a script. A handler in Python would miss one
    that comes just before a call that blocks, and who waits for the end of a Pool would wait for ever."""
    handler = signal.getsignal(signal.SIGTERM)
    if str(getattr(handler, "__module__", "")).startswith("antistrophe."):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def configure_user_process(
    actor: RuntimeActor, message: StepConfiguration, attempt_file: str | None = None
) -> tuple[StepReady, Speakers]:
    """Configure the process; the answer for the supervisor, to be sent once all is ready, and who speaks here.
    ``attempt_file``: the identity of the attempt file of the process; None where many calls run in it, each with a file
    of its own."""
    actor.configure(message.base)
    root_level = None
    if message.environment is not None:
        environment = dict(message.environment)
        root_level = level_in(environment.pop(LEVEL_VARIABLE, b""))
        take_environment(environment)
    speakers = listen(message.base.home, message.base.settings, root_level, many=attempt_file is None)
    give_up_files(os.path.realpath(journal_path(message.base.home)))  # and those beside it: -wal, -shm
    mark_step_descendants(message.name)
    if message.group:
        try:
            enter_group(message.group)
        except OSError as error:
            log.warning("the control group %s can't be entered (%s): the fence has marks alone", message.group, error)
    signal.signal(STACK_SIGNAL, signal.SIG_IGN)  # until there is a file for the stacks
    identity = identity_of(os.getpid())
    assert identity is not None, "this process lives"
    settings = message.base.settings
    lease = Lease(
        message.name,
        identity.pid,
        identity.start_ticks,
        identity.boot_id,
        attempt_file=attempt_file or "",
        host="" if settings.journal is None else settings.host,
    )
    return StepReady(lease), speakers


def take_environment(wanted: Mapping[bytes, bytes]) -> None:
    """Have user code see these variables, and of those that this process has only the system's own."""
    for name in [*os.environb]:
        if name not in wanted and not name.startswith(_OF_THE_SYSTEM):
            del os.environb[name]
    for name, value in wanted.items():
        if os.environb.get(name) != value:
            with contextlib.suppress(OSError, ValueError):  # a name that the C library does not take
                os.environb[name] = value
    # What this process had read from its own environment.
    time.tzset()
    tempfile.tempdir = None


# What this process has loaded, by path: a file is read once, whatever becomes of it.
_stamps: dict[str, FileStamp] = {}


def import_steps(message: LoadCode) -> tuple[FileStamp, ...]:
    """Import the step classes that the message names. Returns the versions of their files. Raises
    CodeNotLoadableError."""
    began_ns, files = time.time_ns(), {}
    for ref in message.class_refs:
        source = load_step_class(message.origin, ref)
        prepare_step(source)
        path = getattr(sys.modules.get(source.__module__), "__file__", None)
        if isinstance(path, str):
            files[path] = _stamps.setdefault(path, _stamp(path, began_ns))
    return tuple(files.values())


def _stamp(path: str, began_ns: int) -> FileStamp:
    """The version of a file that was read just now. One that has changed meanwhile has another one soon."""
    stamp = stamp_of(path)
    return replace(stamp, changed_ns=0) if began_ns <= stamp.changed_ns <= time.time_ns() else stamp


def not_loaded(name: str, message: LoadCode, error: BaseException, *, to_close: bool) -> CodeNotLoaded:
    """The answer that the step classes can't be imported here, with the place that has them, where theirs is gone."""
    unguarded = isinstance(error, CodeNotLoadableError) and error.unguarded
    found = other_place(message.origin, message.class_refs, message.programs)
    return CodeNotLoaded(name, str(error), to_close, unguarded, found)


def leave_if_changed(files: Mapping[int, OpenFile | None], message: RunStep) -> None:
    """End the process if its own descriptors are not what they were before a call. Whatever it sent now could go into a
    file of the user's; its attempt file says all that an answer could say."""
    lost = changed(files)
    if lost:
        log.warning(
            "step %s has closed descriptors that it did not open (%s), so its process is ended; close only what the "
            "step has opened",
            message.step_name,
            ", ".join(map(str, sorted(lost))),
            extra={"saga_id": message.saga_id},
        )
        logging.shutdown()
        os._exit(EXIT_WITHOUT_DESCRIPTORS)


def keep_outcome(file: AttemptFile, attempt_id: AttemptId, answer: Answer, message: RunStep) -> bool:
    """Write how the call has ended to its attempt file. False where the disk refuses."""
    try:
        file.finish(attempt_id, answer)
    except OSError as error:
        saga_id = message.saga_id
        text = "the outcome of step %s of saga %s can't be written: %s"
        log.error(text, message.step_name, saga_id, error, extra={"saga_id": saga_id})
        return False
    return True


def refusal(message: RunStep, home: str, error: Exception) -> Refused:
    """Why the attempt was not made; ``error`` is one of REFUSALS."""
    if isinstance(error, CodeNotLoadableError):
        return Refused(str(error))
    if isinstance(error, UnreadableDataError):
        return Refused(f"the journaled input of step {message.step_name} no longer fits its class: {error}")
    if isinstance(error, JournalError):
        return Refused(f"the output of step {message.step_name} can't be read: {error}")
    return Refused(f"the start of step {message.step_name} can't be written to an attempt file in {home}: {error}")
