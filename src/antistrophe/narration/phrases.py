"""Short phrases that several screens share: sizes, numbers of times, and words that a shell takes."""

from __future__ import annotations

import shlex


def mebibytes(number: int) -> str:
    """A size such as `1.5 MiB`."""
    return f"{number / (1 << 20):,.1f} MiB"


def how_often(number: int) -> str:
    """`once`, `12 times`."""
    return "once" if number == 1 else f"{number} times"


def places(*arguments: str, options: str = "") -> str:
    """Arguments and options as a person has to type them, so that no argument is taken for an option."""
    quoted = " ".join(map(shlex.quote, arguments))
    parts = [options, "--", quoted] if any(each.startswith("-") for each in arguments) else [quoted, options]
    return " ".join(filter(None, parts))
