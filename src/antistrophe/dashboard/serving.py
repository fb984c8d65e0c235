"""Serves the dashboard with uvicorn, as `antistrophe dashboard` does: where it listens, and what it refuses to do."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path

import uvicorn

from antistrophe.dashboard.application import application
from antistrophe.errors import RequestError

_STOP_S = 2
_MOST_TOKEN_BYTES = 4_096


def read_token(file: Path) -> str:
    """The token in a file, without the white space around it. Raises RequestError, where others may read it as well."""
    try:
        found = file.stat()
        if found.st_size > _MOST_TOKEN_BYTES:
            raise RequestError(f"{file} has {found.st_size:,} bytes, so it is no token")
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise RequestError(f"the token can't be read from {file}: {reason}") from error
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise RequestError(f"others can read {file}, which has the token: chmod 600 {file}")
    if not token:
        raise RequestError(f"{file} is empty: write a token into it, for instance `openssl rand -hex 24 > {file}`")
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int, *, has_token: bool) -> socket.socket:
    """The socket to serve at. Raises RequestError: an address that others reach needs a token."""
    if not has_token and not is_loopback(host):
        raise RequestError(
            f"{host} can be reached from other machines, and whoever reaches the dashboard may give orders: give a"
            " token with --token-file FILE, or listen at 127.0.0.1"
        )
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=kind, backlog=512)
    except OSError as error:
        raise RequestError(f"can't listen at {host}, port {port}: {error.strerror}; choose another --port") from error
    return listener


def serve(
    home: Path,
    listener: socket.socket,
    *,
    journal: str | None = None,
    token: str | None,
    read_only: bool,
    user_header: str | None,
    root_path: str = "",
) -> None:
    """Serve until SIGINT or SIGTERM. Without a token it answers to the names of this machine only."""
    made = application(
        home,
        journal=journal,
        read_only=read_only,
        token=token,
        user_header=user_header,
        local_only=token is None,
    )
    config = uvicorn.Config(
        made,
        log_level="warning",
        access_log=False,
        server_header=False,
        root_path=root_path.rstrip("/"),
        timeout_graceful_shutdown=_STOP_S,
        forwarded_allow_ips=os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1"),
    )
    with listener:
        uvicorn.Server(config).run(sockets=[listener])
