"""The exit codes of the command line."""

from __future__ import annotations

from typing import Final

DONE: Final = 0
SAGA_FAILED: Final = 1
WRONG_USE: Final = 2
INTERNAL: Final = 70
INTERRUPTED: Final = 130
