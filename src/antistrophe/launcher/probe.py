"""Connect to the launcher of a home, or ask it for its state, without starting one."""

from __future__ import annotations

import os
import socket
import uuid
from pathlib import Path

from antistrophe.errors import SystemUnavailableError, UnreadableDataError
from antistrophe.launcher import control_protocol
from antistrophe.transport.sockets import existing_socket_folder


def connect(home: Path, hello: control_protocol.Hello, timeout_s: float) -> socket.socket | None:
    """A connection to the launcher, over which ``hello`` was sent; None where no launcher listens.

    Raises SystemUnavailableError where the home's sockets do not belong to this user alone.
    """
    folder = existing_socket_folder(home)
    if folder is None:
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(timeout_s)
        connection.connect(control_protocol.control_path(folder))
        pid, uid = control_protocol.peer_credentials(connection)
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


def probe(home: Path, timeout_s: float = 1.0) -> control_protocol.State | None:
    """The state of a home's launcher at this moment; None where no launcher answers. It does not keep the system up.

    Raises SystemUnavailableError where the home's sockets do not belong to this user alone.
    """
    connection = connect(home, control_protocol.Hello(uuid.uuid4().hex, attach=False), timeout_s)
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
