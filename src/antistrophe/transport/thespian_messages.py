"""The messages of Thespian's own that may travel, each with its fields as plain values: the whole list.

Others exist (for conventions of several hosts, for loading sources, for shells); a system of ours has no use for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
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

Types = tuple[type, ...]

_ADDRESS: Types = (ActorAddress,)
_MAYBE_ADDRESS: Types = (ActorAddress, NoneType)
_TEXT: Types = (str,)
_MAYBE_TEXT: Types = (str, NoneType)
_NUMBER: Types = (int,)
_MAYBE_NUMBER: Types = (int, NoneType)
_YES_NO: Types = (bool,)
_FRAME: Types = (bytes,)

_LOG_FIELDS: dict[str, Types] = {
    "name": _TEXT,
    "msg": _TEXT,
    "levelno": _NUMBER,
    "levelname": _TEXT,
    "pathname": _TEXT,
    "filename": _TEXT,
    "module": _TEXT,
    "lineno": _NUMBER,
    "funcName": _MAYBE_TEXT,
    "created": (float,),
    "msecs": (float, int),
    "relativeCreated": (float, int),
    "thread": _MAYBE_NUMBER,
    "threadName": _MAYBE_TEXT,
    "processName": _MAYBE_TEXT,
    "process": _MAYBE_NUMBER,
    "exc_text": _MAYBE_TEXT,
    "stack_info": _MAYBE_TEXT,
    "actorAddress": _MAYBE_TEXT,
}


@dataclass(frozen=True, slots=True)
class Form:
    """One class of messages: how to get its fields, what they may be, and how to make it of them. The field at
    ``nested`` is a message, which travels as a frame within the frame."""

    cls: type
    write: Callable[[Any], tuple[Any, ...]]
    types: tuple[Types, ...]
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
        (_TEXT, (int, str), _YES_NO),
        QueryAck,
    ),
    Form(EndpointConnected, lambda it: (it.childInstance,), (_MAYBE_NUMBER,), EndpointConnected),
    Form(ActorExitRequest, lambda it: (bool(it.isRecursive),), (_YES_NO,), ActorExitRequest),
    Form(ChildActorExited, lambda it: (it.childAddress,), (_ADDRESS,), ChildActorExited),
    Form(
        PendingActor,
        _pending_actor,
        (_TEXT, _MAYBE_ADDRESS, _NUMBER, _MAYBE_TEXT),
        lambda name, of, number, global_name: PendingActor(name, of, number, None, global_name),
    ),
    Form(
        PendingActorResponse,
        lambda it: (it.forActor, it.instanceNum, it.globalName, it.errorCode, it.actualAddress, it.errorStr),
        (_MAYBE_ADDRESS, _NUMBER, _MAYBE_TEXT, _MAYBE_NUMBER, _MAYBE_ADDRESS, _MAYBE_TEXT),
        PendingActorResponse,
    ),
    Form(
        HandleDeadLetters,
        lambda it: (it.handlerAddr, bool(it.enableHandler)),
        (_ADDRESS, _YES_NO),
        HandleDeadLetters,
    ),
    Form(PoisonMessage, lambda it: (it.poisonMessage, it.details or ""), (_FRAME, _TEXT), PoisonMessage, nested=0),
    Form(DeadEnvelope, lambda it: (it.deadAddress, it.deadMessage), (_ADDRESS, _FRAME), DeadEnvelope, nested=1),
    Form(logging.LogRecord, _log_values, tuple(_LOG_FIELDS.values()), _log_record),
)

FORMS: dict[str, Form] = {form.cls.__name__: form for form in _LISTED}
"""By the name of the class, which is the kind of its frames."""
