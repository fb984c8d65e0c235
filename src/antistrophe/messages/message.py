"""The decorator that makes a class a message, and the first message to every actor."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias, TypeVar, dataclass_transform

from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.settings import Settings

T = TypeVar("T")

Address = Annotated[Any, "address"]
"""A Thespian ActorAddress. This package does not import Thespian."""

Environment: TypeAlias = tuple[tuple[bytes, bytes], ...]
"""Names and values of environment variables, in order of their names."""

ADDRESS: Any = Address
"""Address as a value, for code that looks at the type hints of fields."""


def _name_alone(self: object) -> str:
    return type(self).__name__


@dataclass_transform(frozen_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a class a message: a frozen record that prints as its name alone.

    Thespian formats every message several times per hop for its debug log; the fields of a large one would cost
    milliseconds. A field's type must be one that msgspec decodes, a record, Address, or (for users' values) a dict::

        @message
        class SagaSlept:
            saga_id: str
            until: float | None = None
    """
    cls.__repr__ = _name_alone  # type: ignore[method-assign]
    return dataclass(frozen=True, slots=True)(cls)


@message
class Configuration:
    """The first message to every actor of ours. CLOCK_MONOTONIC plus ``clock_offset_s`` is the system's time in seconds
    since the epoch; the death of the process ``launcher_pid`` ends the system. ``after_death``: the incarnation before
    did not end as it should."""

    home: str
    settings: Settings
    clock_offset_s: float
    launcher_pid: int
    after_death: bool = False
