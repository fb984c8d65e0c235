"""The socket folder: where it is, who can enter it, and what is refused."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.errors import SystemUnavailableError
from antistrophe.launcher import socket_watch
from antistrophe.transport.connection import PREAMBLE_MAGIC, BrokenStreamError, IncomingConnection, framed, preamble
from antistrophe.transport.sockets import (
    MAX_PATH_BYTES,
    existing_socket_folder,
    leave_socket_folder,
    new_socket_path,
    remove_dead_sockets,
    remove_leftover_sockets,
    socket_folder,
)

DEEP = "d" * 200


@pytest.fixture(autouse=True)
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime, tempfile.TemporaryDirectory(dir="/tmp") as temporary:
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        yield Path(runtime)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def deep_home(tmp_path: Path) -> Path:
    (tmp_path / DEEP).mkdir()
    return tmp_path / DEEP


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_a_short_home_has_its_sockets_inside(home: Path) -> None:
    folder = socket_folder(home)
    assert folder == home / "sockets"
    assert mode(folder) == 0o700
    assert existing_socket_folder(home) == folder
    assert socket_folder(home) == folder


def test_a_folder_that_is_open_to_others_is_closed(home: Path) -> None:
    (home / "sockets").mkdir(mode=0o755)
    assert mode(socket_folder(home)) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_mode_does_not_depend_on_the_umask(home: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        folder = socket_folder(home)
    finally:
        os.umask(before)
    assert mode(folder) == 0o700


def test_a_deep_home_has_its_sockets_in_the_runtime_folder(deep_home: Path, runtime: Path) -> None:
    folder = socket_folder(deep_home)
    assert folder.parent == runtime
    assert mode(folder) == 0o700
    assert existing_socket_folder(deep_home) == folder
    assert len(os.fsencode(new_socket_path(folder))) <= MAX_PATH_BYTES


def test_two_deep_homes_do_not_share_and_a_link_to_one_does(deep_home: Path, tmp_path: Path) -> None:
    other = tmp_path / ("e" * 200)
    other.mkdir()
    (tmp_path / "link").symlink_to(DEEP)
    assert socket_folder(other) != socket_folder(deep_home)
    assert socket_folder(tmp_path / "link") == socket_folder(deep_home)


@pytest.mark.parametrize("value", ["", "relative", "/nowhere/at/all", "/tmp/" + "x" * 100])
def test_without_a_usable_runtime_folder_the_temporary_one_serves(
    deep_home: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    assert socket_folder(deep_home).parent == Path(tempfile.gettempdir())


def test_whoever_attaches_finds_the_folder_without_the_same_environment(
    deep_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = socket_folder(deep_home)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert existing_socket_folder(deep_home) == folder


def test_a_file_system_that_takes_no_sockets_is_avoided(
    home: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(socket.socket):
        def bind(self, address: object) -> None:
            if str(home) in str(address):
                raise PermissionError(1, "Operation not permitted")
            super().bind(address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "socket", Refusing)
    assert socket_folder(home).parent == runtime


def test_a_symlink_in_place_of_the_folder_is_not_followed(deep_home: Path, runtime: Path, tmp_path: Path) -> None:
    usual = socket_folder(deep_home)
    usual.rmdir()
    (tmp_path / "trap").mkdir()
    usual.symlink_to(tmp_path / "trap")
    other = socket_folder(deep_home)
    assert (other.parent, other.is_symlink()) == (runtime, False)
    assert other != usual
    assert existing_socket_folder(deep_home) == other
    assert list((tmp_path / "trap").iterdir()) == []


# --- a folder outside its home ------------------------------------------------------------------------------------


def test_its_name_can_not_be_guessed_and_is_kept_in_the_home(deep_home: Path, tmp_path: Path) -> None:
    first = socket_folder(deep_home)
    assert socket_folder(deep_home) == first
    remove_leftover_sockets(first)
    leave_socket_folder(deep_home, first)
    assert not first.exists()
    assert existing_socket_folder(deep_home) is None
    second = socket_folder(deep_home)
    assert second != first, "a name that others have seen is not used again"


def test_what_others_put_in_its_place_keeps_nobody_out(deep_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = socket_folder(deep_home)
    with monkeypatch.context() as another:
        another.setattr(os, "geteuid", lambda: 12345)
        assert existing_socket_folder(deep_home) is None
    first.rmdir()
    first.write_text("squatted")
    assert existing_socket_folder(deep_home) is None
    assert socket_folder(deep_home) != first
    assert first.read_text() == "squatted"


def test_a_copy_of_a_home_does_not_use_the_folder_of_the_other(deep_home: Path, tmp_path: Path) -> None:
    folder = socket_folder(deep_home)
    copy = tmp_path / ("c" * 200)
    shutil.copytree(deep_home, copy)
    assert existing_socket_folder(copy) is None
    assert socket_folder(copy) != folder
    assert existing_socket_folder(deep_home) == folder


def test_a_copy_of_a_short_home_does_not_find_the_sockets_of_the_other(home: Path) -> None:
    (home / "a").mkdir()
    socket_folder(home / "a")
    shutil.copytree(home / "a", home / "b")
    assert existing_socket_folder(home / "b") is None


def test_a_home_that_was_moved_keeps_it(deep_home: Path, tmp_path: Path) -> None:
    folder = socket_folder(deep_home)
    assert existing_socket_folder(deep_home.rename(tmp_path / ("m" * 200))) == folder


def test_the_one_before_is_removed_when_another_is_used(
    deep_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = socket_folder(deep_home)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(new_socket_path(before))
    home = deep_home.rename(tmp_path / "h")
    assert socket_folder(home) == home / "sockets"
    assert not before.exists()


def test_a_folder_that_others_could_replace_is_not_used(deep_home: Path, runtime: Path) -> None:
    runtime.chmod(0o777)
    assert socket_folder(deep_home).parent == Path(tempfile.gettempdir())
    assert list(runtime.iterdir()) == []


def test_where_nothing_will_do_each_reason_is_told(home: Path, runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (socket_folder(home), *(Path(base) / "x" for base in (runtime, tempfile.gettempdir()))):
        folder.mkdir(exist_ok=True)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SystemUnavailableError) as caught:
        socket_folder(home)
    assert "belongs to another user (uid" in str(caught.value)
    assert str(home) in str(caught.value)


def test_a_home_that_can_not_be_written_to_is_told(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "sockets.path").mkdir()
    (home / "sockets.path" / "x").touch()
    with pytest.raises(SystemUnavailableError, match=r"sockets\.path can't be written"):
        socket_folder(home)
    assert sorted(entry.name for entry in home.iterdir()) == ["sockets", "sockets.path"]
    with pytest.raises(SystemUnavailableError, match=r"sockets\.path can't be read"):
        existing_socket_folder(home)


# --- whoever attaches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content", [None, b"/nowhere/at/all\n", b"", b".", b"a\0b", b"/" + b"\xff" * 5000], ids=range(6)
)
def test_a_home_without_a_folder_has_none_and_gets_none(home: Path, content: bytes | None) -> None:
    if content is not None:
        (home / "sockets.path").write_bytes(content)
    before = sorted(home.iterdir())
    assert existing_socket_folder(home) is None
    assert sorted(home.iterdir()) == before


def test_odd_home_names(home: Path) -> None:  # short, as the path of a socket has to be
    for name in ("a\nb", "1\n1:2", "\n", "c\n", "d \t", "\udcff"):
        (home / name).mkdir()
        assert existing_socket_folder(home / name) is None
        assert socket_folder(home / name) == existing_socket_folder(home / name) == home / name / "sockets"


def test_a_folder_that_others_can_enter_is_refused(home: Path) -> None:
    socket_folder(home).chmod(0o750)
    with pytest.raises(SystemUnavailableError, match="chmod it to 700"):
        existing_socket_folder(home)


def test_a_folder_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket_folder(home)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(SystemUnavailableError, match="belongs to another user"):
        existing_socket_folder(home)


def test_a_symlink_to_a_folder_is_refused(home: Path) -> None:
    folder = socket_folder(home)
    folder.rename(home / "elsewhere")
    folder.symlink_to(home / "elsewhere")
    with pytest.raises(SystemUnavailableError, match="is not a folder"):
        existing_socket_folder(home)


def test_leftovers_are_removed_and_nothing_else(home: Path) -> None:
    folder = socket_folder(home)
    path = Path(new_socket_path(folder))
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    (folder / "admin").symlink_to(path.name)
    (folder / "admin.pid").write_text("1 2 3")
    (folder / "notes").write_text("mine")
    assert remove_leftover_sockets(folder) == 3
    assert [entry.name for entry in folder.iterdir()] == ["notes"]
    assert remove_leftover_sockets(folder) == 0
    assert remove_leftover_sockets(home / "nowhere") == 0


def test_the_sockets_of_the_dead_are_removed_while_others_are_used(home: Path) -> None:
    folder = socket_folder(home)
    dead, alive, bound = (Path(new_socket_path(folder)) for _ in range(3))
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as not_yet:
        with socket.socket(socket.AF_UNIX) as closed:
            closed.bind(str(dead))
        listener.bind(str(alive))
        listener.listen()
        not_yet.bind(str(bound))
        (folder / "admin").symlink_to(dead.name)
        (folder / ("f" * 32)).write_text("mine")
        assert remove_dead_sockets(folder) == 1
        assert {entry.name for entry in folder.iterdir()} == {"admin", "f" * 32, alive.name, bound.name}
    assert remove_dead_sockets(home / "nowhere") == 0


def test_the_sockets_of_all_who_have_left_are_looked_for_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Path] = []
    monkeypatch.setattr(socket_watch, "remove_dead_sockets", looks.append)
    dead = socket_watch.DeadSockets()
    dead.remove(home)
    assert not looks
    for _ in range(1_000):
        dead.somebody_left()
    for _ in range(3):
        dead.remove(home)
    assert looks == [home]
    dead.somebody_left()
    dead.remove(home)
    assert looks == [home, home]


# --- the stream ---------------------------------------------------------------------------------------------------


def received(*pieces: bytes) -> tuple[list[bytes], IncomingConnection, bool]:
    """What a reader makes of a stream that comes in these pieces, and then ends."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    incoming, payloads, goes_on = IncomingConnection(theirs), [], True
    with ours, theirs:
        for piece in pieces:
            ours.sendall(piece)
            more, goes_on = incoming.receive()
            payloads += more
        if goes_on:
            ours.close()
            more, goes_on = incoming.receive()
            payloads += more
    return payloads, incoming, goes_on


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(1, 400), max_size=12))
def test_frames_are_put_together_from_any_pieces(payloads: list[bytes], cuts: list[int]) -> None:
    stream = preamble("/the/sender") + b"".join(framed(payload) for payload in payloads)
    pieces = []
    for cut in cuts:
        pieces.append(stream[:cut])
        stream = stream[cut:]
    found, incoming, goes_on = received(*(piece for piece in [*pieces, stream] if piece))
    assert found == payloads
    assert incoming.sender == "/the/sender"
    assert not goes_on


@given(st.binary(max_size=200))
def test_garbage_is_a_broken_stream_or_no_message(garbage: bytes) -> None:
    try:
        payloads, incoming, _ = received(garbage)
    except BrokenStreamError:
        assert not garbage.startswith(PREAMBLE_MAGIC) or garbage[4:8] > b"\x0f"
    else:
        assert payloads == [] or incoming.sender is not None


def test_half_a_message_is_none() -> None:
    found, _, goes_on = received(preamble("/x") + framed(b"whole") + framed(b"half")[:-1])
    assert found == [b"whole"]
    assert not goes_on
