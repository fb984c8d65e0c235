"""What makes a class a message, and what every actor is told first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, dataclass_transform

from antistrophe.settings import Settings

T = TypeVar("T")

Address = Annotated[Any, "address"]
"""A Thespian ActorAddress; this floor does not know Thespian."""

ADDRESS: Any = Address
"""The same, for those who look at the types of fields."""


def _name_alone(self: object) -> str:
    return type(self).__name__


@dataclass_transform(frozen_default=True)
def message(cls: type[T]) -> type[T]:
    """Make a class a message: a frozen record that prints as its name alone.

    Thespian formats every message several times per hop for its debug log; a large one would cost milliseconds.
    """
    made = dataclass(frozen=True, repr=False, slots=True)(cls)
    made.__repr__ = _name_alone  # type: ignore[method-assign]
    return made


@message
class Configuration:
    """What every actor of ours is told first. ``clock_offset_s`` is the system's: seconds since the epoch are
    CLOCK_MONOTONIC plus it; ``launcher_pid`` is whose death ends the system."""

    home: str
    settings: Settings
    clock_offset_s: float
    launcher_pid: int
