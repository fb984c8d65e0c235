"""The tally of a run: how many worlds it has seen, and how often each fault has really occurred in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.simulation.faults import Fault
from tests.simulation.world import History


@dataclass
class Tally:
    """What all worlds of a run add up to."""

    worlds: int = 0
    prefixes: int = 0
    entries: int = 0
    faults: Counter[Fault] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def take(self, history: History) -> None:
        self.worlds += 1
        self.entries += len(history.journal)
        self.faults += history.faults
        self.ends[history.told[-1].status.value if history.told else "open"] += 1


_TALLY = Tally()


@pytest.fixture(scope="session")
def tally() -> Tally:
    """The tally of this run, printed at its end."""
    return _TALLY


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the worlds went through, and how to see them again."""
    if not _TALLY.worlds:
        return
    write = terminalreporter.write_line
    terminalreporter.section("simulated worlds")
    ends = ", ".join(f"{count:,} {end}" for end, count in _TALLY.ends.most_common())
    write(f"{_TALLY.worlds:,} worlds, {_TALLY.entries:,} entries, {_TALLY.prefixes:,} prefixes gone on from: {ends}")
    for fault in Fault:
        write(f"{_TALLY.faults[fault]:9,}  {fault.value}")
