"""A wall clock that is wrong, or jumps by hours at every look, or is set while the system runs."""

from __future__ import annotations

import random
import time
from pathlib import Path

VARIABLE = "ANTISTROPHE_TEST_CLOCK"


def install(how: str) -> None:
    """In every process of the system: be ``how`` many seconds off, or jump (``"jumps"``), or be as many seconds off as
    the file of that name says (``"file:NAME"``)."""
    real, draw = time.time, random.Random()
    if how == "jumps":
        time.time = lambda: real() + draw.choice((-7200.0, 0.0, 7200.0))
    elif how.startswith("file:"):
        file = Path(how.removeprefix("file:"))
        time.time = lambda: real() + float(file.read_text())
    else:
        time.time = lambda: real() + float(how)
