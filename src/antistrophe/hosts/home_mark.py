"""What a home remembers of the database that keeps its journal: a mark that only grows, so that an earlier state of the
database is told from a later one."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from antistrophe.linux.home_identity import read_identity
from antistrophe.linux.private_files import replace_private
from antistrophe.linux.procfs import read

FILE_NAME = "mark"


@dataclass(frozen=True, slots=True)
class HomeMark:
    """``home``: the name of the home in the database; empty where it has none, and then it has no mark. ``mark``: the
    largest one that was confirmed. ``restores``: the acknowledgements that the home has seen there."""

    home: str
    mark: int = 0
    restores: tuple[str, ...] = ()


NO_MARK = HomeMark("")
"""That of a home without a name."""


def read_home_mark(home: str | os.PathLike[str]) -> HomeMark:
    """What the home remembers. A copy of a home remembers nothing, and neither does a note that can't be read."""
    identity = read_identity(home)
    if identity is None or not identity.is_of(home):
        return NO_MARK
    try:
        noted = json.loads(read(f"{os.fspath(home)}/{FILE_NAME}") or b"")
        if noted["home"] == identity.id:
            return HomeMark(identity.id, int(noted["mark"]), tuple(map(str, noted["restores"])))
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass
    return HomeMark(identity.id)


def write_home_mark(home: str | os.PathLike[str], mark: HomeMark) -> None:
    """Remember it. It is not synced: what a loss of power takes away is seen again. Raises OSError."""
    noted = {"home": mark.home, "mark": mark.mark, "restores": mark.restores}
    replace_private(Path(home, FILE_NAME), json.dumps(noted).encode())
