"""What a new process of the actor system is told, and what a fork must let go of.

The parent makes the endpoint before it forks; the child calls `move_in` before it does anything else.
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

from antistrophe.linux.private_files import write_private
from antistrophe.linux.process import ProcessIdentity, die_with_parent, identity_of, is_alive
from antistrophe.transport.address import path_of
from antistrophe.transport.sockets import pid_file

ADMIN_PATH = "Admin Path"
"""The capability that names the socket of the Admin."""

_LOGGER_INSTANCE = -1  # Thespian's number for its logger, which is no child like the others
_ADOPTION_S = 10.0
_ADOPTION_PAUSE_S = 0.001


class UnixEndpoint(TransportInit__Base):
    """Who a new process is: its number among its parent's children, the address of the Admin, and its creator."""

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
        """The endpoint of the child that this process knows as ``assigned``: a local address, or that of the Admin."""
        details = assigned.addressDetails
        if not isinstance(details, ActorLocalAddress):
            return cls(None, assigned, admin, "admin")
        number = details.addressInstanceNum
        return cls(number, None, admin, "logger" if number == _LOGGER_INSTANCE else None)

    def move_in(self) -> None:
        """In the new process: die with the creator from now on, and write the pid file of the role."""
        assert self._creator is not None, "the creator lived when it made the endpoint"
        _await_adoption(self._creator)
        die_with_parent(self._creator.pid)
        # This process ends like a child of multiprocessing, which runs finalizers and not what atexit knows.
        multiprocessing.util.Finalize(None, _close_all, exitpriority=0)
        path = path_of(self.admin)
        if self._role is not None and path is not None:
            _write_identity(pid_file(Path(path).parent, self._role))


def keep_out_of_tmp() -> None:
    """Have Thespian write no log of its own, unless the user has named a file: its default is a file in /tmp whose name
    anybody can guess."""
    if "THESPLOG_FILE" not in os.environ:
        thesplog_control(logging.CRITICAL, useLogging=False, tmpFileMaxSize=0)


def read_identity(folder: Path, role: str) -> ProcessIdentity | None:
    """The live process that has this role in the system of this socket folder, or None."""
    try:
        pid, start_ticks, boot = pid_file(folder, role).read_text("ascii").split()
        identity = ProcessIdentity(int(pid), int(start_ticks), boot)
    except (OSError, ValueError):
        return None
    return identity if is_alive(identity) else None


def _await_adoption(creator: ProcessIdentity) -> None:
    # Thespian forks its Admin twice. The creator is a subreaper, so it becomes the parent of the orphan a moment later.
    # A parent death signal that is set before would come with the death of the process in between.
    deadline = time.monotonic() + _ADOPTION_S
    while os.getppid() != creator.pid:
        if time.monotonic() > deadline or not is_alive(creator):
            os._exit(1)
        time.sleep(_ADOPTION_PAUSE_S)


def _write_identity(file: Path) -> None:
    identity = identity_of(os.getpid())
    assert identity is not None, "this process lives"
    fresh = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    write_private(fresh, f"{identity.pid} {identity.start_ticks} {identity.boot_id}\n".encode("ascii"))
    fresh.replace(file)


# --- forks --------------------------------------------------------------------------------------------------------


class OpenEnd(Protocol):
    """A socket of this process that is open, and what to do with it at the end and in a fork."""

    def close(self) -> None: ...

    def abandon(self) -> None: ...


_ends: weakref.WeakSet[OpenEnd] = weakref.WeakSet()


def register_end(end: OpenEnd) -> None:
    """Have this end closed when its process ends, and abandoned in every fork of the process.

    A fork's copy of a listening socket would keep the address of a dead process alive: messages to it would neither
    arrive nor fail.
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
