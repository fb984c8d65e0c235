"""Waiting for what another thread or process does, with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable


def await_true(condition: Callable[[], bool], what: str, timeout_s: float = 30.0) -> None:
    """Come back when it is true; fail when it has not become so in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.002)
