"""Checks the whole numbers that callers give: limits, positions and versions."""

from __future__ import annotations

from antistrophe.serialization.type_hints import short

LARGEST_INTEGER = (1 << 63) - 1
"""The largest number that SQLite stores as an integer, so no position is beyond it."""


def check_whole_number(
    value: object, what: str, lowest: int, *, highest: int | None = None, error: type[Exception] = ValueError
) -> None:
    """Raise ``error`` for a value that is not a whole number from ``lowest`` on, or that is over ``highest``.

    ``what`` is the name of the value in the text of the error. A bool is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
        raise error(f"{what} must be a whole number from {lowest} on, not {short(value)}")
    if highest is not None and value > highest:
        raise error(f"{what} must be a whole number from {lowest} on, up to {highest}, not {short(value)}")
