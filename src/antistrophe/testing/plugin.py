"""The pytest plugin: a running orchestrator, or the proof that a saga can be undone, for a test that asks for it.

The fixtures are ``antistrophe_orchestrator`` and ``antistrophe_verify_compensable``. The short names ``orchestrator``
and ``verify_compensable`` give the same objects. A fixture of a short name in the user's own conftest or test module
wins over ours, by pytest's rules. With ``antistrophe_short_fixtures = false`` in the pytest configuration the plugin
registers no short name at all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from antistrophe.client.orchestrator import SagaOrchestrator
from antistrophe.linux.termination import processes_of_home, sweep
from antistrophe.logs.reading import last_records
from antistrophe.settings import Settings
from antistrophe.testing.verification.report import Report
from antistrophe.testing.verification.verify import verify_compensable as verify

_SHORT_NAMES = "antistrophe_short_fixtures"
_GONE_WITHIN_S = 10.0
_SHOWN_RECORDS = 200
# A test's failure should not wait for the attempts that it left running.
_SETTINGS = Settings(drain_s=0.5)


class ShortNames:
    """A plugin of its own, so that it can be left out: pytest registers the fixtures of a plugin all together."""

    @pytest.fixture
    def orchestrator(self, antistrophe_orchestrator: SagaOrchestrator) -> SagaOrchestrator:
        """Short for ``antistrophe_orchestrator``."""
        return antistrophe_orchestrator

    @pytest.fixture
    def verify_compensable(self, antistrophe_verify_compensable: Callable[..., Report]) -> Callable[..., Report]:
        """Short for ``antistrophe_verify_compensable``."""
        return antistrophe_verify_compensable


def pytest_addoption(parser: pytest.Parser) -> None:
    """The setting that turns the short names off."""
    text = "also offer the fixtures of antistrophe as `orchestrator` and `verify_compensable` (default: true)"
    parser.addini(_SHORT_NAMES, text, type="bool", default=True)


def pytest_configure(config: pytest.Config) -> None:
    """Register the short names, unless they are turned off."""
    if config.getini(_SHORT_NAMES):
        config.pluginmanager.register(ShortNames(), _SHORT_NAMES)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """The report of a test that failed shows what the steps of its sagas have logged and printed."""
    report = yield
    orchestrator = getattr(item, "funcargs", {}).get(antistrophe_orchestrator.__name__)
    if call.when == "call" and report.failed and isinstance(orchestrator, SagaOrchestrator):
        said = [
            f"{saga_id}: {each.step_name} {each.action} {each.attempt} {each.level or each.source}: {each.text}"
            for saga_id, each in last_records(orchestrator.home, _SHOWN_RECORDS)
        ]
        if said:
            report.sections.append(("What the steps of the test's sagas said", "\n".join(said)))
    return report


@pytest.fixture
def antistrophe_orchestrator() -> Iterator[SagaOrchestrator]:
    """A SagaOrchestrator with an actor system of its own, in a temporary home.

    After the test the system is stopped. A process of the system that is still there fails the test.
    """
    # Not pytest's tmp_path: its long names would move the sockets out of the home.
    with TemporaryDirectory(prefix="antistrophe-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        with SagaOrchestrator(home, settings=_SETTINGS, journal="") as opened:
            yield opened
        left = processes_of_home(home)
        if left:
            stuck = sweep(home, deadline_s=_GONE_WITHIN_S)
            pytest.fail(f"the actor system of {home} left processes behind: {left}; not even killed: {stuck}")


@pytest.fixture
def antistrophe_verify_compensable() -> Callable[..., Report]:
    """``antistrophe.testing.verify_compensable`` as a check.

    Called with the same arguments, the check returns the Report, or fails the test with the printed report where
    something is wrong.
    """

    def check(*arguments: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        report = verify(*arguments, **options)
        if not report.ok:
            pytest.fail(str(report), pytrace=False)
        return report

    return check
