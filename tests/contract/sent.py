"""Samples of what travels between processes: each message of ours in all its forms, and Thespian's own."""

from __future__ import annotations

import logging
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from thespian.actors import ActorExitRequest, ChildActorExited, DeadEnvelope, PoisonMessage
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

from antistrophe import messages
from antistrophe.messages.message import ADDRESS
from antistrophe.serialization.type_hints import field_types
from antistrophe.transport.address import address_of
from antistrophe.transport.codec import MESSAGES, pack_message

PEER = address_of("/run/peer-\udcff")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
SCALARS: dict[Any, tuple[Any, ...]] = {
    str: ("", "text \udc80 ü"),
    bytes: (b"", b"\x00\xff" * 40),
    int: (0, -(2**40)),
    float: (0.5, 3),
    bool: (True, False),
    datetime: (NOW,),
    type(None): (None,),
}
OPEN = ({"a": [1, (2, {3}), None]}, ["text \udc80", PEER, NOW], ({"x": 2**70}, PEER))


def examples(hint: Any) -> list[Any]:
    """Values that a field of this type may have; every alternative among them."""
    if hint is ADDRESS:
        return [PEER]
    if hint in (Any, object) or get_origin(hint) is dict:
        return list(OPEN) if get_origin(hint) is not dict else [{}, {"text": "\udc80", "at": NOW, "limit": 10**30}]
    if hint in SCALARS:
        return list(SCALARS[hint])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return examples(arguments[0])
    if origin is Literal:
        return list(arguments)
    if origin in (Union, types.UnionType):
        return [value for each in arguments for value in examples(each)]
    if origin is tuple and arguments[1:] == (Ellipsis,):
        inner = examples(arguments[0])
        return [(), tuple(inner)]
    if origin is tuple:
        return [tuple(examples(each)[0] for each in arguments)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return list(hint)
    return list(records(hint))


def records(cls: Any) -> Iterator[Any]:
    """Objects of a class, in which each field has each of its examples once."""
    settings = cls.__name__ == "Settings"  # it checks what it is given
    columns = {} if settings else {name: examples(hint) for name, hint in field_types(cls).items()}
    for turn in range(max((len(column) for column in columns.values()), default=1)):
        values = {name: column[turn % len(column)] for name, column in columns.items()}
        values = {name: _fitting(cls, name, value) for name, value in values.items()}
        yield cls(**values)


def _fitting(cls: Any, name: str, value: Any) -> Any:
    """Policies, limits and events refuse what makes no sense."""
    if name == "type_version":
        return 1
    if cls.__name__ in ("RetryPolicy", "ResourceLimits") and isinstance(value, int | float) and name != "jitter":
        return max(1, abs(value)) if name in ("max_attempts", "memory_bytes", "open_files") else abs(value) + 1.0
    return value


def frames() -> list[bytes]:
    return [pack_message(each) for cls in MESSAGES.values() for each in records(cls)]


def thespian_messages() -> list[Any]:
    record = logging.makeLogRecord(
        {"name": "a.b", "msg": "it %s", "args": None, "levelno": 30, "exc_text": "Traceback"}
    )
    return [
        QueryExists(),
        QueryAck("antistrophe", 1, False),
        SystemShutdown(),
        SystemShutdownCompleted(),
        LoggerConnected(),
        LoggerExitRequest(),
        EndpointConnected(3),
        EndpointConnected(None),
        ActorExitRequest(recursive=False),
        ChildActorExited(PEER),
        PendingActor("module.Class", None, 1, None, None),
        PendingActor("module.Class", PEER, 1, None, "name"),
        PendingActorResponse(None, 1, None, errorCode=0xE05, errorStr="no module"),
        PendingActorResponse(PEER, 1, "name", actualAddress=PEER),
        HandleDeadLetters(PEER, True),
        PoisonMessage(messages.DrainSagas(), "Traceback"),
        DeadEnvelope(PEER, ("hear", 1)),
        record,
    ]
