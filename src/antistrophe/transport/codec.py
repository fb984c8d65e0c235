"""Messages <-> frames of msgpack. Nothing in a frame is run, and no class is looked up by a name from a frame.

A frame is a row: the kind of the message, then its fields. The kinds are the messages of the runtime, the listed
messages of Thespian's own, and "", a payload, whose one field is a self-describing value. A frame of another kind, or
with a field that its kind does not have or of another type, is malformed.
"""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgpack
import msgspec
from msgspec.structs import astuple
from thespian.actors import ActorAddress
from thespian.system.addressManager import ActorLocalAddress, CannotPickleAddress

from antistrophe import messages
from antistrophe.definition.spec import Origin, ResourceLimits, RetryPolicy
from antistrophe.errors import NotSerializableError
from antistrophe.exception_text import name_and_text
from antistrophe.saga.entries import Lease
from antistrophe.serialization import msgpack_values
from antistrophe.transport.address import UnixAddress, address_of
from antistrophe.transport.record_structs import RecordStructs, make_struct, union_of
from antistrophe.transport.thespian_messages import FORMS, Form

_BUFFER_BYTES = 64 * 1024
_KEPT_BYTES = 1024 * 1024

PAYLOAD = ""
"""The kind of a payload."""

_ADDRESS = msgpack_values.FIRST_OTHER
_AS_DATETIME = 3

# How msgpack begins an array of 16 and more values, and a text of less than 32 bytes.
_LONG_ROW = 0xDC
_SHORT_TEXT = 0xA0

MESSAGES: dict[str, type] = {
    name: value
    for name, value in vars(messages).items()
    if isinstance(value, type) and hasattr(value, "__dataclass_fields__")
}
"""The messages of the runtime, by kind."""


class MalformedError(Exception):
    """A frame is no message of a known kind."""


def pack_message(message: Any) -> bytes:
    """The frame of a message. Raises NotSerializableError for a value that can't travel, and Thespian's
    CannotPickleAddress where an address is that of a child that has not reported yet."""
    try:
        write = _writers.get(type(message)) or _writer_of(type(message))
        if write is not None:
            frame: bytes = _packers.pack(write(message))
            if len(frame) > _KEPT_BYTES:
                _packers.renew()  # its buffer has grown, and would stay large
            return frame
        kind = type(message).__name__
        form = FORMS.get(kind)
        if form is not None and form.cls is type(message):
            return _pack((kind, *_written(form.write(message), form.nested)))
        return _pack((PAYLOAD, _pack_payload(message)))
    except (CannotPickleAddress, NotSerializableError):
        raise
    except Exception as error:
        raise NotSerializableError(f"{_culprit(message)} can't travel: {error}") from error


def _writer_of(cls: type) -> Callable[[Any], tuple[Any, ...]] | None:
    """A function that makes the row of a message of the runtime; None for any other class."""
    if MESSAGES.get(cls.__name__) is not cls:
        return None
    write = _writers[cls] = _structs.writer(cls)
    return write


def unpack_message(frame: bytes) -> Any:
    """The message of a frame. Raises MalformedError on anything that `pack_message` did not write."""
    try:
        struct = _decode(frame)
        read = _kinds.readers.get(type(struct))
        return _structs.record(struct) if read is None else read(*astuple(struct))
    except MalformedError:
        raise
    except Exception as error:
        raise MalformedError(name_and_text(error)) from error


def _decode(frame: bytes) -> Any:
    while True:
        known = _kinds.known
        try:
            return known.decoder.decode(frame)
        except UnicodeDecodeError:
            return _decode_surrogates(frame, known)
        except msgspec.ValidationError:
            kind = _kind_of(frame)
            if kind in known.structs or not _is_kind(kind):
                raise
            _kinds.learn((kind,))


def _is_kind(name: str) -> bool:
    return name in MESSAGES or name in FORMS


def _kind_of(frame: bytes) -> str:
    """What stands in a row where its kind is expected; "" where that is no text as `pack_message` writes it."""
    kind_at = {_LONG_ROW: 3}.get(frame[0], 1)
    length = frame[kind_at] - _SHORT_TEXT
    return str(frame[kind_at + 1 : kind_at + 1 + length], "ascii", "replace") if 0 <= length < 32 else ""


def _decode_surrogates(frame: bytes, known: _Known) -> Any:
    # A file name that is not UTF-8 reaches Python as lone surrogates, and a user's text may hold some too. msgspec
    # does not decode them. msgpack does, and then msgspec checks the values as strictly.
    row = msgpack.unpackb(
        frame, use_list=False, ext_hook=_extension, unicode_errors="surrogatepass", timestamp=_AS_DATETIME
    )
    return msgspec.convert(row, known.structs[row[0]], builtin_types=(bytes, datetime))


def _culprit(value: Any) -> str:
    """The type of the value that can't travel, and the fields of the records that hold the value."""
    cls = type(value)
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        inner = getattr(value, field.name)
        try:
            _pack_payload(inner) if not dataclasses.is_dataclass(inner) else _pack((inner,))
        except Exception:
            return f"{cls.__name__}.{field.name}: {_culprit(inner)}"
    return f"a {cls.__qualname__}"


def _written(values: tuple[Any, ...], nested: int | None) -> tuple[Any, ...]:
    """The fields, with a frame in place of the message that Thespian has wrapped, because it was not delivered."""
    if nested is None:
        return values
    return (*values[:nested], pack_message(values[nested]), *values[nested + 1 :])


def _reader_of(form: Form) -> Callable[..., Any]:
    """A function that makes a message of Thespian's from its fields."""
    if form.nested is None:
        return form.read
    read, nested = form.read, form.nested
    return lambda *values: read(*values[:nested], unpack_message(values[nested]), *values[nested + 1 :])


def _packer(buffer_bytes: int) -> Any:
    return msgpack.Packer(default=_other, datetime=True, unicode_errors="surrogatepass", buf_size=buffer_bytes)


class _Packers(threading.local):
    """A packer for each thread; one message after another uses its buffer. What is packed while a message is, such as a
    payload within it, needs a packer of its own."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.pack = _packer(_BUFFER_BYTES).pack


def _pack(values: tuple[Any, ...]) -> bytes:
    packed: bytes = _packer(1024).pack(values)
    return packed


def _other(value: Any) -> Any:
    """Write what msgpack does not know: the records in a message, and addresses."""
    write = _writers_within.get(type(value))
    if write is not None:
        return write(value)
    if not hasattr(type(value), "__dataclass_fields__"):
        raise TypeError(f"no encoding for {type(value).__qualname__}")
    write = _writers_within[type(value)] = _structs.writer(type(value))
    return write(value)


def _extension(code: int, data: bytes | memoryview) -> Any:
    if code == _ADDRESS:
        return address_of(os.fsdecode(bytes(data)))
    raise MalformedError(f"an extension type {code}")


def _packed_address(address: ActorAddress) -> msgpack.ExtType:
    details = address.addressDetails
    if isinstance(details, ActorLocalAddress):
        known = details.addressManager.exportAddr(address)
        if known is None:
            raise CannotPickleAddress(address)
        details = known.addressDetails
    if not isinstance(details, UnixAddress):
        raise NotSerializableError(f"{address} is no address of an actor here")
    return msgpack.ExtType(_ADDRESS, os.fsencode(details.path))


# --- payloads ---------------------------------------------------------------------------------------------------------


def _pack_payload(value: Any) -> bytes:
    return msgpack_values.pack(value, others=_other_in_payload)


def _unpack_payload(data: bytes) -> Any:
    return msgpack_values.unpack(data, others=_extension)


def _other_in_payload(value: Any) -> msgpack.ExtType | None:
    return _packed_address(value) if type(value) is ActorAddress else None


_structs = RecordStructs((_pack_payload, _unpack_payload), shared=(RetryPolicy, ResourceLimits, Origin, Lease))
_writers: dict[type, Any] = {}
_writers_within: dict[type, Any] = {ActorAddress: _packed_address}
_packers = _Packers()


# --- kinds ------------------------------------------------------------------------------------------------------------


class _Known(NamedTuple):
    """The Structs of some kinds, and a decoder for them."""

    structs: dict[str, type[msgspec.Struct]]
    decoder: msgspec.msgpack.Decoder[Any]


class _Kinds:
    """The kinds of frames that this process can read already. A kind is learnt when its first frame comes, because no
    process hears more than some of them. No lock is held, which a fork could copy: of what two threads learn at the
    same time, one part may be learnt again."""

    def __init__(self) -> None:
        payload = make_struct(PAYLOAD, [("value", bytes)])
        # What makes the message of a Struct's fields, where the message is no record of ours.
        self.readers: dict[type, Callable[..., Any]] = {payload: _unpack_payload}
        self.known = _knowing({PAYLOAD: payload})

    def learn(self, kinds: Iterable[str]) -> None:
        """Be ready to read these kinds."""
        known = self.known.structs
        self.known = _knowing(known | {kind: self._struct(kind) for kind in kinds if kind not in known})

    def _struct(self, kind: str) -> type[msgspec.Struct]:
        if kind in MESSAGES:
            return _structs.struct(MESSAGES[kind])
        form = FORMS[kind]
        struct = make_struct(kind, [(f"f{n}", hint) for n, hint in enumerate(form.hints)])
        self.readers[struct] = _reader_of(form)
        return struct


def _knowing(structs: dict[str, type[msgspec.Struct]]) -> _Known:
    return _Known(structs, msgspec.msgpack.Decoder(union_of(structs.values()), ext_hook=_extension))


_kinds = _Kinds()


def prepare(classes: Collection[type]) -> None:
    """Be ready to read and to write these messages, so that the forks of this process are, too."""
    for cls in classes:
        _writer_of(cls)
    _kinds.learn(cls.__name__ for cls in classes)
