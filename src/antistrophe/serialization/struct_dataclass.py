"""``dataclass`` for the runtime's own records: msgspec Structs, which are made, compared, hashed and copied in C.

Everything that asks takes such a class for a frozen dataclass: ``dataclasses.fields``, ``replace`` and ``is_dataclass``
work on it, as do patterns of ``match``. Three things differ. A value can't be set by ``object.__setattr__`` either, the
error of an attempt to set one is a plain AttributeError, and ``msgspec.structs.replace`` makes a changed copy in a
tenth of the time. What users hold is made by ``fast_dataclass`` or by the standard library.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from antistrophe.fast_dataclass import fields_of

__all__ = ["dataclass"]

_STRUCT: Any = type(Struct)

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, frozen: bool, slots: bool) -> Callable[[type], type]:
        """As ``dataclasses.dataclass``, for ``frozen=True, slots=True`` alone, and for classes without bases and
        ``field()``."""
        assert (frozen, slots) == (True, True), "any other class is for the standard library"
        return _struct


def _struct(cls: type) -> type:
    assert cls.__bases__ == (object,), "a record has no base"
    own = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    assert not any(isinstance(value, dataclasses.Field) for value in own.values()), "a record has no field()"
    own |= {"__dataclass_fields__": fields_of(cls), "__qualname__": cls.__qualname__}
    made: type = _STRUCT(cls.__name__, (Struct,), own, frozen=True)
    return made
