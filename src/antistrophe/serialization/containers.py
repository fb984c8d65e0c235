"""Type hints that hold other hints: collections, tuples, classes, unions; what each lets through, and how it
travels."""

from __future__ import annotations

import types
import typing
from collections import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias, Union, get_args, get_origin

from antistrophe.serialization import msgpack_values
from antistrophe.serialization.models import checked_in, checked_out, is_checked, model_in, model_out
from antistrophe.serialization.program import hints_of
from antistrophe.serialization.type_hints import (
    SCALARS,
    In,
    Out,
    field_types,
    is_model,
    is_named_tuple,
    is_structured,
    learn_enums,
    mismatch,
    reading,
    type_text,
    writing,
)

if TYPE_CHECKING:
    from cattrs import Converter

_COLLECTIONS: dict[Any, tuple[type, ...]] = {
    **{kind: (kind,) for kind in (list, tuple, set, frozenset)},
    abc.MutableSequence: (list,),
    abc.Sequence: (list, tuple),
    abc.Collection: (list, tuple, set, frozenset),
    abc.Iterable: (list, tuple, set, frozenset),
    abc.MutableSet: (set,),
    abc.Set: (set, frozenset),
}
_BARE_TUPLE = vars(typing)["Tuple"]  # its arguments look like those of tuple[()]
_MAPPINGS = (dict, abc.MutableMapping, abc.Mapping)


def _base(hint: Any) -> Any:
    return get_origin(hint) or hint


# --- collections --------------------------------------------------------------------------------------------------


def _collection_out(hint: Any, converter: Converter) -> Out:
    from cattrs.fns import identity

    kinds = _COLLECTIONS[_base(hint)]
    write_item = writing((get_args(hint) or (Any,))[0], converter)

    def write(value: Any) -> Any:
        kind = value.__class__
        if kind not in kinds:
            raise mismatch(hint, value)
        if write_item is identity:
            return value
        items = [write_item(item) for item in value]
        if kind is tuple:
            return tuple(items)
        # An item that has become a dict can't be in a set, so a list is written, in an order that no hash decides.
        return items if kind is list else sorted(items, key=msgpack_values.pack)

    return write


def _collection_in(hint: Any, converter: Converter) -> In:
    from cattrs.cols import list_structure_factory

    kinds = _COLLECTIONS[_base(hint)]
    is_set = kinds[0] in (set, frozenset)
    items_hint: Any = types.GenericAlias(list, (get_args(hint) or (Any,))[0])
    read_items = list_structure_factory(items_hint, converter)

    def read(value: Any, _: Any) -> Any:
        kind = value.__class__
        if kind is list and is_set:
            kind = kinds[0]
        elif kind not in kinds:
            raise mismatch(hint, value)
        items = read_items(value, hint)
        return items if kind is list else kind(items)

    return read


def _mapping_out(hint: Any, converter: Converter) -> Out:
    from cattrs.fns import identity

    write_key, write_value = (writing(part, converter) for part in get_args(hint) or (Any, Any))

    def write(value: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch(hint, value)
        if write_key is write_value is identity:
            return value
        return {write_key(key): write_value(item) for key, item in value.items()}

    return write


def _mapping_in(hint: Any, converter: Converter) -> In:
    from cattrs.cols import mapping_structure_factory

    items_hint: Any = types.GenericAlias(dict, get_args(hint) or (Any, Any))
    read_items: In = mapping_structure_factory(items_hint, converter)

    def read(value: Any, _: Any) -> Any:
        if value.__class__ is not dict:
            raise mismatch(hint, value)
        return read_items(value, hint)

    return read


def _is_fixed_tuple(hint: Any) -> bool:
    return get_origin(hint) is tuple and hint is not _BARE_TUPLE and get_args(hint)[1:] != (...,)


def _fixed_tuple_out(hint: Any, converter: Converter) -> Out:
    writers = [writing(part, converter) for part in get_args(hint)]

    def write(value: Any) -> Any:
        if value.__class__ is not tuple or len(value) != len(writers):
            raise mismatch(hint, value)
        return tuple(write_item(item) for write_item, item in zip(writers, value, strict=True))

    return write


def _fixed_tuple_in(hint: Any, converter: Converter) -> In:
    readers = [(reading(part, converter), part) for part in get_args(hint)]

    def read(value: Any, _: Any) -> Any:
        if value.__class__ is not tuple or len(value) != len(readers):
            raise mismatch(hint, value)
        return tuple(read_item(item, part) for (read_item, part), item in zip(readers, value, strict=True))

    return read


def _as_fixed_tuple(cls: Any) -> Any:
    hints = hints_of(cls)
    return types.GenericAlias(tuple, tuple(hints.get(name, Any) for name in cls._fields))


def _named_tuple_out(cls: Any, converter: Converter) -> Out:
    write_items = writing(_as_fixed_tuple(cls), converter)

    def write(value: Any) -> Any:
        if value.__class__ is not cls:
            raise mismatch(cls, value)
        return write_items(tuple(value))

    return write


def _named_tuple_in(cls: Any, converter: Converter) -> In:
    read_items, hint = reading(_as_fixed_tuple(cls), converter), _as_fixed_tuple(cls)
    return lambda value, _: cls(*read_items(value, hint))


# --- classes and unions -------------------------------------------------------------------------------------------


def _class_out(hint: Any, converter: Converter) -> Out:
    cls = _base(hint)
    for part in (*field_types(cls).values(), *get_args(hint)):
        learn_enums(part, converter)
    write_fields = converter.gen_unstructure_attrs_fromdict(hint)

    def write(value: Any) -> Any:
        # A subclass would lose the fields that it adds, and come back as its base.
        if value.__class__ is not cls:
            raise mismatch(hint, value)
        return write_fields(value)

    return write


def _class_in(hint: Any, converter: Converter) -> In:
    for part in (*field_types(_base(hint)).values(), *get_args(hint)):
        learn_enums(part, converter)
    read_fields = converter.gen_structure_attrs_fromdict(hint)

    def read(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict:
            raise mismatch(hint, value)
        return read_fields(value, hint)

    return read


def _split_union(hint: Any) -> tuple[frozenset[type], dict[str, Any]]:
    """The classes whose values pass as they are, and the other members by the tag that is written with their values."""
    scalars: set[type] = set()
    tagged: dict[str, Any] = {}
    for member in get_args(hint):
        if member in SCALARS:
            scalars.update(SCALARS[member])
            continue
        tag = type_text(member)
        tagged[tag if tag not in tagged else f"{member.__module__}.{tag}"] = member
    return frozenset(scalars), tagged


def _needs_no_tag(scalars: frozenset[type], tagged: dict[str, Any]) -> bool:
    return len(tagged) == 1 and scalars <= {types.NoneType}


def _union_out(hint: Any, converter: Converter) -> Out:
    from cattrs.fns import identity

    scalars, tagged = _split_union(hint)
    members = [(tag, writing(part, converter), reading(part, converter), part) for tag, part in tagged.items()]
    if not members:
        return identity
    if _needs_no_tag(scalars, tagged):
        return _bare_union_out(scalars, members[0][1])

    def write(value: Any) -> Any:
        if value.__class__ in scalars:
            return value
        for tag, write_member, read_member, part in members:
            try:
                encoded = write_member(value)
                # Writing does not look into a list of scalars: only reading tells list[int] from list[str].
                read_member(encoded, part)
            except Exception:  # the value is not of this member; a user's __post_init__ may raise anything
                continue
            return {"type": tag, "value": encoded}
        raise mismatch(hint, value)

    return write


def _bare_union_out(scalars: frozenset[type], write_other: Out) -> Out:
    def write(value: Any) -> Any:
        return value if value.__class__ in scalars else write_other(value)

    return write


def _union_in(hint: Any, converter: Converter) -> In:
    scalars, tagged = _split_union(hint)
    members = {tag: (reading(part, converter), part) for tag, part in tagged.items()}
    if _needs_no_tag(scalars, tagged):
        return _bare_union_in(scalars, *next(iter(members.values())))

    def read(value: Any, _: Any) -> Any:
        if value.__class__ in scalars:
            return value
        if value.__class__ is not dict or value.keys() != {"type", "value"} or value["type"] not in members:
            raise mismatch(hint, value)
        read_member, part = members[value["type"]]
        return read_member(value["value"], part)

    return read


def _bare_union_in(scalars: frozenset[type], read_other: In, other: Any) -> In:
    def read(value: Any, _: Any) -> Any:
        return value if value.__class__ in scalars else read_other(value, other)

    return read


def _is_mapping(hint: Any) -> bool:
    return _base(hint) in _MAPPINGS


def _is_collection(hint: Any) -> bool:
    return _base(hint) in _COLLECTIONS


def _is_class(hint: Any) -> bool:
    return is_structured(_base(hint))


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


Factories: TypeAlias = "tuple[Callable[[Any], bool], Callable[[Any, Converter], Out], Callable[[Any, Converter], In]]"

# Which hints, how to write them, how to read them. Of two entries that fit, the later one counts.
CONTAINERS: tuple[Factories, ...] = (
    (_is_mapping, _mapping_out, _mapping_in),
    (_is_collection, _collection_out, _collection_in),
    (_is_fixed_tuple, _fixed_tuple_out, _fixed_tuple_in),
    (is_named_tuple, _named_tuple_out, _named_tuple_in),
    (_is_class, _class_out, _class_in),
    (is_checked, checked_out, checked_in),
    (is_model, model_out, model_in),
    (_is_union, _union_out, _union_in),
)
