"""What tests of the actor system share: a stage and a home for each test, one system for each module that wants it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe import SagaOrchestrator, Settings
from tests.actors.attaching import Opener, attachments
from tests.actors.planting import plant_in_children
from tests.actors.staging import Stage, running


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def attach(home: Path) -> Iterator[Opener]:
    with attachments(home) as opener:
        yield opener


@pytest.fixture(params=[True, False], ids=["control groups", "marks alone"])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with control groups, where this one has them, and one without."""
    plant_in_children(monkeypatch, None if request.param else "no control groups")


@pytest.fixture(scope="module")
def system_settings() -> Settings:
    """The settings of the module's system; a module may have its own."""
    return Settings(drain_s=0.5)


@pytest.fixture(scope="module")
def system(shared_home: Path, system_settings: Settings) -> Iterator[SagaOrchestrator]:
    """One running system for the tests of a module."""
    yield from running(shared_home, system_settings)
