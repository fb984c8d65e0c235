"""How much chaos: a short round by default, long ones by ``ANTISTROPHE_CHAOS_ROUNDS=20 pytest tests/chaos``."""

from __future__ import annotations

import pytest

from tests.chaos.rounds import ROUNDS


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each round draws anew, from the run's seed and its own number."""
    if "chaos_round" in metafunc.fixturenames:
        metafunc.parametrize("chaos_round", range(ROUNDS))
