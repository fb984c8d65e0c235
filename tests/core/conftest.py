"""Fixtures of the tests of the core."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.core.nursery import Nursery


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    """Processes for one test, which are gone after it."""
    nursery = Nursery()
    yield nursery
    nursery.close()
