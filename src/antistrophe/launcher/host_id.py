"""The id by which a home owns sagas in a journal that others share: drawn once, and kept in the home.

A home that was copied, or restored from a copy, draws a new one: two systems with one id would both work on its sagas.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from antistrophe.errors import JournalError
from antistrophe.hosts.description import new_description
from antistrophe.linux.private_files import open_private
from antistrophe.settings import Settings

HOST_NAME = "host.json"
_MACHINE = Path("/etc/machine-id")


def host_id_of(home: Path, settings: Settings) -> str:
    """The id of the home's system. Raises JournalError where it can't be kept."""
    file = home / HOST_NAME
    try:
        found = _kept(file)
        if found is None:
            found = new_description(settings.host, settings.labels, "", settings.lease_s).id
            _keep(file, found)
    except OSError as error:
        raise JournalError(f"{file} can't be used: {error.strerror}") from error
    return found


def _kept(file: Path) -> str | None:
    """The id that was drawn for this very file, on this machine."""
    try:
        with file.open("rb") as opened:
            said = json.loads(opened.read())
            drawn_for = _identity(opened.fileno())
        return str(said["id"]) if said["drawn_for"] == drawn_for else None
    except (FileNotFoundError, ValueError, TypeError, LookupError):
        return None


def _keep(file: Path, host_id: str) -> None:
    beside = file.with_name(f"{HOST_NAME}.new")
    beside.unlink(missing_ok=True)
    with open(open_private(beside, os.O_WRONLY | os.O_TRUNC), "wb") as opened:
        opened.write(json.dumps({"id": host_id, "drawn_for": _identity(opened.fileno())}).encode())
        opened.flush()
        os.fsync(opened.fileno())
    beside.replace(file)


def _identity(descriptor: int) -> str:
    """What a copy of the file does not have: its inode, and the machine."""
    try:
        machine = _MACHINE.read_text("utf-8").strip()
    except OSError:
        machine = ""
    return f"{machine}/{os.fstat(descriptor).st_ino}"
