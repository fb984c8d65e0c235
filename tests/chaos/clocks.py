"""A wall clock that is wrong, or jumps by hours at every look."""

from __future__ import annotations

import random
import time

VARIABLE = "ANTISTROPHE_TEST_CLOCK"


def install(how: str) -> None:
    """In every process of the system: be ``how`` many seconds off, or jump (``"jumps"``)."""
    real, draw = time.time, random.Random()
    if how == "jumps":
        time.time = lambda: real() + draw.choice((-7200.0, 0.0, 7200.0))
    else:
        time.time = lambda: real() + float(how)
