"""Text from anywhere as text that can be shown: what could control a terminal, or begin a line, is escaped."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    """The text with escapes (as in ``repr``) for control characters, line breaks, lone surrogates and characters that
    change the direction of writing, but for those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else _escape(each) for each in text)


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
