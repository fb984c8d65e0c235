"""A system whose journal loses its name acknowledges nothing more, and says why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from antistrophe import JournalError, SagaOrchestrator, SagaStatus
from tests.actors.staging import Stage, seen


def _remove_journal(home: Path) -> None:
    (home / "journal.db").unlink()


def _remove_home(home: Path) -> None:
    shutil.rmtree(home)


def _move_home(home: Path) -> None:
    home.rename(home.with_name("elsewhere"))


def _replace_journal(home: Path) -> None:
    shutil.copy2(home / "journal.db", home / "copy.db")
    (home / "copy.db").replace(home / "journal.db")


@pytest.mark.parametrize(
    "change", [_remove_journal, _remove_home, _move_home, _replace_journal], ids=lambda change: change.__name__[1:]
)
def test_what_could_not_be_kept_is_not_acknowledged(tmp_path: Path, change: Callable[[Path], None]) -> None:
    stage, home = Stage(tmp_path), tmp_path / "home"
    with SagaOrchestrator(home) as orchestrator:
        orchestrator.execute(stage.saga(stage.act("warm")), timeout_s=30.0)
        change(home)
        late = stage.saga(stage.act("late"), saga_id="late")
        with pytest.raises(JournalError, match="removed, moved or replaced"):
            orchestrator.start(late)
        with pytest.raises(JournalError, match="removed, moved or replaced"):
            orchestrator.execute(late, timeout_s=30.0)
    assert not stage.log.find("late", "begin"), "what was refused has run"


def test_a_home_that_is_moved_back_goes_on(tmp_path: Path) -> None:
    stage, home = Stage(tmp_path), tmp_path / "home"
    with SagaOrchestrator(home) as orchestrator:
        orchestrator.execute(stage.saga(stage.act("warm")), timeout_s=30.0)
        _move_home(home)
        with pytest.raises(JournalError):
            orchestrator.start(stage.saga(stage.act("early"), saga_id="early"))
        home.with_name("elsewhere").rename(home)
        orchestrator.execute(stage.saga(stage.act("late"), saga_id="late"), timeout_s=30.0)
        assert seen(orchestrator, "late").status is SagaStatus.COMPLETED
