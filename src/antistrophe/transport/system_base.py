"""The system base for Thespian's ActorSystem: starts the actor system of a socket folder, or attaches to it."""

from __future__ import annotations

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from thespian.actors import ActorAddress
from thespian.system.messages.admin import QueryAck, QueryExists
from thespian.system.messages.multiproc import EndpointConnected
from thespian.system.multiprocCommon import MultiProcAdmin, get_multiproc_context, startAdmin
from thespian.system.systemBase import ExternalOpsToActors, systemBase
from thespian.system.transport import ExternalInterfaceTransportInit, ReceiveEnvelope

from antistrophe.errors import SystemUnavailableError
from antistrophe.linux.log_file import bounded_handler
from antistrophe.linux.private_files import make_private_folder, open_private
from antistrophe.linux.process import ProcessIdentity, become_subreaper
from antistrophe.transport.address import address_of, path_of
from antistrophe.transport.endpoint import ADMIN_PATH, read_identity
from antistrophe.transport.sockets import ADMIN_LINK, new_socket_path
from antistrophe.transport.transport import UnixTransport

_LOG_FILE = "thespian.log"
_LOG_BYTES = 10 << 20


class UnixSystemBase(systemBase):
    """The actor system of one socket folder, as this process sees it.

    ``ActorSystem(UnixSystemBase(folder, log_folder=...), transientUnique=True)`` attaches to the system that answers in
    the folder, or starts one; with ``attach_only`` it never starts one. The process that starts the system becomes a
    subreaper, and the whole system dies with it, so a small process of its own should do it. Raises
    SystemUnavailableError.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log_folder: Path | None = None,
        log_bytes: int = _LOG_BYTES,
        attach_only: bool = False,
        timeout_s: float = 10.0,
    ) -> None:
        # Thespian's own constructors are not called: they retry for eleven seconds, start an Admin where none answers,
        # and set TZ in the environment of the application.
        running = _running_admin(folder)
        if running is None and attach_only:
            raise SystemUnavailableError(f"no actor system runs in {folder}")
        admin = running or address_of(new_socket_path(folder))
        self._folder = folder
        self._timeout_s = timeout_s
        self.capabilities = _capabilities(admin)
        log_folder = log_folder or folder
        if running is None:
            _direct_thesplog(log_folder)
        transport = UnixTransport(ExternalInterfaceTransportInit(), self.capabilities)
        ExternalOpsToActors.__init__(self, admin, transport)
        try:
            if running is None:
                self._start(log_definitions(log_folder, log_bytes))
            self._verify()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Detach this process; the system goes on."""
        self.transport.close()

    def _start(self, log_definitions: dict[str, Any]) -> None:
        become_subreaper()
        self._fork_admin(log_definitions)
        _publish(self._folder, self.adminAddr)

    def _fork_admin(self, log_definitions: dict[str, Any]) -> None:
        admin, me = self.adminAddr, self.transport.myAddress
        context = get_multiproc_context(self.capabilities)
        endpoint = self.transport.prepEndpoint(admin, self.capabilities)
        arguments = (MultiProcAdmin, me, endpoint, UnixTransport, admin, self.capabilities, log_definitions, context)
        between = context.Process(target=startAdmin, args=arguments, name="ThespianAdmin")
        between.start()
        between.join()  # it forks the Admin and ends; unlike Thespian's own this leaves no zombie
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            response = self.transport.run(None, timedelta(seconds=deadline - time.monotonic()))
            if isinstance(response, ReceiveEnvelope) and isinstance(response.message, EndpointConnected):
                return
        raise SystemUnavailableError(
            f"the actor system in {self._folder} did not start within {self._timeout_s:g} s; "
            f"{os.environ['THESPLOG_FILE']} may say why"
        )

    def _verify(self) -> None:
        deadline = time.monotonic() + self._timeout_s
        asked = self._tx_to_admin(QueryExists())
        reason = "does not answer"
        while not asked.failed and (rest_s := deadline - time.monotonic()) > 0:
            response = self._run_transport(rest_s)
            if isinstance(response, ReceiveEnvelope) and isinstance(response.message, QueryAck):
                if not response.message.inShutdown:
                    return
                reason = "is stopping"
                break
        raise SystemUnavailableError(f"the actor system in {self._folder} {reason}")

    def __reduce__(self) -> NoReturn:
        raise TypeError("an actor system can't travel to another process: attach to it there")


def admin_and_logger(folder: Path) -> tuple[ProcessIdentity | None, ProcessIdentity | None]:
    """The processes of Thespian's Admin and of its logger in the system of this folder; None for a dead one."""
    return read_identity(folder, "admin"), read_identity(folder, "logger")


def log_definitions(log_folder: Path, log_bytes: int = _LOG_BYTES) -> dict[str, Any]:
    """The configuration of Thespian's logger: append warnings and worse to a file in this folder, which is made if it
    does not exist.

    Raises SystemUnavailableError where the file can't be written: Thespian would not start, and not say why.
    """
    file = log_folder / _LOG_FILE
    definitions: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"}},
        "handlers": {
            "file": {
                "()": f"{bounded_handler.__module__}.{bounded_handler.__name__}",
                "path": str(file),
                "max_bytes": log_bytes,
                "formatter": "line",
            }
        },
        "loggers": {"": {"handlers": ["file"], "level": "WARNING"}},
    }
    try:
        make_private_folder(log_folder, parents=True)
        os.close(open_private(file, os.O_WRONLY | os.O_APPEND))
    except OSError as error:
        raise SystemUnavailableError(f"the log file {file} can't be written: {error.strerror}") from error
    return definitions


def _direct_thesplog(log_folder: Path) -> None:
    # Thespian's own log asks for the temporary folder even if a file is named. The first call tries the folder out, and
    # in a process without a free descriptor this fails and would end it. So it is done here, and forks know the answer.
    os.environ["THESPLOG_FILE"] = str(log_folder / _LOG_FILE)
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        tempfile.tempdir = str(log_folder)


def _capabilities(admin: ActorAddress) -> dict[str, Any]:
    return {
        ADMIN_PATH: path_of(admin),
        "Process Startup Method": "fork",
        "Thespian ActorSystem Name": "antistrophe",
        "Thespian ActorSystem Version": 1,
        "Thespian Watch Supported": True,
    }


def _running_admin(folder: Path) -> ActorAddress | None:
    """The Admin that answers in this folder. Each Admin has a path of its own, so a message to a dead one fails."""
    try:
        admin = address_of(str(folder / (folder / ADMIN_LINK).readlink()))
    except OSError:
        return None
    return admin if UnixTransport.probeAdmin(admin) else None


def _publish(folder: Path, admin: ActorAddress) -> None:
    link = folder / ADMIN_LINK
    fresh = Path(new_socket_path(folder))
    fresh.symlink_to(str(admin.addressDetails))
    fresh.replace(link)
