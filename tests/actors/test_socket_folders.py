"""The socket folder of a system whose home lies too deep: how it comes and goes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from antistrophe.transport.sockets import existing_socket_folder
from tests.actors.attaching import Opener, answers, attachments
from tests.chaos.killing import kill_all
from tests.waiting import until


@pytest.fixture
def runtime(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path, runtime: Path) -> Path:
    return tmp_path / ("d" * 100) / "home"


@pytest.fixture
def attach(home: Path) -> Iterator[Opener]:
    with attachments(home) as opener:
        yield opener


def test_nothing_is_left_of_it_after_the_end_of_the_system(home: Path, runtime: Path, attach: Opener) -> None:
    attachment, system = attach()
    (folder,) = runtime.iterdir()
    assert Path(system.supervisor).parent == folder == existing_socket_folder(home)
    attachment.close()
    assert list(runtime.iterdir()) == []


def test_that_of_a_system_that_was_killed_is_used_again(home: Path, runtime: Path, attach: Opener) -> None:
    attachment, before = attach()
    (folder,) = runtime.iterdir()
    kill_all(home)
    until(lambda: not attachment.is_current(before), "the news of the death")
    assert answers(attachment.wait_ready(20.0))
    assert list(runtime.iterdir()) == [folder]
    attachment.close()
    assert list(runtime.iterdir()) == []
