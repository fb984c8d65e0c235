"""Files and folders for their owner only: made so whatever the umask, and told from those that others could change."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from antistrophe.linux.private_files import (
    make_private_folder,
    open_private,
    opened_folder,
    replace_private,
    why_not_owners,
    why_not_private,
    write_private,
)

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@contextlib.contextmanager
def umask(value: int) -> Iterator[None]:
    before = os.umask(value)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "above" / "home"
    make_private_folder(home, parents=True)
    return home


@pytest.mark.parametrize("value", [0o000, 0o022, 0o777])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, value: int) -> None:
    with umask(value):
        make_private_folder(tmp_path / "a" / "b" / "home", parents=True)
        write_private(tmp_path / "a" / "b" / "home" / "file", b"text")
        os.close(open_private(tmp_path / "a" / "b" / "home" / "other", os.O_WRONLY))
    assert mode(tmp_path / "a" / "b" / "home") == 0o700
    assert {mode(path) for path in (tmp_path / "a" / "b" / "home").iterdir()} == {0o600}
    assert mode(tmp_path / "a") & 0o722 == 0o700
    assert (tmp_path / "a" / "b" / "home" / "file").read_bytes() == b"text"
    assert why_not_private(tmp_path / "a" / "b" / "home") is None


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o640)
    (tmp_path / "folder").mkdir(mode=0o750)
    write_private(tmp_path / "file", b"")
    make_private_folder(tmp_path / "folder", parents=True)
    assert (mode(tmp_path / "file"), mode(tmp_path / "folder")) == (0o640, 0o750)


def test_a_file_is_replaced_at_once(tmp_path: Path) -> None:
    for content in (b"a long one", b"short"):
        replace_private(tmp_path / "file", content)
        assert [path.name for path in tmp_path.iterdir()] == ["file"]
        assert (tmp_path / "file").read_bytes() == content
    assert mode(tmp_path / "file") == 0o600


def test_no_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "link to folder").symlink_to("folder")
    with pytest.raises(OSError, match="symbolic links"):
        write_private(tmp_path / "link", b"lost")
    with pytest.raises(OSError), opened_folder(tmp_path / "link to folder"):  # noqa: PT011 - ENOTDIR or ELOOP
        pass
    assert (tmp_path / "file").read_text() == "kept"
    assert "is not a folder" in (why_not_owners(tmp_path / "link to folder") or "")


@pytest.mark.parametrize(
    ("given", "who"), [(0o777, "everybody"), (0o707, "everybody"), (0o1777, "everybody"), (0o702, "everybody")]
)
def test_a_folder_that_everybody_can_write_to_is_told(home: Path, given: int, who: str) -> None:
    home.chmod(given)
    why = why_not_private(home) or ""
    assert str(home) in why
    assert who in why
    assert f"chmod go-w {home}" in why


@pytest.mark.parametrize("given", [0o700, 0o755, 0o750])
def test_a_folder_that_only_its_owner_can_write_to_is_private(home: Path, given: int) -> None:
    home.chmod(given)
    assert why_not_private(home) is None


def test_a_folder_above_is_told_unless_it_is_sticky(home: Path) -> None:
    home.parent.chmod(0o777)
    why = why_not_private(home) or ""
    assert f"chmod go-w {home.parent}" in why
    home.parent.chmod(0o1777)
    assert why_not_private(home) is None


@needs_root
def test_a_folder_above_that_belongs_to_another_user_is_told(home: Path) -> None:
    os.chown(home.parent, NOBODY, NOBODY)
    assert f"{home.parent}, belongs to user {NOBODY}" in (why_not_private(home) or "")
    home.parent.chmod(0o1777)
    assert why_not_private(home) is None
    os.chown(home, NOBODY, NOBODY)
    assert f"{home} belongs to user {NOBODY}" in (why_not_private(home) or "")


class Groups:
    """A machine with one group and some users."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
        self.uid, self.gid = os.geteuid(), home.stat().st_gid
        self.users = [SimpleNamespace(pw_name="ann", pw_uid=self.uid, pw_gid=self.gid)]
        self.group = SimpleNamespace(gr_name="ann", gr_mem=[])
        monkeypatch.setattr(grp, "getgrgid", lambda _gid: self.group)
        monkeypatch.setattr(pwd, "getpwuid", lambda _uid: self.users[0])
        monkeypatch.setattr(pwd, "getpwall", lambda: self.users)
        home.chmod(0o770)


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch, home: Path) -> Groups:
    return Groups(monkeypatch, home)


def test_the_owners_private_group_may_write(groups: Groups, home: Path) -> None:
    assert why_not_private(home) is None
    groups.group.gr_mem.append("ann")
    assert why_not_private(home) is None


def test_a_group_with_others_may_not_write(groups: Groups, home: Path) -> None:
    groups.group.gr_mem.append("bob")
    assert "group ann (mode 770)" in (why_not_private(home) or "")
    groups.group.gr_mem.clear()
    groups.users.append(SimpleNamespace(pw_name="bob", pw_uid=groups.uid + 1, pw_gid=groups.gid))
    assert "group ann (mode 770)" in (why_not_private(home) or "")


@needs_root
def test_a_group_of_another_name_and_number_may_not_write(
    groups: Groups, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.chown(home, groups.uid, 54321)
    assert why_not_private(home) is None, "the name is the user's"
    groups.group.gr_name = "staff"
    assert "group staff" in (why_not_private(home) or "")

    def unknown(_gid: int) -> None:
        raise KeyError

    monkeypatch.setattr(grp, "getgrgid", unknown)
    assert "group 54321" in (why_not_private(home) or "")


def test_an_access_control_list_is_not_taken_for_the_private_group(
    groups: Groups, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getxattr", lambda *_arguments: b"user:bob:rwx")
    assert "group ann" in (why_not_private(home) or "")
