"""What a process of the actor system is told at its birth, and what forks must not take along.

Endpoints are made in the parent, by fork; the child moves in before it does anything else.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import multiprocessing.util
import os
import time
import uuid
import weakref
from pathlib import Path
from typing import Protocol

from thespian.actors import ActorAddress
from thespian.system.addressManager import ActorLocalAddress
from thespian.system.transport import TransportInit__Base
from thespian.system.utilis import thesplog_control

from antistrophe.linux.process import ProcessIdentity, die_with_parent, identity_of, is_alive
from antistrophe.transport.address import path_of
from antistrophe.transport.sockets import pid_file

ADMIN_PATH = "Admin Path"
"""The capability that names the socket of the Admin."""

_LOGGER_INSTANCE = -1  # Thespian's number for its logger, which is no child like the others
_ADOPTION_S = 10.0
_ADOPTION_PAUSE_S = 0.001


class UnixEndpoint(TransportInit__Base):
    """Who a new process is: its number among its parent's children, the Admin, and the process that made it."""

    def __init__(
        self, instance: int | None, assigned: ActorAddress | None, admin: ActorAddress, role: str | None
    ) -> None:
        self.addrInst = instance
        self.assigned = assigned
        self.admin = admin
        self._role = role
        self._creator = identity_of(os.getpid())

    @classmethod
    def for_child(cls, assigned: ActorAddress, admin: ActorAddress) -> UnixEndpoint:
        """For the child that is known here as ``assigned``: a local address, or the Admin's own."""
        details = assigned.addressDetails
        if not isinstance(details, ActorLocalAddress):
            return cls(None, assigned, admin, "admin")
        number = details.addressInstanceNum
        return cls(number, None, admin, "logger" if number == _LOGGER_INSTANCE else None)

    def move_in(self) -> None:
        """In the new process: die with the creator from now on, and write down who has this role."""
        assert self._creator is not None, "the creator lived when it wrote this"
        _await_adoption(self._creator)
        die_with_parent(self._creator.pid)
        # This process will end like a child of multiprocessing, which runs these and not what atexit knows.
        multiprocessing.util.Finalize(None, _close_all, exitpriority=0)
        path = path_of(self.admin)
        if self._role is not None and path is not None:
            _write_identity(pid_file(Path(path).parent, self._role))


def keep_out_of_tmp() -> None:
    """Where nobody says otherwise, Thespian writes a log under a name in /tmp that anybody can guess: not here."""
    if "THESPLOG_FILE" not in os.environ:
        thesplog_control(logging.CRITICAL, useLogging=False, tmpFileMaxSize=0)


def read_identity(folder: Path, role: str) -> ProcessIdentity | None:
    """Who has that role in the system of this socket folder; None when nobody alive has."""
    try:
        pid, start_ticks, boot = pid_file(folder, role).read_text("ascii").split()
        identity = ProcessIdentity(int(pid), int(start_ticks), boot)
    except (OSError, ValueError):
        return None
    return identity if is_alive(identity) else None


def _await_adoption(creator: ProcessIdentity) -> None:
    # Thespian forks its Admin twice. The starter is a subreaper, so the orphan falls to it, a moment later; a parent
    # death signal that is asked for before would come with the death of the process in between.
    deadline = time.monotonic() + _ADOPTION_S
    while os.getppid() != creator.pid:
        if time.monotonic() > deadline or not is_alive(creator):
            os._exit(1)
        time.sleep(_ADOPTION_PAUSE_S)


def _write_identity(file: Path) -> None:
    identity = identity_of(os.getpid())
    assert identity is not None, "this process lives"
    fresh = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    fresh.write_text(f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n", "ascii")
    fresh.replace(file)


# --- forks --------------------------------------------------------------------------------------------------------


class _End(Protocol):
    def close(self) -> None: ...

    def abandon(self) -> None: ...


_ends: weakref.WeakSet[_End] = weakref.WeakSet()


def register_end(end: _End) -> None:
    """Have this end closed when its process ends, and abandoned in every fork of it.

    A forked copy of a listening socket would keep the address of a dead process alive: what is sent to it would
    neither arrive nor fail.
    """
    _ends.add(end)


def _close_all() -> None:
    for end in list(_ends):
        end.close()


def _abandon_all() -> None:
    for end in list(_ends):
        with contextlib.suppress(OSError):
            end.abandon()
    _ends.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_abandon_all)
