"""The complete list of Thespian's own messages that may travel, with the fields of each.

Thespian has more (for conventions of several hosts, for loading sources, for shells); a system of ours does not use
them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from thespian.actors import ActorAddress, ActorExitRequest, ChildActorExited, DeadEnvelope, PoisonMessage
from thespian.system.logdirector import LoggerExitRequest
from thespian.system.messages.admin import (
    HandleDeadLetters,
    PendingActor,
    PendingActorResponse,
    QueryAck,
    QueryExists,
    SystemShutdown,
    SystemShutdownCompleted,
)
from thespian.system.messages.multiproc import EndpointConnected, LoggerConnected

from antistrophe.fast_dataclass import dataclass

_LOG_FIELDS: dict[str, Any] = {
    "name": str,
    "msg": str,
    "levelno": int,
    "levelname": str,
    "pathname": str,
    "filename": str,
    "module": str,
    "lineno": int,
    "funcName": str | None,
    "created": float,
    "msecs": float | int,
    "relativeCreated": float | int,
    "thread": int | None,
    "threadName": str | None,
    "processName": str | None,
    "process": int | None,
    "exc_text": str | None,
    "stack_info": str | None,
    "actorAddress": str | None,
}


@dataclass(frozen=True, slots=True)
class Form:
    """One class of messages: a function that gets its fields, their type hints, and a function that makes the message
    of them. The field at index ``nested`` is a message, which travels as a frame within the frame."""

    cls: type
    write: Callable[[Any], tuple[Any, ...]]
    hints: tuple[Any, ...]
    read: Callable[..., Any]
    nested: int | None = None


def _bare(cls: type) -> Form:
    return Form(cls, lambda _: (), (), cls)


def _log_values(record: Any) -> tuple[Any, ...]:
    values = vars(record)
    return tuple(values.get(name) for name in _LOG_FIELDS)


def _log_record(*values: Any) -> logging.LogRecord:
    return logging.makeLogRecord(dict(zip(_LOG_FIELDS, values, strict=True)))


def _pending_actor(message: PendingActor) -> tuple[Any, ...]:
    if message.targetActorReq is not None or message.sourceHash is not None:
        raise TypeError("an actor of ours has no requirements, and no source but the installed one")
    return message.actorClassName, message.forActor, message.instanceNum, message.globalName


_LISTED = (
    _bare(QueryExists),
    _bare(SystemShutdown),
    _bare(SystemShutdownCompleted),
    _bare(LoggerConnected),
    _bare(LoggerExitRequest),
    Form(
        QueryAck,
        lambda it: (it.systemName, it.systemVersion, it.inShutdown),
        (str, int | str, bool),
        QueryAck,
    ),
    Form(EndpointConnected, lambda it: (it.childInstance,), (int | None,), EndpointConnected),
    Form(ActorExitRequest, lambda it: (bool(it.isRecursive),), (bool,), ActorExitRequest),
    Form(ChildActorExited, lambda it: (it.childAddress,), (ActorAddress,), ChildActorExited),
    Form(
        PendingActor,
        _pending_actor,
        (str, ActorAddress | None, int, str | None),
        lambda name, of, number, global_name: PendingActor(name, of, number, None, global_name),
    ),
    Form(
        PendingActorResponse,
        lambda it: (it.forActor, it.instanceNum, it.globalName, it.errorCode, it.actualAddress, it.errorStr),
        (ActorAddress | None, int, str | None, int | None, ActorAddress | None, str | None),
        PendingActorResponse,
    ),
    Form(
        HandleDeadLetters,
        lambda it: (it.handlerAddr, bool(it.enableHandler)),
        (ActorAddress, bool),
        HandleDeadLetters,
    ),
    Form(PoisonMessage, lambda it: (it.poisonMessage, it.details or ""), (bytes, str), PoisonMessage, nested=0),
    Form(DeadEnvelope, lambda it: (it.deadAddress, it.deadMessage), (ActorAddress, bytes), DeadEnvelope, nested=1),
    Form(logging.LogRecord, _log_values, tuple(_LOG_FIELDS.values()), _log_record),
)

FORMS: dict[str, Form] = {form.cls.__name__: form for form in _LISTED}
"""The forms by the name of their class, which is the kind of their frames."""
