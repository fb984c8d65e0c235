"""What an event computes by itself when it is made: stored with its fields, so that each reader sees the same values.

These are the fields that are no parameter of its class (``field(init=False)``). Without them every read would compute
them anew, and an id that was drawn at random, or a time, would be another one each time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

from antistrophe.definition.computed import (
    alike,
    computed_fields,
    differing_part,
    set_computed,
    written,
)
from antistrophe.errors import NotSerializableError
from antistrophe.serialization.masks import short_of
from antistrophe.serialization.payload import pack_payload, structure_fields, unpack_payload


def with_computed(event: Any, data: bytes, what: str) -> bytes:
    """The packed fields of an event, and what it has computed beside them.

    Raises NotSerializableError for a value that can't be packed and that each reader would have another one of.
    """
    cls = type(event)
    names = computed_fields(cls)
    fields = unpack_payload(data)
    made_again: Any = structure_fields(fields, cls)
    problem = differing_part(event, made_again)
    if problem is not None:
        raise NotSerializableError(f"{what}: {problem}")
    for name in names:
        if not hasattr(event, name):  # declared and never set
            continue
        value = getattr(event, name)
        if (packable := written(cls, name, value)) is not None:
            fields[name] = packable[0]
        elif _counts(cls, name) and not alike(value, getattr(made_again, name, None)):
            raise NotSerializableError(
                f"{what}: field {name} is computed when the event is made, and {short_of(cls, value)} can't travel, "
                "so each reader would have another one. Declare a type that travels, or make it no part of the event "
                "with field(init=False, compare=False)"
            )
    return pack_payload(fields) if names else data


def restore_computed_fields(event: Any, fields: Mapping[str, Any]) -> None:
    """Set what ``with_computed`` has stored. An event of an older version may lack it: then what the class has computed
    stays. Raises UnreadableDataError where a value no longer fits."""
    for name, hint in computed_fields(type(event)).items():
        if name in fields:
            set_computed(event, name, hint, fields[name])


def _counts(cls: Any, name: str) -> bool:
    """Whether the field is part of the event's value, as ``==`` sees it."""
    if dataclasses.is_dataclass(cls):
        return next(bool(each.compare) for each in dataclasses.fields(cls) if each.name == name)
    return next(bool(each.eq) for each in cast(Any, cls).__attrs_attrs__ if each.name == name)
