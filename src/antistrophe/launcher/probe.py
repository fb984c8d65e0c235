"""Reach the launcher of a home where one runs, without starting one."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

from antistrophe.errors import SystemUnavailableError, UnreadableDataError
from antistrophe.launcher import control_protocol
from antistrophe.transport.sockets import existing_socket_folder


def reach(home: Path, hello: control_protocol.Hello, timeout_s: float) -> socket.socket | None:
    """A connection to the launcher, which has been greeted; None where there is none, or it does not listen.

    Raises SystemUnavailableError where the home's sockets are not this user's alone.
    """
    folder = existing_socket_folder(home)
    if folder is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(control_protocol.control_path(folder))
        pid, uid = control_protocol.peer_of(connection)
        if uid != os.geteuid():
            raise SystemUnavailableError(f"{folder} is served by process {pid} of another user (uid {uid})")
        connection.sendall(control_protocol.encode(hello))
        connection.settimeout(None)
    except OSError:
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def look(home: Path, timeout_s: float = 1.0) -> control_protocol.State | None:
    """What the launcher of a home says at this moment, without keeping the system up; None where none is running.

    Raises SystemUnavailableError where the home's sockets are not this user's alone.
    """
    connection = reach(home, control_protocol.Hello(uuid.uuid4().hex, attach=False), timeout_s)
    if connection is None:
        return None
    with connection:
        connection.settimeout(timeout_s)
        reader = control_protocol.FrameReader(control_protocol.FROM_LAUNCHER)
        try:
            while data := connection.recv(control_protocol.MAX_FRAME_BYTES):
                for frame in reader.feed(data):
                    assert not isinstance(frame, control_protocol.Hello), "the reader takes states only"
                    return frame
        except (OSError, UnreadableDataError):
            pass
    return None
