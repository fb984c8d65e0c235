"""pydantic models: written along their fields, and made again by their own validation. pydantic is never imported
here: a model brings what is needed.

A model becomes a dict by the names of its fields, not by their aliases. When it is read its class validates it, so a
value that the class does not allow (any more) raises. The fields that nobody had set are noted, because
``model_dump(exclude_unset=True)`` asks for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from antistrophe.exception_text import name_and_text
from antistrophe.serialization.type_hints import (
    In,
    Mismatch,
    Out,
    field_types,
    is_model,
    learn_enums,
    mismatch,
    reading,
    short,
    writing,
)

if TYPE_CHECKING:
    from cattrs import Converter

UNSET = "*unset of model"
"""The key of the fields that nobody had set; no field can have this name. What they hold is stored all the same."""


def model_out(cls: Any, converter: Converter) -> Out:
    """Writes a model of this class, no subclass, as a dict of its fields."""
    hints = field_types(cls)
    for hint in hints.values():
        learn_enums(hint, converter)
    writers = {name: writing(hint, converter) for name, hint in hints.items()}

    def write(value: Any) -> dict[str, Any]:
        # A subclass would lose the fields that it adds, and come back as its base.
        if value.__class__ is not cls:
            raise mismatch(cls, value)
        written = {name: _written(cls, name, write_field, value) for name, write_field in writers.items()}
        if cls.__private_attributes__:
            _check_private(cls, value, _validated(cls, dict(value), []))
        unset = sorted(writers.keys() - value.__pydantic_fields_set__)
        return {**(value.__pydantic_extra__ or {}), **written, **({UNSET: unset} if unset else {})}

    return write


def model_in(cls: Any, converter: Converter) -> In:
    """Reads a model of this class: a missing field takes its default, and the class's own validation has its say."""
    hints = field_types(cls)
    for hint in hints.values():
        learn_enums(hint, converter)
    readers = {name: reading(hint, converter) for name, hint in hints.items()}
    keeps_more = cls.model_config.get("extra") == "allow"

    def read(value: Any, _: Any = None) -> Any:
        if value.__class__ is not dict:
            raise mismatch(cls, value)
        given = dict(value)
        unset = given.pop(UNSET, [])
        unknown = given.keys() - readers.keys()
        if unknown and converter.forbid_extra_keys and not keeps_more:
            raise Mismatch(f"{cls.__qualname__} has no field {', '.join(sorted(map(str, unknown)))}")
        fields = {
            name: _read(cls, name, read_field, given[name], hints[name], converter)
            for name, read_field in readers.items()
            if name in given
        }
        extra = {name: given[name] for name in unknown} if keeps_more else {}
        return _validated(cls, {**extra, **fields}, unset)

    return read


def is_checked(hint: Any) -> bool:
    """True for a class that stands for plain values that pydantic checks, such as EmailStr or AwareDatetime."""
    return isinstance(hint, type) and hint.__module__.startswith("pydantic.") and not is_model(hint)


def checked_out(_hint: Any, _converter: Converter) -> Out:
    """Passes values as they are; what is not self-describing is refused when it is packed."""
    return lambda value: value


def checked_in(_hint: Any, _converter: Converter) -> In:
    """Passes values as they are: the model that holds them validates them."""
    return lambda value, _: value


def _written(cls: Any, name: str, write_field: Out, value: Any) -> Any:
    try:
        return write_field(getattr(value, name))
    except AttributeError:
        raise Mismatch(f"{cls.__qualname__} has no value for its field {name}") from None
    except Mismatch as error:
        raise Mismatch(f"{cls.__qualname__}.{name}: {error}") from error


def _read(cls: Any, name: str, read_field: In, value: Any, hint: Any, converter: Converter) -> Any:
    try:
        return read_field(value, hint)
    except Exception as error:
        if not converter.detailed_validation:
            raise
        from cattrs.errors import AttributeValidationNote, ClassValidationError

        error.add_note(AttributeValidationNote(f"in {cls.__qualname__}", name, hint))
        raise ClassValidationError(f"in {cls.__qualname__}", [error], cls) from error


def _validated(cls: Any, fields: dict[str, Any], unset: list[str]) -> Any:
    given = fields.get("root") if cls.__pydantic_root_model__ else fields
    try:
        made = cls.__pydantic_validator__.validate_python(given, by_name=True, by_alias=False)
    except Exception as error:
        raise Mismatch(f"{cls.__qualname__} does not allow these values: {_reasons(error)}") from error
    if unset:
        object.__setattr__(made, "__pydantic_fields_set__", made.__pydantic_fields_set__ - set(unset))
    return made


def _check_private(cls: Any, value: Any, made_again: Any) -> None:
    """Raise Mismatch for a private attribute that another process would not have alike."""
    for name in cls.__private_attributes__:
        here, there = ((each.__pydantic_private__ or {}).get(name) for each in (value, made_again))
        if here != there:
            raise Mismatch(
                f"the private attribute {name} of {cls.__qualname__} is {short(here)}, and another process would have "
                f"{short(there)}: make it a field, which travels"
            )


def _reasons(error: Exception) -> str:
    """What pydantic says, in one line."""
    reasons = getattr(error, "errors", None)
    if not callable(reasons):
        return name_and_text(error)
    found = reasons(include_url=False, include_context=False, include_input=False)
    return "; ".join(": ".join([*filter(None, [".".join(map(str, each["loc"]))]), each["msg"]]) for each in found)
