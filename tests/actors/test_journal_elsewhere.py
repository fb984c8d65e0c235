"""A system whose journal is named by a URL: what becomes of a password in it, and of a journal that can't be had."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path

import pytest

from antistrophe import InvalidSettingsError, SagaOrchestrator, Settings, SystemStateError
from antistrophe.errors import JournalError
from antistrophe.settings.journal_url import JOURNAL_VARIABLE
from tests.actors.staging import command_lines
from tests.killing import await_end
from tests.waiting import until

SECRET = "s3cr3t-Word-4711"
URL = f"postgresql://bank:{SECRET}@127.0.0.1:9/shop"


def test_a_database_that_can_not_be_had_is_told_without_its_password(tmp_path: Path) -> None:
    home = tmp_path / "home"
    seen: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            seen.update(command_lines())

    def is_refused() -> bool:
        with pytest.raises(JournalError, match=r"postgresql://127\.0\.0\.1:9/shop") as error:
            SagaOrchestrator(home, journal=URL)
        assert SECRET not in str(error.value)
        return any(str(home) in line for line in seen)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        until(is_refused, "a launcher that was seen")
    finally:
        over.set()
        watcher.join()
    await_end(home)
    assert not [line for line in seen if SECRET in line]
    assert not [path for path in home.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def test_a_wrong_url_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidSettingsError, match="journal must be a URL"):
        SagaOrchestrator(tmp_path / "home", journal="journal.db")
    monkeypatch.setenv(JOURNAL_VARIABLE, "journal.db")
    with pytest.raises(InvalidSettingsError, match=r"^\$ANTISTROPHE_JOURNAL: journal must be a URL"):
        SagaOrchestrator(tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_system_with_another_journal_is_refused(system: SagaOrchestrator) -> None:
    with pytest.raises(SystemStateError, match=r"keeps its journal in .*journal\.db, not in postgresql://127") as error:
        SagaOrchestrator(system.home, journal=URL)
    assert SECRET not in str(error.value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SagaOrchestrator(system.home, settings=system.settings, journal="").close()
    assert system.settings == Settings(drain_s=0.5)
