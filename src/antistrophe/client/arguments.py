"""What callers give is checked here, before a message holds it: an actor drops a message with a field of another type,
and nobody would answer. What a text says is checked where the request is carried out."""

from __future__ import annotations

from antistrophe.errors import RequestError

_HIGHEST_NUMBER = (1 << 63) - 1


def check_text(value: object, what: str, *, optional: bool = False) -> None:
    """Raise RequestError for what is no text; ``optional``: it may be None."""
    if not isinstance(value, str) and not (optional and value is None):
        raise RequestError(f"the {what} must be a text, not {value!a:.200}")


def check_number(value: object, what: str, lowest: int) -> None:
    """Raise ValueError for what is no whole number from ``lowest`` on, or too large for the journal."""
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= _HIGHEST_NUMBER:
        raise ValueError(f"{what} must be a whole number from {lowest} on, not {value!a:.200}")
