"""How much chaos, and the way into the processes of a system. A round is short by default; long ones by
``ANTISTROPHE_CHAOS_ROUNDS=20 pytest tests/chaos``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.rounds import ROUNDS

INJECTED = Path(__file__).with_name("injected")
ROOT = Path(__file__).resolve().parents[2]
BUSY_S = 150
"""The time of a test here that names none: what was killed is started anew, on a machine that may have other work."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == INJECTED.parent and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BUSY_S))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each round draws anew, from the run's seed and its own number."""
    if "chaos_round" in metafunc.fixturenames:
        metafunc.parametrize("chaos_round", range(ROUNDS))


@pytest.fixture
def injected(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Python that is started meanwhile loads ``injected/sitecustomize.py`` first."""
    paths = [str(INJECTED), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
