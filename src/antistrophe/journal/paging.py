"""Lists in parts: what a cursor looks like, and which sagas a text finds."""

from __future__ import annotations

from antistrophe.errors import RequestError

_PREFIX = "before-"


def cursor_before(accepted: int) -> str:
    """The cursor behind the saga that was accepted at that position."""
    return f"{_PREFIX}{accepted}"


def check_page(limit: int, cursor: str | None) -> int | None:
    """The position that a page ends before, None for the first. Raises RequestError for what is no page."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise RequestError(f"limit must be a whole number from 1 on, not {limit!r}")
    if cursor is None:
        return None
    digits = cursor.removeprefix(_PREFIX) if isinstance(cursor, str) and cursor.startswith(_PREFIX) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise RequestError(f"{cursor!r} is no cursor: pass the one of the page before, unchanged")
    return int(digits)


def like(text: str) -> str:
    r"""The LIKE pattern (with ``ESCAPE '\'``) of what contains the text."""
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"
