"""Notices that the sockets of a running system have lost their names: nobody can attach any more, whoever runs.

A login session's folder goes with the session ($XDG_RUNTIME_DIR), and people and programs clean up temporary folders.
What is connected stays connected, so the system itself would not notice.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from antistrophe.errors import SystemUnavailableError
from antistrophe.launcher.control_protocol import control_path
from antistrophe.transport.sockets import existing_socket_folder, remove_dead_sockets, write_pointer

log = logging.getLogger("antistrophe.launcher")


class DeadSockets:
    """Removes the sockets that applications leave which die. Each look reads the list of all sockets of the machine, so
    there is one for all applications that have left since the last."""

    def __init__(self) -> None:
        self._left = False

    def somebody_left(self) -> None:
        """An application is gone, and may have left its socket."""
        self._left = True

    def remove(self, folder: Path) -> None:
        """Remove what they have left there."""
        if self._left:
            self._left = False
            remove_dead_sockets(folder)


class SocketWatch:
    """Watches the socket folder that a launcher has made ready, and in which it listens already."""

    def __init__(self, home: Path, folder: Path) -> None:
        self._home = home
        self._folder = folder
        self._places = {path: _place_of(path) for path in (str(folder), control_path(folder))}
        self._home_place = _place_of(str(home))

    def lost(self, *others: str) -> str | None:
        """What has gone of the folder, the control socket and the ``others``; None where all are there.

        Where only the home does not say any more where the folder is, it is written there again. Where the home itself
        has gone, nothing can be done here: the journal says so to whoever wants something.
        """
        if _place_of(str(self._home)) != self._home_place:
            return None
        for path, place in self._places.items():
            if _place_of(path) != place:
                return f"{path} is gone"
        for path in others:
            if _place_of(path) is None:
                return f"{path} is gone"
        self._renew_pointer()
        return None

    def _renew_pointer(self) -> None:
        try:
            if existing_socket_folder(self._home) != self._folder:
                log.warning("%s did not say any more where the sockets are (%s)", self._home, self._folder)
                write_pointer(self._home, self._folder)
        except SystemUnavailableError as error:
            log.error("applications can't find the sockets: %s", error)


def _place_of(path: str) -> tuple[int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
