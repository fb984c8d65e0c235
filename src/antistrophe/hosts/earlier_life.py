"""The note in a home of the lease that its system holds: the next life of the home ends it, and does not wait for it.

What an earlier life has left is killed before the next one begins, so its lease may end at once. That holds for the
same home on the same start of the same machine. Anybody else (a copy of the home, a home on a volume that another
machine has mounted) can't know it, and waits until the lease has lapsed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from antistrophe.linux.home_identity import read_identity
from antistrophe.linux.private_files import write_private
from antistrophe.linux.process import boot_id
from antistrophe.linux.procfs import read

FILE_NAME = "host"
_KEPT = 16


def note_lease(home: str | os.PathLike[str], host_id: str) -> None:
    """Note that this life of the home holds that lease. Raises OSError."""
    known = [*leases_of_earlier_life(home), host_id][-_KEPT:]
    new = Path(home, f"{FILE_NAME}.new")
    new.unlink(missing_ok=True)
    write_private(new, json.dumps({"leases": known, **_here(home)}).encode())
    new.replace(Path(home, FILE_NAME))


def leases_of_earlier_life(home: str | os.PathLike[str]) -> list[str]:
    """The ids of the hosts that this home was before, on this start of this machine."""
    try:
        noted = json.loads(read(f"{os.fspath(home)}/{FILE_NAME}") or b"")
        known = [each for each in noted.pop("leases") if isinstance(each, str)]
    except (ValueError, KeyError, TypeError, AttributeError):
        return []
    return known if noted == _here(home) else []


def _here(home: str | os.PathLike[str]) -> dict[str, str]:
    identity = read_identity(home)
    return {"identity": "" if identity is None or not identity.is_of(home) else identity.id, "boot_id": boot_id()}
