"""The note in a home of the lease that its system holds: the next life of the home ends it, and does not wait for it.

What an earlier life has left is killed before the next one begins, so its lease may end at once. That holds for the
same home on the same start of the same machine. Anybody else (a copy of the home, a home on a volume that another
machine has mounted) can't know it, and waits until the lease has lapsed.

A *run* of the system is what one launcher keeps up: it may hold one lease after the other, and the next one follows the
one before. A system that is started again is another run.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from antistrophe.linux.home_identity import read_identity
from antistrophe.linux.private_files import replace_private
from antistrophe.linux.process import boot_id
from antistrophe.linux.procfs import read

FILE_NAME = "host"
_KEPT = 16


def note_lease(home: str | os.PathLike[str], host_id: str, run: str) -> None:
    """Note that this run of the home's system holds that lease. Raises OSError."""
    known = [*leases_of_earlier_life(home), host_id][-_KEPT:]
    noted = {"leases": known, "run": run, **_here(home)}
    replace_private(Path(home, FILE_NAME), json.dumps(noted).encode())


def leases_of_earlier_life(home: str | os.PathLike[str]) -> list[str]:
    """The ids of the hosts that this home was before, on this start of this machine."""
    return _noted(home)[0]


def lease_of_run(home: str | os.PathLike[str], run: str) -> str:
    """The last lease that this run of the home's system has held; empty where it has held none."""
    leases, of_run = _noted(home)
    return leases[-1] if leases and run and of_run == run else ""


def _noted(home: str | os.PathLike[str]) -> tuple[list[str], str | None]:
    """The leases, and the run that has held the last one; none where the note is of another home, start or machine."""
    try:
        noted = json.loads(read(f"{os.fspath(home)}/{FILE_NAME}") or b"")
        leases = [each for each in noted.pop("leases") if isinstance(each, str)]
        run = noted.pop("run", None)
    except (ValueError, KeyError, TypeError, AttributeError):
        return [], None
    return (leases, run) if noted == _here(home) else ([], None)


def _here(home: str | os.PathLike[str]) -> dict[str, str]:
    identity = read_identity(home)
    return {"identity": "" if identity is None or not identity.is_of(home) else identity.id, "boot_id": boot_id()}
