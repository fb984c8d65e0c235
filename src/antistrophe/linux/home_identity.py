"""The identity of a home: a random number in a file there, which goes along when the home is moved."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from antistrophe.linux.private_files import replace_private
from antistrophe.linux.procfs import read

IDENTITY_NAME = "identity"
_FORMER_KEPT = 16


@dataclass(frozen=True, slots=True)
class HomeIdentity:
    """``id`` names the home. ``device`` and ``inode`` are those of its folder, by which a copy is told from it.
    ``former``: the ids of the homes that it is a copy of."""

    id: str
    device: int
    inode: int
    former: tuple[str, ...] = ()

    def is_of(self, home: str | os.PathLike[str]) -> bool:
        """Whether this is the folder for which it was written; a folder that was renamed is the same."""
        status = os.stat(home)
        return (self.device, self.inode) == (status.st_dev, status.st_ino)


def read_identity(home: str | os.PathLike[str]) -> HomeIdentity | None:
    """The identity in that folder; None where there is none that can be read."""
    try:
        known = json.loads(read(f"{os.fspath(home)}/{IDENTITY_NAME}") or b"")
        return HomeIdentity(
            str(known["id"]), int(known["device"]), int(known["inode"]), tuple(map(str, known["former"]))
        )
    except (ValueError, KeyError, TypeError):
        return None


def renew_identity(home: str | os.PathLike[str]) -> None:
    """Give the folder an identity of its own, which remembers the one that it had. Raises OSError."""
    status, known = os.stat(home), read_identity(home)
    former = () if known is None else (*known.former, known.id)[-_FORMER_KEPT:]
    identity = HomeIdentity(os.urandom(16).hex(), status.st_dev, status.st_ino, former)
    replace_private(Path(home, IDENTITY_NAME), json.dumps(asdict(identity)).encode())


_kept: dict[str, int] = {}


def keep_home_mark(home: str | os.PathLike[str]) -> int:
    """The mark of that home, which this process and its forks go on with even if the folder is removed."""
    mark = _kept[os.path.realpath(home)] = home_mark(home)
    return mark


def home_mark(home: str | os.PathLike[str]) -> int:
    """The mark of what belongs to that home. It is made of the home's identity; of its path, where it has none."""
    kept = _kept.get(os.path.realpath(home))
    if kept is not None:
        return kept
    identity = read_identity(home)
    return path_mark(home) if identity is None else _mark(identity.id.encode())


def path_mark(home: str | os.PathLike[str]) -> int:
    """A mark that is made of the home's path; a home has the same through every symlink."""
    return _mark(os.fsencode(os.path.realpath(home)))


def former_marks(home: str | os.PathLike[str]) -> frozenset[int]:
    """The marks of the homes that this one is a copy of."""
    identity = read_identity(home)
    return frozenset() if identity is None else frozenset(_mark(each.encode()) for each in identity.former)


def is_home_mark(number: int) -> bool:
    """Whether a number is the mark of some home."""
    return number >> 55 == 1


def _mark(name: bytes) -> int:
    # Below 2**56, which is below every mark of a step process; and above any limit that somebody would set.
    return int.from_bytes(hashlib.sha256(name).digest()[:7]) | 1 << 55
