"""How many inputs the decoders get, and the tally of a run."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

INPUTS = int(os.environ.get("ANTISTROPHE_FUZZ", "2500"))
"""About how many inputs all decoders of this folder get together."""

_TARGETS = 39
_TALLY: Counter[str] = Counter()


def inputs(share: float = 1.0) -> Callable[[Any], Any]:
    """The settings of one property: its share of all inputs, no stored examples."""
    return settings(
        max_examples=max(10, round(INPUTS * share / _TARGETS)),
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def count(target: str) -> None:
    """One more input was decoded."""
    _TALLY[target] += 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many inputs each decoder got."""
    if not _TALLY:
        return
    terminalreporter.section("fuzzed decoders")
    terminalreporter.write_line(f"{_TALLY.total():,} inputs (ANTISTROPHE_FUZZ={INPUTS})")
    for name, number in sorted(_TALLY.items()):
        terminalreporter.write_line(f"{number:9,}  {name}")
