"""The pytest plugin: a running orchestrator for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from antistrophe.orchestrator import SagaOrchestrator
from antistrophe.process import processes_of_home, sweep
from antistrophe.settings import Settings

_GONE_WITHIN_S = 10.0
# A test's failure should not wait for the attempts that it left running.
_SETTINGS = Settings(drain_s=0.5)


@pytest.fixture
def orchestrator() -> Iterator[SagaOrchestrator]:
    """A SagaOrchestrator with an actor system of its own, in a temporary home.

    After the test the system is stopped; the test fails where one of its processes is left.
    """
    # Not pytest's tmp_path: its long names would move the sockets out of the home.
    with TemporaryDirectory(prefix="antistrophe-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        with SagaOrchestrator(home, settings=_SETTINGS) as opened:
            yield opened
        left = processes_of_home(home)
        if left:
            stuck = sweep(home, deadline_s=_GONE_WITHIN_S)
            pytest.fail(f"the actor system of {home} left processes behind: {left}; not even killed: {stuck}")
