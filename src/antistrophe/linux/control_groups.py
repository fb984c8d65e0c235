"""Control groups: the kernel ends all processes of such a group at once, and no chain of forks outruns it.

A process stays in its group, as do all that it starts. Groups are used where version 2 is mounted and this process may
make groups below its own: the kernel says so by permissions, and systemd by an attribute, because it wants to be asked
first (``Delegate=yes``). A group may also be made in the root of the hierarchy that this process sees: in a container
it is the container's own.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from antistrophe.linux.procfs import read

_PREFIX = "antistrophe-"
_LONG_AGO_S = 60.0
_DELEGATED = ("user.delegate", "trusted.delegate")


def group_folder(pid: int | None = None) -> Path | None:
    """The folder in which that process (this one) may make groups; None where the kernel or the machine offers none."""
    place, mount = _group_of(pid or os.getpid()), _mount()
    if place is None or mount is None:
        return None
    root, point = mount
    if place != root and not place.startswith(root.rstrip("/") + "/"):
        return None
    folder = Path(point, place[len(root) :].lstrip("/"))
    ours = place == "/" or Path(place).name.startswith(_PREFIX) or _is_delegated(folder)
    return folder if ours and os.access(folder / "cgroup.procs", os.W_OK) and os.access(folder, os.W_OK) else None


def fence_in_words(folder: Path | None, *, marks: bool) -> str:
    """What ends all that an attempt starts. ``folder``: where groups are made; ``marks``: whether a mark is handed
    down."""
    if folder is not None:
        return f"control groups in {folder}" + (", and the mark that the kernel hands down" if marks else "")
    if marks:
        return "the mark that the kernel hands down (no control group can be made here)"
    return "the process group alone, and what leaves it lives on: neither a mark nor a control group can be had here"


def make_group(folder: Path, mark: int, name: str) -> str:
    """Make a group. Returns its path; ``""`` where that is refused, or the kernel can't end a group (before 5.14)."""
    path = folder / f"{_PREFIX}{mark:x}-{name}"
    try:
        path.mkdir(mode=0o700)
    except OSError:
        return ""
    if not (path / "cgroup.kill").exists():
        remove_group(path)
        return ""
    return str(path)


def enter_group(path: str) -> None:
    """Put this process into the group. Raises OSError where that is refused."""
    _write(Path(path, "cgroup.procs"), b"0")


def kill_group_members(path: str) -> None:
    """SIGKILL all processes of the group, and of groups below it."""
    with contextlib.suppress(OSError):
        _write(Path(path, "cgroup.kill"), b"1")


def is_empty(path: str) -> bool:
    """Whether no process is left in the group and in those below it. A zombie is dead."""
    events = read(f"{path}/cgroup.events")
    return events is None or b"populated 0" in events


def remove_group(path: str | Path) -> None:
    """Remove an empty group, and those below it."""
    with contextlib.suppress(OSError):
        for below in [each for each in os.scandir(path) if each.is_dir(follow_symlinks=False)]:
            remove_group(below.path)
        Path(path).rmdir()


def end_groups(mark: int) -> None:
    """SIGKILL all processes of the groups with that mark, and remove the groups that are empty; those, too, that
    systems have left long ago which were killed and never came back."""
    folder = group_folder()
    if folder is None:
        return
    for path in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _LONG_AGO_S:
                path.rmdir()  # which the kernel refuses where anything is left in it
    for path in folder.glob(f"{_PREFIX}{mark:x}-*"):
        kill_group_members(str(path))
        if is_empty(str(path)):
            remove_group(path)


def _group_of(pid: int) -> str | None:
    lines = (read(f"/proc/{pid}/cgroup") or b"").decode("utf-8", "surrogateescape").splitlines()
    return next((line[3:] for line in lines if line.startswith("0::/")), None)


def _mount() -> tuple[str, str] | None:
    """The group that is the root of the mounted hierarchy, and where it is mounted."""
    for line in (read("/proc/self/mountinfo") or b"").decode("utf-8", "surrogateescape").splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            _, _, _, root, point, *_ = fields.split(" ")
            return root, point
    return None


def _is_delegated(folder: Path) -> bool:
    for name in _DELEGATED:
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name).strip() == b"1":
                return True
    return False


def _write(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)
