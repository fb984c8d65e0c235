"""The system base: starting an actor system, attaching to it, and stopping it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from antistrophe.errors import SystemUnavailableError
from antistrophe.transport.system_base import UnixSystemBase, log_definitions
from tests.contract.base_system import WAIT_S, Player, System, attached


def test_attaching_where_nothing_runs_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(SystemUnavailableError, match="no actor system runs"):
        UnixSystemBase(tmp_path, attach_only=True)
    (tmp_path / "admin").symlink_to("a-dead-one")
    with pytest.raises(SystemUnavailableError, match="no actor system runs"):
        UnixSystemBase(tmp_path, attach_only=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["admin"]


def test_attaching_to_an_admin_that_does_not_answer_ends_in_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "deaf"))
        listener.listen()
        (tmp_path / "admin").symlink_to("deaf")
        with pytest.raises(SystemUnavailableError, match="does not answer"):
            UnixSystemBase(tmp_path, attach_only=True, timeout_s=0.1)
    assert {entry.name for entry in tmp_path.iterdir()} == {"admin", "deaf"}


def test_a_system_runs_in_a_very_deep_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / ("d" * 100) / ("e" * 100)
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        system = System(home)
        try:
            assert system.folder.parent == Path(runtime)
            with attached(system) as actor_system:
                assert actor_system.ask(actor_system.createActor(Player), ("echo", 1), WAIT_S) == 1
            system.stop()
            assert {entry.name for entry in system.folder.iterdir()} == {"admin", "admin.pid", "logger.pid"}
            assert (home / "log" / "thespian.log").read_text() == ""
        finally:
            system.close()


def test_a_system_that_was_stopped_starts_again(tmp_path: Path) -> None:
    for _ in range(3):
        system = System(tmp_path)
        try:
            with attached(system) as actor_system:
                assert actor_system.ask(actor_system.createActor(Player), ("echo", 1), WAIT_S) == 1
            system.stop()
        finally:
            system.close()


def test_a_log_file_that_can_not_be_written_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemUnavailableError, match=r"file/thespian\.log can't be written"):
        UnixSystemBase(tmp_path, log_folder=tmp_path / "file")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_log_definitions_are_what_logging_takes(tmp_path: Path) -> None:
    definitions = log_definitions(tmp_path / "log")
    # In a process of its own: it would replace what pytest listens with.
    code = f"import logging.config; logging.config.dictConfig({definitions!r}); logging.error('it works')"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=WAIT_S)
    assert "ERROR" in (tmp_path / "log" / "thespian.log").read_text()
