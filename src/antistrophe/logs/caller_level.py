"""The level from which on an application logs: its steps log from there on, too.

It travels with the application's environment, under a name that its steps do not see.
"""

from __future__ import annotations

import logging

LEVEL_VARIABLE = b"ANTISTROPHE_ROOT_LOG_LEVEL"


def level_of_this_process() -> int | None:
    """The level of the root logger; None where nobody has set one, and it has the level that logging gives it."""
    level = logging.getLogger().level
    return None if level in (logging.NOTSET, logging.WARNING) else level


def level_in(value: bytes) -> int | None:
    """The level as it has travelled; None where none has."""
    try:
        return int(value)
    except ValueError:
        return None
