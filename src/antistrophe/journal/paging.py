"""Lists in pages: what a cursor looks like, how SQL finds a text, and how large a saga is there."""

from __future__ import annotations

from antistrophe.errors import RequestError
from antistrophe.records import SagaMetadata
from antistrophe.serialization.whole_numbers import check_whole_number

_PREFIX = "before-"
_SAGA_BYTES = 500
_STEP_BYTES = 100


def cursor_before(accepted: int) -> str:
    """Make the cursor for the page behind the saga that was accepted at that position."""
    return f"{_PREFIX}{accepted}"


def check_page(limit: int, cursor: str | None) -> int | None:
    """Return the position that the page begins before, or None for the first page. Raises RequestError for a wrong
    limit or cursor."""
    check_whole_number(limit, "limit", 1, error=RequestError)
    if cursor is None:
        return None
    digits = cursor.removeprefix(_PREFIX) if isinstance(cursor, str) and cursor.startswith(_PREFIX) else ""
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise RequestError(f"{cursor!r} is no cursor: pass the cursor of the page before, unchanged")
    return int(digits)


def like(text: str) -> str:
    r"""Make the LIKE pattern (with ``ESCAPE '\'``) that finds everything that contains the text."""
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def shown_bytes(saga: SagaMetadata) -> int:
    """About how much a saga, as monitoring shows it, takes in a message."""
    size = _SAGA_BYTES + len(saga.error or "") + len(saga.waiting or "")
    return size + sum([_STEP_BYTES + len(step.name) + len(step.error or "") for step in saga.steps])
