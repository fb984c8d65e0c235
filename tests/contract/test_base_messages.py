"""What travels between processes: every message of ours comes back as it was, Thespian's are listed, and garbage is
nothing but garbage."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import logging
import pickle
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thespian.actors import (
    ActorExitRequest,
    ActorSystemMessage,
    ChildActorExited,
    DeadEnvelope,
    PoisonMessage,
)
from thespian.system.addressManager import ActorAddressManager, CannotPickleAddress
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
from antistrophe.errors import NotSerializableError
from antistrophe.hints import field_types
from antistrophe.messages.base import ADDRESS
from antistrophe.records import SagaChange, SagaMetadata, SagaStatus, StepRecord, StepStatus, TimelineEntry
from antistrophe.system.address import address_of
from antistrophe.system.codec import MESSAGES, pack_message, unpack_message
from antistrophe.system.fields import MalformedError
from antistrophe.system.thespian_forms import FORMS

PEER = address_of("/run/peer-\udcff")
NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
STEP = StepRecord("Debit", 0, StepStatus.RUNNING, 1, False, NOW, None, None, 123)
SAGA = SagaMetadata("s", "transfer", SagaStatus.EXECUTING, 1, 2, NOW, NOW, steps=(STEP,))
SCALARS: dict[Any, tuple[Any, ...]] = {
    str: ("", "text \udc80 ü"),
    bytes: (b"", b"\x00\xff" * 40),
    int: (0, -(2**40)),
    float: (0.5, 3),
    bool: (True, False),
    datetime: (NOW,),
    type(None): (None,),
}
OPEN = ({"a": [1, (2, {3}), None]}, [SAGA, SagaChange(7, SAGA)], (TimelineEntry(1, 1, NOW, "k", {"x": 2**70}), PEER))

for module in ("convention", "logcontrol", "status"):  # so that their classes are there to be found
    importlib.import_module(f"thespian.system.messages.{module}")

# Classes of Thespian's own that a system of ours never sends from one process to another.
NOT_SENT = {
    "ChildMayHaveDied": "within a process",
    "WakeupMessage": "within a process",
    "WatchMessage": "within a process",
    "CapabilityUpdate": "capabilities never change",
    "NewCapabilities": "capabilities never change",
    "SetLogging": "for shells",
    "Thespian_StatusReq": "for shells",
    "_Common_StatusResp": "for shells",
    "Thespian_SystemStatus": "for shells",
    "Thespian_ActorStatus": "for shells",
    "LoggerFileDup": "for shells",
    "LogAggregator": "conventions of several hosts",
    "ActorSystemConventionUpdate": "conventions of several hosts",
    "ConventionRegister": "conventions of several hosts",
    "ConventionDeRegister": "conventions of several hosts",
    "ConventionInvite": "conventions of several hosts",
    "NotifyOnSystemRegistration": "conventions of several hosts",
    "RegisterSourceAuthority": "sources are installed, not loaded",
    "NotifyOnSourceAvailability": "sources are installed, not loaded",
    "ValidateSource": "sources are installed, not loaded",
    "ValidatedSource": "sources are installed, not loaded",
    "LoadedSource": "sources are installed, not loaded",
    "UnloadedSource": "sources are installed, not loaded",
    "_SourceChangeNotification": "sources are installed, not loaded",
    "SourceHashTransferRequest": "sources are installed, not loaded",
    "SourceHashTransferReply": "sources are installed, not loaded",
}


def examples(hint: Any) -> list[Any]:
    """Values that a field of this type may have; every alternative among them."""
    if hint is ADDRESS:
        return [PEER]
    if hint in (Any, object) or get_origin(hint) is dict:
        return list(OPEN) if get_origin(hint) is not dict else [{}, {"status": SagaStatus.FAILED, "limit": 10**30}]
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
    """Policies and limits refuse what makes no sense."""
    if cls.__name__ in ("RetryPolicy", "ResourceLimits") and isinstance(value, int | float) and name != "jitter":
        return max(1, abs(value)) if name in ("max_attempts", "memory_bytes", "open_files") else abs(value) + 1.0
    return value


def frames() -> list[bytes]:
    return [pack_message(each) for cls in MESSAGES.values() for each in records(cls)]


@pytest.mark.parametrize("name", [name for name in messages.__all__ if name in MESSAGES])
def test_every_message_comes_back_as_it_was(name: str) -> None:
    made = list(records(MESSAGES[name]))
    for message in made:
        back = unpack_message(pack_message(message))
        assert type(back) is type(message)
        assert back == message
        for field in dataclasses.fields(message):
            assert type(getattr(back, field.name)) is type(getattr(message, field.name))


def test_every_message_is_known() -> None:
    classes = {name for name in messages.__all__ if hasattr(getattr(messages, name), "__dataclass_fields__")}
    assert classes == set(MESSAGES)
    assert set(MESSAGES.values()) > messages.REPEATED


@pytest.mark.parametrize("value", [*OPEN, "text", 1, None, ("hear", PEER, [b"x"]), {"a": {"b": (1,)}}])
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    back = unpack_message(pack_message(value))
    assert type(back) is type(value)
    assert back == value


@pytest.mark.parametrize("value", [object(), lambda: None, {"a": object()}, ("x", NOW.__class__)])
def test_what_is_on_no_list_can_not_be_sent(value: Any) -> None:
    with pytest.raises(NotSerializableError, match="can't travel"):
        pack_message(value)


def test_a_child_s_address_travels_as_soon_as_it_is_known() -> None:
    manager: Any = ActorAddressManager(address_of("/admin"), address_of("/me"))  # type: ignore[call-arg]
    local = manager.createLocalAddress()
    for message in (messages.RegistryQuery(messages.Query("c", "get"), local), ("plain", local)):
        with pytest.raises(CannotPickleAddress):
            pack_message(message)
    manager.associateUseableAddress(address_of("/me"), 0, address_of("/child"))
    assert unpack_message(pack_message(("plain", local))) == ("plain", address_of("/child"))


# --- Thespian's own -------------------------------------------------------------------------------------------------


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


def test_thespian_s_messages_come_back_as_they_were() -> None:
    assert {type(each).__name__ for each in thespian_messages()} == set(FORMS)
    for message in thespian_messages():
        back = unpack_message(pack_message(message))
        assert type(back) is type(message)
        form = FORMS[type(message).__name__]
        assert form.write(back) == form.write(message)


def test_every_message_of_thespian_s_is_on_one_list() -> None:
    gc.collect()
    pending, found = [ActorSystemMessage], set()
    while pending:
        subclasses = pending.pop().__subclasses__()
        pending += subclasses
        found |= {cls.__name__ for cls in subclasses if cls.__module__.startswith("thespian.")}
    assert found - NOT_SENT.keys() == FORMS.keys() - {"LogRecord"}
    assert not NOT_SENT.keys() & FORMS.keys()


def test_an_actor_with_requirements_is_not_asked_for() -> None:
    with pytest.raises(NotSerializableError, match="requirements"):
        pack_message(PendingActor("module.Class", None, 1, {"gpu": True}, None))


# --- garbage --------------------------------------------------------------------------------------------------------


def read(frame: bytes) -> Any:
    """A message, or MalformedError; nothing else may come out."""
    try:
        return unpack_message(frame)
    except MalformedError:
        return MalformedError


@given(st.binary(max_size=300))
def test_random_bytes_are_malformed(frame: bytes) -> None:
    found = read(frame)
    assert found is MalformedError or unpack_message(pack_message(found)) is not None


@given(st.data())
def test_damaged_frames_are_malformed_or_messages(data: st.DataObject) -> None:
    frame = bytearray(data.draw(st.sampled_from(_FRAMES)))
    for _ in range(data.draw(st.integers(1, 3))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    read(bytes(frame[: data.draw(st.integers(0, len(frame)))]))
    read(bytes(frame))


@pytest.mark.parametrize(
    "frame",
    [
        pickle.dumps(("hear", 1)),
        msgpack.packb([]),
        msgpack.packb("Done"),
        msgpack.packb(["os.system", "true"]),
        msgpack.packb(["Done"]),
        msgpack.packb(["Done", "c", "3", True]),
        msgpack.packb(["Done", "c", 3, True, 4]),
        msgpack.packb(["Done", ["c"], 3, True]),
        msgpack.packb(["SagaEnded", "s", "no such status", ""]),
        msgpack.packb(["AdoptProcess", "s", ["Waiter", None, "c"]]),
        msgpack.packb(["AdoptProcess", "s", ["Lease", "n", 1, 2]]),
        msgpack.packb(["AdoptProcess", "s", []]),
        msgpack.packb(["ChildActorExited", "/path"]),
        msgpack.packb(["ActorExitRequest"]),
        msgpack.packb(["", b"\xc1"]),
        msgpack.packb(["", msgpack.packb(msgpack.ExtType(65, msgpack.packb(["Settings"])))]),
        msgpack.packb(["", msgpack.packb(msgpack.ExtType(100, b""))]),
        msgpack.packb(["PoisonMessage", msgpack.packb(["nothing"]), ""]),
    ],
)
def test_what_is_not_exactly_a_message_is_malformed(frame: bytes) -> None:
    with pytest.raises(MalformedError):
        unpack_message(frame)


def test_a_message_within_a_message_within_a_message_ends_somewhere() -> None:
    frame: Any = pack_message("core")
    for _ in range(2_000):
        frame = msgpack.packb(["PoisonMessage", frame, ""])
    with pytest.raises(MalformedError):
        unpack_message(frame)


_FRAMES = [*frames(), *(pack_message(each) for each in (*thespian_messages(), *OPEN))]
