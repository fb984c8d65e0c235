"""What travels between processes: every message of ours comes back as it was, Thespian's are listed, and garbage is
nothing but garbage."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from thespian.actors import (
    ActorSystemMessage,
)
from thespian.system.addressManager import ActorAddressManager, CannotPickleAddress
from thespian.system.messages.admin import (
    PendingActor,
)

from antistrophe import messages
from antistrophe.errors import NotSerializableError
from antistrophe.transport import codec
from antistrophe.transport.address import address_of
from antistrophe.transport.codec import MESSAGES, MalformedError, pack_message, unpack_message
from antistrophe.transport.thespian_messages import FORMS
from tests.contract.sent import NOW, OPEN, PEER, frames, records, thespian_messages

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


@pytest.mark.parametrize("name", [name for name in messages.__all__ if name in MESSAGES])
def test_every_message_comes_back_as_it_was(name: str) -> None:
    made = list(records(MESSAGES[name]))
    for message in made:
        back = unpack_message(pack_message(message))
        assert type(back) is type(message)
        assert back == message
        for field in dataclasses.fields(message):
            assert type(getattr(back, field.name)) is type(getattr(message, field.name))


def test_a_kind_is_learnt_by_its_first_frame_whatever_threads_learn_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = [next(iter(records(cls))) for cls in MESSAGES.values()] + [*thespian_messages(), "a payload"]
    packed = [pack_message(each) for each in made]
    expected = [type(unpack_message(frame)) for frame in packed]
    monkeypatch.setattr(codec, "_kinds", codec._Kinds())
    with ThreadPoolExecutor(4) as threads:
        found = [*threads.map(lambda _: [type(unpack_message(frame)) for frame in packed], range(4))]
    assert found == [expected] * 4


def test_what_is_no_kind_is_malformed_and_nothing_is_learnt_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_kinds", codec._Kinds())
    rows: tuple[Any, ...] = (["SagaSpec", 1], ["x" * 300], ["os.system", "true"], [7, "StartSaga"], [[]], [], "x", 0)
    for row in rows:
        for frame in (packed := msgpack.packb(row), packed[:-1], b""):
            with pytest.raises(MalformedError):
                unpack_message(frame)
    assert list(codec._kinds.known.structs) == [codec.PAYLOAD]


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
    for message in (messages.RegistryQuery(messages.GetSaga("c", "s"), local), ("plain", local)):
        with pytest.raises(CannotPickleAddress):
            pack_message(message)
    manager.associateUseableAddress(address_of("/me"), 0, address_of("/child"))
    assert unpack_message(pack_message(("plain", local))) == ("plain", address_of("/child"))


# --- Thespian's own -------------------------------------------------------------------------------------------------


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


def with_surrogates(row: list[Any]) -> bytes:
    """A frame with texts that are not UTF-8."""
    packed: bytes = msgpack.Packer(unicode_errors="surrogatepass").pack(row)
    return packed


def read(frame: bytes) -> Any:
    """A message, or MalformedError; nothing else may come out."""
    try:
        return unpack_message(frame)
    except MalformedError:
        return MalformedError


@given(st.binary(max_size=300))
def test_random_bytes_are_malformed(frame: bytes) -> None:
    found = read(frame)
    assert found is MalformedError or type(unpack_message(pack_message(found))) is type(found)


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
        msgpack.packb(["Done", "c", True, "true"]),
        with_surrogates(["Done", "\udcff", "3", True]),
        with_surrogates(["Done", "\udcff", 3, True, 4]),
        with_surrogates(["\udcff", "c", 3, True]),
        msgpack.packb(["Done", b"c", 3, True]),
        msgpack.packb({"Done": 1}),
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


def test_a_record_that_equals_one_seen_before_has_to_fit_as_well() -> None:
    assert unpack_message(msgpack.packb(["AdoptProcess", "s", ["Lease", "n", 1, 2, "b", False, "", ""]])).lease.pid == 1
    with pytest.raises(MalformedError):
        unpack_message(msgpack.packb(["AdoptProcess", "s", ["Lease", "n", 1.0, 2, "b", False, "", ""]]))


def test_a_message_within_a_message_within_a_message_ends_somewhere() -> None:
    frame: Any = pack_message("core")
    for _ in range(2_000):
        frame = msgpack.packb(["PoisonMessage", frame, ""])
    with pytest.raises(MalformedError):
        unpack_message(frame)


_FRAMES = [*frames(), *(pack_message(each) for each in (*thespian_messages(), *OPEN))]
