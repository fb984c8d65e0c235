"""`antistrophe dashboard`: where it listens, what it refuses, and that it ends at a signal."""

from __future__ import annotations

import json
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from antistrophe.linux.termination import processes_of_home
from tests.acceptance.command import Caller
from tests.contract.dashboard_home import fill


@pytest.fixture
def board(tmp_path: Path) -> Caller:
    fill(tmp_path / "home")
    return Caller(tmp_path / "home", tmp_path)


def fetched(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_it_serves_the_home_beside_no_system_until_a_signal(board: Caller) -> None:
    (board.folder / "token").touch(0o600)
    (board.folder / "token").write_text("of this test\n", "utf-8")
    program = board.start("--json", "dashboard", "--port", "0", "--token-file", "token", "--root-path", "/board")
    try:
        assert program.stdout is not None
        url = json.loads(program.stdout.readline())["url"]
        assert url.endswith("/board/")
        url = url.removesuffix("board/")
        assert fetched(f"{url}sagas")[0] == 401
        status, page = fetched(f"{url}sagas/stuck", Authorization="Bearer of this test")
        assert (status, 'href="/board/sagas"' in page) == (200, True)
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}live?view=sagas", headers={"Authorization": "Bearer of this test"}),
            timeout=30,
        ) as live:  # somebody still looks when it is told to end
            assert live.readline().startswith(b"retry:")
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) in (0, -signal.SIGTERM)
        assert processes_of_home(board.home) == []
    finally:
        board.close()


def test_an_address_that_others_reach_needs_a_token(board: Caller) -> None:
    for host in ("0.0.0.0", "192.0.2.7", "::", "example.com"):
        ended = board.ask("dashboard", "--host", host)
        assert ended.code == 2
        assert "--token-file" in ended.complaint


def test_a_port_that_is_taken_says_so(board: Caller) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = board.ask("dashboard", "--port", str(taken.getsockname()[1]))
    assert ended.code == 2
    assert "choose another --port" in ended.complaint


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (b"secret", 0o644, "chmod 600"),
        (b" \n", 0o600, "is empty"),
        (b"\xff\xfe", 0o600, "UTF-8"),
        (b"x" * 5_000, 0o600, "is no token"),
        (None, 0o600, "No such file"),
    ],
)
def test_a_token_file_that_can_not_be_used_says_what_to_do(
    board: Caller, content: bytes | None, mode: int, says: str
) -> None:
    file = board.folder / "token"
    if content is not None:
        file.write_bytes(content)
        file.chmod(mode)
    ended = board.ask("dashboard", "--token-file", str(file))
    assert ended.code == 2
    assert says in ended.complaint
