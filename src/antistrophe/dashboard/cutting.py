"""Long texts are cut: a page that is a megabyte would be sent anew with each change of a saga."""

from __future__ import annotations

MOST_LETTERS = 20_000
"""Of a value, a traceback or a stack."""

MOST_OF_ERROR = 2_000
"""Of an error, which stands on the page of a saga several times."""

MOST_IN_A_LIST = 300


def cut(text: str, letters: int = MOST_LETTERS) -> str:
    """The beginning of a long text, and how much is left out."""
    if len(text) <= letters:
        return text
    return f"{text[:letters]}\n… {len(text) - letters:,} more characters: `antistrophe export` writes all of them"


def cut_error(text: str) -> str:
    """The beginning of an error, or of a sentence with one."""
    return cut(text, MOST_OF_ERROR)


def cut_short(text: str) -> str:
    """As much of a text as a list shows."""
    return text if len(text) <= MOST_IN_A_LIST else f"{text[:MOST_IN_A_LIST]}…"
