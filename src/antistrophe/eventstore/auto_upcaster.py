"""Turn the data of one `@event` class into the data of its next version, by the fields of the two classes."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

from antistrophe.definition.computed import computed_fields
from antistrophe.definition.computed_of_events import restore_computed_fields, with_computed
from antistrophe.definition.events import event_key
from antistrophe.errors import InvalidUpcasterError
from antistrophe.serialization.converter import hooks
from antistrophe.serialization.payload import pack_fields, structure_fields, unpack_payload
from antistrophe.serialization.type_hints import field_types, is_model


class AutoUpcaster:
    """An upcaster from ``old`` to ``new``, two classes of one event type.

    If ``new`` defines ``from_previous``, the new event is ``new.from_previous(old_event)``. Otherwise it takes over the
    fields of the same name, and gets the defaults of ``new`` for the others.

    Raises InvalidUpcasterError if a class is no event, if the types differ, or if a field of ``new`` has neither a
    field of that name in ``old`` nor a default.
    """

    def __init__(self, old: type, new: type) -> None:
        self.old = old
        self.new = new
        self.old_key = _key(old)
        self.new_key = _key(new)
        if self.old_key[0] != self.new_key[0]:
            raise InvalidUpcasterError(
                f"{old.__qualname__} is of event type {self.old_key[0]!r} and {new.__qualname__} of"
                f" {self.new_key[0]!r}: an upcaster leads from one version to another of the same type"
            )
        # An inherited from_previous does not count: it was written for the version before ``old``.
        self._converts = "from_previous" in vars(new)
        self._taken_over: frozenset[str] = frozenset()
        if self._converts:
            _check_callable(new)
        else:
            self._taken_over = _fields_to_take_over(old, new)

    def upcast(self, data: dict[str, Any]) -> dict[str, Any]:
        """Turn data of ``old`` into data of ``new``. Raises UnreadableDataError if the data do not fit the classes."""
        before: Any = structure_fields(data, self.old)
        restore_computed_fields(before, data)
        if not self._converts:
            computed = {name: data[name] for name in computed_fields(self.old) if name in data}
            fields = {**computed, **hooks(self.old)[0](before)}  # adds the defaults of fields that the data lack
            taken = {name: value for name, value in fields.items() if name in self._taken_over or name in computed}
            kept = {name: fields[name] for name in computed_fields(self.new) if name in fields}
            return {**kept, **hooks(self.new)[0](structure_fields(taken, self.new))}
        after = self.new.from_previous(before)  # type: ignore[attr-defined]
        if type(after) is not self.new:
            raise TypeError(f"{self.new.__qualname__}.from_previous returned {type(after).__qualname__}")
        # Pack and unpack: the user's code may have made values that the fields do not declare.
        packed = with_computed(after, pack_fields(after, self.new), self.new.__qualname__)
        result: dict[str, Any] = unpack_payload(packed)
        return result


def _key(cls: type) -> tuple[str, int]:
    key = event_key(cls) if isinstance(cls, type) else None
    if key is None:
        raise InvalidUpcasterError(f"an AutoUpcaster leads from one @event class to another; {cls!r} is no event")
    return key


def _check_callable(new: type) -> None:
    if not callable(getattr(new, "from_previous")):  # noqa: B009 - mypy knows no such attribute
        raise InvalidUpcasterError(
            f"{new.__qualname__}.from_previous is not callable: make it a class method that takes the event before"
        )


def _fields_to_take_over(old: type, new: type) -> frozenset[str]:
    sources = frozenset(field_types(old))
    targets = frozenset(field_types(new))
    homeless = sorted(name for name in targets - sources if not _has_default(new, name))
    if homeless:
        raise InvalidUpcasterError(
            f"{new.__qualname__} needs {', '.join(homeless)}: {old.__qualname__} has no such field and there is no"
            f" default; give one, or define {new.__qualname__}.from_previous(event)"
        )
    return sources & targets


def _has_default(cls: type, name: str) -> bool:
    if dataclasses.is_dataclass(cls):
        fields = {field.name: field for field in dataclasses.fields(cls)}
        return any(
            default is not dataclasses.MISSING for default in (fields[name].default, fields[name].default_factory)
        )
    if is_model(cls):
        return not cast(Any, cls).__pydantic_fields__[name].is_required()
    attributes: Any = getattr(cls, "__attrs_attrs__", ())
    # attrs is no dependency, so its mark for "no default" is known by its name.
    return any(each.name == name and repr(each.default) != "NOTHING" for each in attributes)
