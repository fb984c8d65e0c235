"""How the fields of records travel: in their order, each only as what its type hint says.

A record is a tuple of its class's name and its fields. What is written is not looked at closely; what is read is, to
the last field, so that no actor ever handles a message that its own code could not have made.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin

from thespian.actors import ActorAddress

from antistrophe.messages.message import ADDRESS
from antistrophe.serialization.fast_records import maker
from antistrophe.serialization.type_hints import field_types

Writer = Callable[[Any], tuple[Any, ...]]
Reader = Callable[[Any], Any]
Plain = tuple[Callable[[Any], bytes], Callable[[bytes], Any]]

_SCALARS: dict[Any, tuple[type, ...]] = {
    bool: (bool,),
    int: (int, bool),
    float: (float, int),
    str: (str,),
    bytes: (bytes,),
    datetime: (datetime,),
    type(None): (type(None),),
    None: (type(None),),
}

_ROWS_KEPT = 64
_RECORDS_KEPT = 64


class MalformedError(Exception):
    """What came in is no record of a known kind."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """What may stand for one field: a value of these types, which ``read`` makes into the field's value."""

    accepted: frozenset[type]
    read: Reader | None = None


class Fields:
    """Writes and reads records. ``plain`` packs and unpacks what is declared as Any, or as a dict; of the classes in
    ``alike`` few different records come again and again, and each of those is made once."""

    def __init__(self, plain: Plain, alike: Iterable[type] = ()) -> None:
        self._pack_plain, self._unpack_plain = plain
        self._alike = frozenset(alike)
        self.writer: Callable[[type], Writer] = cache(self._writer)
        self.reader: Callable[[type], Reader] = cache(self._reader)

    def _writer(self, cls: type) -> Writer:
        """From an object to a tuple of its class's name and its fields; records among them stay as they are."""
        name, hints = cls.__name__, field_types(cls)
        if not hints:
            return lambda _: (name,)
        get = attrgetter(*hints)
        if len(hints) == 1:
            write: Writer = lambda record: (name, get(record))  # noqa: E731
        else:
            write = lambda record: (name, *get(record))  # noqa: E731
        open_ended = [index for index, hint in enumerate(hints.values(), 1) if _is_open(hint)]
        return self._writer_of_plain(write, open_ended) if open_ended else write

    def _writer_of_plain(self, write: Writer, open_ended: list[int]) -> Writer:
        def write_all(record: Any) -> tuple[Any, ...]:
            values = list(write(record))
            for index in open_ended:
                values[index] = self._pack_plain(values[index])
            return tuple(values)

        return write_all

    def _reader(self, cls: type) -> Reader:
        """From such a tuple, whose name has been looked at, to an object of ``cls``; MalformedError where it does not
        fit, or whatever the class raises."""
        forms = {name: self._form(hint) for name, hint in field_types(cls).items()}
        converts = [(index, form.read) for index, form in enumerate(forms.values(), 1) if form.read is not None]
        make = maker(cls)
        fitting: set[tuple[type, ...]] = set()  # the rows of types that were found to fit: most messages look alike

        def read(values: tuple[Any, ...]) -> Any:
            row = tuple(map(type, values))
            if row not in fitting:
                _check(cls, forms, values)
                if len(fitting) < _ROWS_KEPT:
                    fitting.add(row)
            if not converts:
                return make(*values[1:])
            made = list(values)
            for index, convert in converts:
                if made[index] is not None:
                    made[index] = convert(made[index])
            return make(*made[1:])

        return _once(read) if cls in self._alike else read

    # --- hints -------------------------------------------------------------------------------------------------

    def _form(self, hint: Any) -> _Form:
        if hint is ADDRESS:
            return _Form(frozenset((ActorAddress, types.NoneType)))
        if _is_open(hint):
            return _Form(frozenset((bytes,)), self._unpack_plain)
        if hint in _SCALARS:
            return _Form(frozenset(_SCALARS[hint]))
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self._form(arguments[0])
        if origin is Literal:
            return _Form(frozenset(map(type, arguments)), _among(arguments))
        if origin in (Union, types.UnionType):
            return self._union(arguments)
        if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
            return _Form(frozenset((tuple,)), self._row(self._form(arguments[0])))
        if origin is tuple:
            return _Form(frozenset((tuple,)), self._pair([self._form(each) for each in arguments]))
        if isinstance(hint, type) and issubclass(hint, Enum):
            return _Form(frozenset(type(each.value) for each in hint), hint)
        if dataclasses.is_dataclass(hint):
            return _Form(frozenset((tuple,)), self._record((cast(type, hint),)))
        raise TypeError(f"a message can't have a field of type {hint}")

    def _union(self, arguments: Iterable[Any]) -> _Form:
        records = tuple(each for each in arguments if dataclasses.is_dataclass(each))
        forms = [self._form(each) for each in arguments if each not in records]
        reads = [form.read for form in forms if form.read is not None]
        if records:
            forms.append(_Form(frozenset((tuple,)), self._record(cast("tuple[type, ...]", records))))
            reads.append(cast(Reader, forms[-1].read))
        # What is to be converted has to be told from what stays by its type alone.
        if len(reads) > 1 or (reads and any(form.read is None and form.accepted - {types.NoneType} for form in forms)):
            raise TypeError(f"a message can't have a field of one of {arguments}")
        accepted = frozenset[type]().union(*(form.accepted for form in forms))
        return _Form(accepted, reads[0] if reads else None)

    def _record(self, classes: tuple[type, ...]) -> Reader:
        readers: dict[str, Reader] = {}  # filled at the first use: a record may hold others of its own kind

        def read(values: Any) -> Any:
            if not readers:
                readers.update({cls.__name__: self.reader(cls) for cls in classes})
            reader = readers.get(values[0]) if values and type(values[0]) is str else None
            if reader is None:
                raise MalformedError("a record of a kind that does not belong there")
            return reader(values)

        return read

    @staticmethod
    def _row(form: _Form) -> Reader:
        accepted, convert = form.accepted, form.read

        def read(values: Any) -> Any:
            for value in values:
                if type(value) not in accepted:
                    raise MalformedError(f"a {type(value).__name__} in a row of something else")
            return values if convert is None else tuple(convert(value) for value in values)

        return read

    @staticmethod
    def _pair(forms: list[_Form]) -> Reader:
        def read(values: Any) -> Any:
            if len(values) != len(forms):
                raise MalformedError(f"{len(values)} values for {len(forms)}")
            for form, value in zip(forms, values, strict=True):
                if type(value) not in form.accepted:
                    raise MalformedError(f"a {type(value).__name__} in place of something else")
            return tuple(
                value if form.read is None or value is None else form.read(value)
                for form, value in zip(forms, values, strict=True)
            )

        return read


def _check(cls: type, forms: Mapping[str, _Form], values: tuple[Any, ...]) -> None:
    """Raise MalformedError where there is another number of fields, or one of another type."""
    if len(values) != len(forms) + 1:
        raise MalformedError(f"a {cls.__name__} of {len(values) - 1} fields")
    for (name, form), value in zip(forms.items(), values[1:], strict=True):
        if type(value) not in form.accepted:
            raise MalformedError(f"{cls.__name__}.{name} can't be a {type(value).__name__}")


def _once(read: Reader) -> Reader:
    """The same, which makes one record of equal values. They are told apart by type too: 1, 1.0 and True are equal."""
    known: dict[tuple[tuple[type, ...], tuple[Any, ...]], Any] = {}

    def read_once(values: tuple[Any, ...]) -> Any:
        key = (tuple(map(type, values)), values)
        made = known.get(key)
        if made is None:
            made = read(values)
            if len(known) < _RECORDS_KEPT:
                known[key] = made
        return made

    return read_once


def _is_open(hint: Any) -> bool:
    return hint is not ADDRESS and (hint in (Any, object) or get_origin(hint) is dict)


def _among(allowed: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if value not in allowed:
            raise MalformedError("a word that is not among those that may stand there")
        return value

    return read
