"""Checks the types of what callers give, before a message holds it.

An actor drops a message whose field has a wrong type, so the caller would get no answer. What a text says is checked
where the request is carried out.
"""

from __future__ import annotations

from antistrophe.errors import RequestError
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER, check_whole_number


def check_text(value: object, what: str, *, optional: bool = False) -> None:
    """Raise RequestError for a value that is not a text. With ``optional``, None is allowed."""
    if not isinstance(value, str) and not (optional and value is None):
        raise RequestError(f"the {what} must be a text, not {value!a:.200}")


def check_number(value: object, what: str, lowest: int) -> None:
    """Raise ValueError for a value that is not a whole number from ``lowest`` on, or that the journal can't hold."""
    check_whole_number(value, what, lowest, highest=LARGEST_INTEGER)


def joins(if_live: str) -> bool:
    """Whether a saga that is live is joined. Raises ValueError for what is neither word."""
    if if_live not in ("raise", "join"):
        raise ValueError(f'if_live must be "raise" or "join", not {if_live!r}')
    return if_live == "join"
