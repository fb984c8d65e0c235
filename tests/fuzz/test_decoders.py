"""Every decoder answers made-up bytes with what it promises to read, or with its own error, and never with another."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from msgspec.structs import force_setattr

from antistrophe import Settings
from antistrophe.definition.events import RawEvent, decode_event, encode_event
from antistrophe.errors import (
    AntistropheError,
    InvalidUpcasterError,
    JournalError,
    NotSerializableError,
    UnreadableDataError,
)
from antistrophe.eventstore.recorded import RecordedEvent, recorded
from antistrophe.journal.rows import pack_entry, pack_state, unpack_change, unpack_entry, unpack_state
from antistrophe.journal.shapes import StoredShapes, pack_accepted
from antistrophe.journal.short_entries import pack_short
from antistrophe.launcher import control_protocol
from antistrophe.messages import StepAnswer
from antistrophe.saga.entries import Action, AttemptSucceeded, SagaAccepted
from antistrophe.saga.inputs import ANSWER_TYPES, Returned
from antistrophe.saga.view import ViewChange
from antistrophe.serialization.payload import (
    pack_fields,
    pack_payload,
    pack_record,
    unpack_fields,
    unpack_payload,
    unpack_record,
)
from antistrophe.storage.opening import open_in_memory
from antistrophe.transport.codec import MESSAGES, MalformedError, pack_message, unpack_message
from tests.contract.sent import OPEN, records, thespian_messages
from tests.cqrs.user_versions import UserV1, full_chain
from tests.fuzz import samples
from tests.fuzz.conftest import count, inputs
from tests.fuzz.garbage import DEEP, STRANGERS, spoiled

pytestmark = pytest.mark.timeout(600)  # one hundred thousand inputs, when they are asked for


@dataclass(frozen=True)
class Decoder:
    """``read`` raises ``errors`` and nothing else; what it reads, ``write`` gives back in bytes that read the same."""

    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    valid: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (UnreadableDataError,)
    share: float = 2.0


def _read_upcast(data: bytes) -> RecordedEvent:
    (event,) = recorded([(1, "s", 1, "versions.user", 1, data, None, 0)], full_chain())
    _ = event.event
    return event


def _read_unknown(data: bytes) -> dict[str, Any]:
    event = decode_event("fuzz.unknown", 1, data)
    assert isinstance(event, RawEvent)
    return event.data


def _read_recorded(data: bytes) -> dict[str, Any]:
    event = recorded([(1, "s", 1, "fuzz.unknown", 1, data, data, 0)], None)[0]
    assert isinstance(event.metadata, dict)
    assert isinstance(event.data, dict)
    return event.data


def _read_frame(data: bytes) -> Any:
    """A whole frame in two pieces."""
    reader = control_protocol.FrameReader(control_protocol.FROM_LAUNCHER)
    framed = len(data).to_bytes(4, "big") + data
    frames = reader.feed(framed[:7]) + reader.feed(framed[7:])
    return frames[0]


_READY = control_protocol.Ready(2, 1, "/run/s", 1, 2, 3, 4, control_protocol.pack_settings(Settings()))
_VALUES = tuple(pack_payload(value) for value in samples.VALUES)
_MESSAGES = (
    *(pack_message(next(records(cls))) for cls in MESSAGES.values()),
    *map(pack_message, (*thespian_messages(), *OPEN)),
)
_EVENT = encode_event(samples.happened()).data
_STATE = pack_state(samples.METADATA)
_USER = encode_event(UserV1("Sappho of Lesbos")).data


_DATABASE = open_in_memory()
_ACCEPTED, _SHAPE = pack_accepted(SagaAccepted(1.5, "request", samples.SPEC))


def _read_accepted(data: bytes) -> object:
    shapes = StoredShapes(_DATABASE)
    assert _SHAPE is not None
    shapes.keep(_SHAPE)
    return shapes.entry(data, samples.SPEC.id, "here")


def _write_accepted(entry: Any) -> bytes:
    return pack_accepted(entry)[0] if isinstance(entry, SagaAccepted) else pack_entry(entry)


def _read_change(data: bytes) -> object:
    saga = unpack_change(data, samples.METADATA, "here")
    assert saga == unpack_state([data, _STATE], "here")
    return saga


def _write_change(saga: Any) -> bytes:
    last = saga.steps[-1]
    times = [None if moment is None else moment.timestamp() for moment in (last.started_at, last.finished_at)]
    values = [last.status.value, last.attempts, last.in_doubt, *times, last.error, last.pid]
    return pack_state(
        ViewChange(
            saga.id,
            saga.status,
            saga.steps_executed,
            saga.updated_at.timestamp(),
            saga.error,
            saga.waiting,
            [[last.index, *values, last.undo_failures, *([] if last.host is None else [last.host])]],
        )
    )


DECODERS: dict[str, Decoder] = {
    "plain values": Decoder(unpack_payload, pack_payload, _VALUES, share=4.0),
    "fields": Decoder(
        lambda data: unpack_fields(data, samples.Happened),
        lambda value: pack_fields(value, samples.Happened),
        (_EVENT,),
        share=4.0,
    ),
    "journal entries": Decoder(
        lambda data: unpack_entry(data, "here"),
        pack_entry,
        tuple(map(pack_entry, samples.ENTRIES)),
        (JournalError,),
        share=4.0,
    ),
    "journal entries without names": Decoder(
        lambda data: unpack_entry(data, "here"),
        lambda entry: pack_short(entry) or pack_entry(entry),
        tuple(filter(None, map(pack_short, samples.ENTRIES))),
        (JournalError,),
    ),
    "acceptances of a shape": Decoder(_read_accepted, _write_accepted, (_ACCEPTED,), (JournalError,)),
    "state rows": Decoder(
        lambda data: unpack_state([data], "here"), pack_state, (pack_state(samples.METADATA),), (JournalError,)
    ),
    "changes of state rows": Decoder(_read_change, _write_change, (pack_state(samples.CHANGE),), (JournalError,)),
    "outcomes": Decoder(
        lambda data: unpack_record(data, ANSWER_TYPES), pack_record, tuple(map(pack_record, samples.ANSWERS))
    ),
    "events": Decoder(
        lambda data: decode_event("fuzz.happened", 1, data), lambda event: encode_event(event).data, (_EVENT,)
    ),
    "events of unknown types": Decoder(_read_unknown, pack_payload, (_EVENT,), share=1.0),
    "recorded events": Decoder(_read_recorded, pack_payload, (_EVENT,), share=1.0),
    "events of older versions": Decoder(
        _read_upcast,
        lambda event: b"" if event.erased else pack_payload(event.data["first"]),
        (_USER,),
        (UnreadableDataError, InvalidUpcasterError),
        share=1.0,
    ),
    "settings on the wire": Decoder(
        control_protocol.unpack_settings, control_protocol.pack_settings, (_READY.settings,), share=1.0
    ),
    "messages": Decoder(unpack_message, pack_message, _MESSAGES, (MalformedError,), share=4.0),
    "control frames": Decoder(
        _read_frame, pack_record, (pack_record(_READY), pack_record(control_protocol.Failed("E", "t")))
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_made_up_bytes_are_read_or_refused(name: str) -> None:
    decoder = DECODERS[name]

    @inputs(decoder.share)
    @given(spoiled(decoder.valid))
    def check(data: bytes) -> None:
        count(name)
        said = ""
        try:
            value = decoder.read(data)
        except decoder.errors as error:
            said = str(error)
            assert said, "it says what is wrong"
        else:
            _reads_the_same(decoder, value, data)
        assert len(said) < 20_000

    check()


def _reads_the_same(decoder: Decoder, value: Any, data: bytes) -> None:
    try:
        written = decoder.write(value)
    except AntistropheError as error:
        # Some data can be read and not be written: what is nested a little deeper than a packer goes.
        assert "nested too deep" in str(error) or "comes back as" in str(error), data  # noqa: PT017 - most are written
        return
    if decoder.read is not _read_upcast:
        assert decoder.write(decoder.read(written)) == written


@pytest.mark.parametrize("version", [0, -1, 2**63, 2**20_000], ids=["none", "negative", "beyond-the-table", "endless"])
def test_an_event_of_a_version_that_none_can_have_is_refused_wherever_it_stands(version: int) -> None:
    encoded = encode_event(samples.happened())
    force_setattr(cast(Any, encoded), "type_version", version)  # as only damage or malice could
    answer = Returned(None, (encoded,))
    told = StepAnswer("s", 0, Action.EXECUTE, 1, "lease", answer)
    # Numbers without end do not even leave the process that made them.
    with pytest.raises(MalformedError if version < 2**64 else NotSerializableError, match=r"version|can't travel"):
        unpack_message(pack_message(told))
    with pytest.raises(JournalError):
        unpack_entry(pack_entry(AttemptSucceeded(1.5, 0, Action.EXECUTE, 1, None, (encoded,))), "here")
    with pytest.raises(UnreadableDataError):
        unpack_record(pack_record(answer), ANSWER_TYPES)


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_valid_comes_back(name: str) -> None:
    decoder = DECODERS[name]
    if decoder.read is _read_upcast:
        return
    for data in decoder.valid:
        assert decoder.write(decoder.read(data)) == data


@pytest.mark.parametrize("name", DECODERS)
def test_lengths_that_are_declared_only_and_nesting_cost_nothing(name: str) -> None:
    decoder = DECODERS[name]
    bombs = [*STRANGERS, *(data[:-1] + stranger for data in decoder.valid for stranger in STRANGERS)]
    bombs += [b"\xdd\x00\x01\x00\x00" * 20, b"\x91" * DEEP * 10, _sets_within_sets(), b"\x93" + STRANGERS[28] * 3]
    for bomb in bombs:
        tracemalloc.start()
        try:
            decoder.read(bomb)
        except decoder.errors:
            pass
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 16 * 1024 * 1024, f"{len(bomb)} bytes took {peak}: {bomb[:40]!r}"


def _sets_within_sets() -> bytes:
    inner = b"\x90"
    for _ in range(400):
        inner = b"\x91\xc8" + len(inner).to_bytes(2, "big") + b"\x03" + inner
    return inner
