"""How much chaos: one round of each test by default, more by ``ANTISTROPHE_CHAOS_ROUNDS=20 pytest tests/chaos``."""

from __future__ import annotations

import os

import pytest

ROUNDS = int(os.environ.get("ANTISTROPHE_CHAOS_ROUNDS", "1"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each round draws anew, from the run's seed and its own number."""
    if "chaos_round" in metafunc.fixturenames:
        metafunc.parametrize("chaos_round", range(ROUNDS))
