"""Serves the metrics of a home over HTTP, by the server of prometheus_client, in threads of this process."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from antistrophe.errors import SystemStateError
from antistrophe.metrics import collector


@contextmanager
def serving(home: Path, port: int, host: str, *, journal: str | None = None) -> Iterator[str]:
    """Serve ``/metrics`` until the end of the ``with``; yields the address. Port 0 stands for any free one.

    Raises SystemStateError where the port can't be had, and RequestError where prometheus_client is not installed.
    """
    of_home = collector(home, journal=journal)
    from prometheus_client import CollectorRegistry, start_http_server

    registry = CollectorRegistry()
    registry.register(of_home)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise SystemStateError(
            f"metrics can't be served at port {port} of {host}: {why}; choose another with --metrics PORT and"
            " --metrics-host HOST"
        ) from error
    try:
        name = f"[{host}]" if server.address_family == socket.AF_INET6 else host
        yield f"http://{name}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
