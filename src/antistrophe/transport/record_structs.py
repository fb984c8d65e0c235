"""Each class of records that travels has a msgspec Struct with the same fields, which says what a frame may hold.

The sender writes a record as a row: the name of its class, then its fields. The receiver has msgspec decode the row
into the Struct, strictly and in C: a field of another type, a field too many or too few, and a name that is not
expected there are refused. Only then is the record made of the Struct's fields, so no actor ever handles a message
that its own code could not have made. The records themselves stay dataclasses: they are journaled as well.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import types
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec.structs import astuple
from thespian.actors import ActorAddress

from antistrophe.messages.message import ADDRESS
from antistrophe.serialization.fast_records import maker
from antistrophe.serialization.type_hints import field_types

Write = Callable[[Any], tuple[Any, ...]]
Read = Callable[[Any], Any]
PayloadCodec = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]

_SHARED_RECORDS = 64

# Where a whole number may stand and a bool, or a float and a whole number, both come back as they were.
_EXACT: dict[Any, Any] = {int: int | bool, float: float | int, datetime: Annotated[datetime, msgspec.Meta(tz=True)]}


def make_struct(kind: str, hints: Iterable[tuple[str, Any]]) -> type[msgspec.Struct]:
    """A Struct that msgspec decodes from a row: ``kind``, then the fields in their order, each of its type."""
    return msgspec.defstruct(
        kind,
        hints,
        tag=kind,
        tag_field="/",  # no field can have this name
        array_like=True,
        forbid_unknown_fields=True,
        frozen=True,
        gc=False,
    )


def union_of(hints: Iterable[Any]) -> Any:
    """The type hint of a value that is of one of these types."""
    return functools.reduce(operator.or_, hints)


class RecordStructs:
    """The Structs of all classes of records, and what makes records of them.

    ``payload_codec`` packs and unpacks the fields that are declared as Any or as a dict: they hold users' values. Few
    different records of the classes in ``shared`` come again and again, so equal ones become one object.
    """

    def __init__(self, payload_codec: PayloadCodec, shared: Iterable[type] = ()) -> None:
        self._pack_payload, self._unpack_payload = payload_codec
        self._shared = frozenset(shared)
        self._readers: dict[type, Read] = {}
        self.writer: Callable[[type], Write] = functools.cache(self._writer)
        self.struct: Callable[[type], type[msgspec.Struct]] = functools.cache(self._struct)

    def record(self, struct: Any) -> Any:
        """The record of a decoded Struct; a tuple of Structs gives a tuple of records, any other value is returned as
        it is. Raises whatever a class raises that checks its own values."""
        read = self._readers.get(type(struct))
        if read is not None:
            return read(struct)
        return tuple(map(self.record, struct)) if type(struct) is tuple else struct

    # --- writing -----------------------------------------------------------------------------------------------

    def _writer(self, cls: type) -> Write:
        """From a record to its row; the records among its fields stay as they are."""
        name, hints = cls.__name__, field_types(cls)
        if not hints:
            return lambda _: (name,)
        get = operator.attrgetter(*hints)
        if len(hints) == 1:
            write: Write = lambda record: (name, get(record))  # noqa: E731
        else:
            write = lambda record: (name, *get(record))  # noqa: E731
        open_fields = [index for index, hint in enumerate(hints.values(), 1) if _is_open(hint)]
        return self._writer_of_open_fields(write, open_fields) if open_fields else write

    def _writer_of_open_fields(self, write: Write, open_fields: list[int]) -> Write:
        def write_all(record: Any) -> tuple[Any, ...]:
            values = list(write(record))
            for index in open_fields:
                values[index] = self._pack_payload(values[index])
            return tuple(values)

        return write_all

    # --- reading -----------------------------------------------------------------------------------------------

    def _struct(self, cls: type) -> type[msgspec.Struct]:
        hints = field_types(cls)
        struct = make_struct(cls.__name__, [(name, self._struct_hint(hint)) for name, hint in hints.items()])
        read = self._reader(cls)
        self._readers[struct] = _share(read) if cls in self._shared else read
        return struct

    def _struct_hint(self, hint: Any) -> Any:
        """What stands in the Struct for a field that the record declares like this."""
        if hint is ADDRESS:
            return ActorAddress | None
        if _is_open(hint):
            return bytes
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            return self.struct(hint)
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._struct_hint(arguments[0])
        if origin in (Union, types.UnionType):
            return union_of(map(self._struct_hint, arguments))
        if origin is tuple:
            return types.GenericAlias(tuple, tuple(map(self._struct_hint, arguments)))
        return _EXACT.get(hint, hint)

    def _reader(self, cls: type) -> Read:
        make, hints = maker(cls), field_types(cls)
        converted = [
            (index, self._unpack_payload if _is_open(hint) else self.record)
            for index, hint in enumerate(hints.values())
            if _is_open(hint) or _holds_records(hint)
        ]
        if not converted:
            return lambda struct: make(*astuple(struct))

        def read(struct: Any) -> Any:
            values = list(astuple(struct))
            for index, convert in converted:
                if values[index] is not None and values[index] != ():
                    values[index] = convert(values[index])
            return make(*values)

        return read


def _share(read: Read) -> Read:
    """The same as ``read``, but it makes one record of equal Structs. The types of their fields count too: 1, 1.0 and
    True are equal."""
    known: dict[tuple[Any, ...], Any] = {}

    def read_shared(struct: Any) -> Any:
        key = (struct, *map(type, astuple(struct)))
        record = known.get(key)
        if record is None:
            record = read(struct)
            if len(known) < _SHARED_RECORDS:
                known[key] = record
        return record

    return read_shared


def _is_open(hint: Any) -> bool:
    return hint is not ADDRESS and (hint in (Any, object) or get_origin(hint) is dict)


def _holds_records(hint: Any) -> bool:
    return hint is not ADDRESS and (dataclasses.is_dataclass(hint) or any(map(_holds_records, get_args(hint))))
