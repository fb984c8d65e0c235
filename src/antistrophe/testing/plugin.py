"""The pytest plugin: a running orchestrator, or the proof that a saga can be undone, for a test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.linux.termination import processes_of_home, sweep
from antistrophe.settings import Settings
from antistrophe.testing.verification.report import Report
from antistrophe.testing.verification.verify import verify_compensable as verify

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


@pytest.fixture
def verify_compensable() -> Callable[..., Report]:
    """``antistrophe.testing.verify_compensable`` as a check: called with the same arguments, it fails the test with
    the printed report unless all is well, and returns the Report where it is."""

    def check(*arguments: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        report = verify(*arguments, **options)
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
