"""What the tests of the actor system share: a stage for each test, and one system for each module that wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from tests.actors.staging import Stage, running


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    """The settings of the module's system; a module may have its own."""
    return Settings(drain_s=0.5)


@pytest.fixture(scope="module")
def system(shared_home: Path, system_settings: Settings) -> Iterator[SagaOrchestrator]:
    """One running system for the tests of a module."""
    yield from running(shared_home, system_settings)
