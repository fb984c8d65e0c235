"""Starting a launcher: what the application does meanwhile."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from antistrophe.launcher import spawn
from antistrophe.launcher.spawn import Started, start_launcher
from antistrophe.settings import Settings


def test_what_is_to_be_done_meanwhile_is_done_while_the_launcher_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This launcher reports once that is done: it would be waited for in vain if it had to report before."""
    launchers: list[subprocess.Popen[bytes]] = []

    def start(_home: Path, _settings: Settings) -> subprocess.Popen[bytes]:
        command = ["sh", "-c", 'read done && echo "{\\"serving\\": true}"']
        launchers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return launchers[-1]

    def meanwhile() -> None:
        pipe = launchers[-1].stdin
        assert pipe is not None
        pipe.write(b"done\n")
        pipe.flush()

    monkeypatch.setattr(spawn, "_start", start)
    assert start_launcher(tmp_path / "home", Settings(), 30.0, meanwhile) is Started.SERVING


def test_an_application_that_can_t_do_it_says_so_and_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launchers: list[subprocess.Popen[bytes]] = []

    def start(_home: Path, _settings: Settings) -> subprocess.Popen[bytes]:
        launchers.append(subprocess.Popen(["true"], stdout=subprocess.PIPE))
        return launchers[-1]

    def meanwhile() -> None:
        raise ImportError("the package is gone")

    monkeypatch.setattr(spawn, "_start", start)
    with pytest.raises(ImportError, match="is gone"):
        start_launcher(tmp_path / "home", Settings(), 30.0, meanwhile)
    assert launchers[0].returncode == 0
