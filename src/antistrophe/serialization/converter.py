"""Typed objects <-> dicts of self-describing values: the fields of a class, by their type hints."""

from __future__ import annotations

import typing
from collections.abc import Callable
from functools import cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final, Literal, NewType, TypeAlias, cast, get_origin

from antistrophe.linux.late_imports import late_import
from antistrophe.serialization.containers import CONTAINERS
from antistrophe.serialization.type_hints import (
    SCALARS,
    field_types,
    is_structured,
    learn_enums,
    literal_in,
    literal_out,
    mismatch,
    path_in,
    path_out,
    reading,
    scalar_in,
    unknown_in,
    unknown_out,
    writing,
)

if TYPE_CHECKING:
    from cattrs import Converter

Write: TypeAlias = Callable[[Any], dict[str, Any]]
Read: TypeAlias = Callable[[Any], Any]


@cache
def make_converter(detailed: bool, forbid_unknown: bool) -> Converter:
    """A converter between typed objects and the values that ``msgpack_values`` packs. ``detailed``: an error in reading
    says where; ``forbid_unknown``: a key that is no field is an error."""
    with late_import():  # of those that open a home, many read no typed value
        from cattrs import Converter, cols  # noqa: F401 - the containers use what is loaded here
    converter = Converter(detailed_validation=detailed, forbid_extra_keys=forbid_unknown)
    for kind, accepted in SCALARS.items():
        converter.register_structure_hook(kind, scalar_in(accepted))
    for path in (PurePath, Path):
        converter.register_unstructure_hook(path, path_out)
        converter.register_structure_hook(path, path_in)
    # cattrs asks the predicate first that is registered last.
    for predicate, write, read in (
        (_is_not_for_cattrs, unknown_out, unknown_in),
        *CONTAINERS,
        (_is_literal, literal_out, literal_in),
    ):
        converter.register_unstructure_hook_factory(predicate, write)
        converter.register_structure_hook_factory(predicate, read)
    return converter


def _is_not_for_cattrs(hint: Any) -> bool:
    """True for a hint whose values cattrs would take and not keep exactly (deque, Counter, protocols, any class)."""
    wrapped = isinstance(hint, NewType) or (get_origin(hint) or hint) in (typing.Annotated, Final)
    return not wrapped and not typing.is_typeddict(hint) and type(hint).__name__ != "TypeAliasType"


def _is_literal(hint: Any) -> bool:
    return get_origin(hint) is Literal


@cache
def hooks(cls: type, detailed: bool = False, forbid_unknown: bool = False) -> tuple[Write, Read]:
    """Two functions: from an object to a dict of self-describing values, and back. Both raise some Exception on a value
    that does not fit. With ``detailed`` the second says where (``cattrs.transform_error``), and takes longer."""
    converter = make_converter(detailed, forbid_unknown)
    if not is_structured(cls):
        return _annotated_class(cls, converter, forbid_unknown)
    # The hook that reads a class takes the fields alone, because it knows the class.
    return converter.get_unstructure_hook(cls), cast(Read, converter.get_structure_hook(cls))


def _annotated_class(cls: type, converter: Converter, forbid_unknown: bool) -> tuple[Write, Read]:
    hints = field_types(cls)
    for hint in hints.values():
        learn_enums(hint, converter)
    parts = {name: (writing(hint, converter), reading(hint, converter), hint) for name, hint in hints.items()}

    def write(value: Any) -> dict[str, Any]:
        return {name: write_field(getattr(value, name)) for name, (write_field, _, _) in parts.items()}

    def read(fields: Any) -> Any:
        if type(fields) is not dict or (forbid_unknown and fields.keys() - parts.keys()):
            raise mismatch(cls, fields)
        # As pickle does: __init__ may take any arguments, and only the fields matter.
        value: Any = object.__new__(cls)
        for name, (_, read_field, hint) in parts.items():
            if name in fields:
                object.__setattr__(value, name, read_field(fields[name], hint))
            elif not hasattr(cls, name):
                raise KeyError(name)
        return value

    return write, read
