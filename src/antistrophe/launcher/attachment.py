"""An application's attachment to the system of a home: starts it, keeps it up, and finds it again after its death."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path

from antistrophe.errors import (
    AntistropheError,
    JournalError,
    SystemStateError,
    SystemUnavailableError,
    UnreadableDataError,
)
from antistrophe.launcher import control_protocol
from antistrophe.launcher.home_lock import holder_of, refuse_shared
from antistrophe.launcher.probe import connect
from antistrophe.launcher.same_journal import refuse_other_journal
from antistrophe.launcher.slow_start import SlowStart
from antistrophe.launcher.spawn import Started, error_named, log_tail, start_launcher
from antistrophe.launcher.system import System
from antistrophe.linux.home_identity import home_mark
from antistrophe.linux.own_tasks import reap_marked
from antistrophe.linux.process import identity_of, open_pidfd, wait_readable
from antistrophe.settings import Settings

_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5
_PAUSE_AFTER_FAILURE_S = 1.0
_CONNECT_S = 5.0
_STOP_EXTRA_S = 20.0
"""How long a stop may take beyond its drain: fencing, leaving, the sweep."""
_LAUNCHER_EXIT_S = 10.0
"""How long a launcher that has said its last word may take to be gone: who closes is told that nothing is left."""


class Attachment:
    """Keeps the actor system of a home up while it is open. Any thread may use it; a fork may not.

    Its thread connects to the launcher, or starts one, and follows the states that the launcher tells. When the
    connection ends, the thread begins again. Without ``starts`` it only finds a launcher, and starts none.
    ``meanwhile`` is called, by the thread, while a launcher that it has started loads its program.
    """

    def __init__(
        self, home: Path, settings: Settings, *, starts: bool = True, meanwhile: Callable[[], None] | None = None
    ) -> None:
        self.home = home
        self._starts = starts
        self._meanwhile = meanwhile
        self.client_id = uuid.uuid4().hex
        self._settings = settings
        self._pid = os.getpid()
        self._changed = threading.Condition()
        self._system: System | None = None
        self._seen = 0
        self._slow_start = SlowStart(home)
        self._state = "its launcher was not reached yet"
        self._held = ""
        self._problem: AntistropheError | None = None
        self._closed = False
        self._connection: socket.socket | None = None
        self._stops_until = 0.0
        self._listeners: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="antistrophe-attachment", daemon=True)
        _open.add(self)

    def open(self) -> System:
        """Start or find the system, and wait until it is ready.

        Raises JournalError or SystemUnavailableError when the system can't start, or is not ready within
        ``open_timeout_s``, and JournalError for a home that others could change.
        """
        refuse_shared(self.home)
        self._thread.start()
        try:
            return self._wait(self._settings.open_timeout_s, retry=False)
        except BaseException:
            self.leave()
            self._disconnect()
            self._thread.join(_LAUNCHER_EXIT_S)
            raise

    def wait_ready(self, timeout_s: float) -> System:
        """The system that runs now, or that is ready within ``timeout_s``.

        Raises SystemUnavailableError, JournalError where the journal keeps the system from starting, and
        SystemStateError in a fork and after `close`.
        """
        self.check_process()
        return self._wait(timeout_s, retry=True)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Have ``listener`` called, by another thread, after each change of the system's state."""
        self._listeners.append(listener)

    @property
    def settings(self) -> Settings:
        """The settings of the system that was seen last; before the first, the settings to start it with."""
        return self._settings

    @property
    def current(self) -> System | None:
        """The system that takes requests now, or None."""
        return self._system

    def is_current(self, system: System) -> bool:
        """Whether that incarnation of the system still runs, as far as is known."""
        return self._system is system

    @property
    def closed(self) -> bool:
        """Whether `close` or `leave` was called."""
        return self._closed

    @property
    def foreign(self) -> bool:
        """Whether this process is a fork of the process that opened the attachment."""
        return os.getpid() != self._pid

    def check_process(self) -> None:
        """Raise SystemStateError in a fork of the process that opened the attachment."""
        if self.foreign:
            raise SystemStateError(
                f"{self.home} was opened by process {self._pid} and can't be used in its fork {os.getpid()}: open it"
                " again there, after the fork"
            )

    def close(self) -> None:
        """Leave. The last application to leave waits until the system has stopped and nothing of it is left: up to
        ``drain_s`` and a moment. Does nothing in a fork."""
        if self.foreign:
            return
        self.leave()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(self._settings.drain_s + _STOP_EXTRA_S)
            self._disconnect()
            self._thread.join(_LAUNCHER_EXIT_S)

    def leave(self) -> None:
        """Leave without waiting for anything."""
        with self._changed:
            self._closed = True
            self._close_our_side()
            self._changed.notify_all()
        self._tell_listeners()

    def abandon(self) -> None:
        """In a fork: close the copy of the connection, because the launcher would take it for the parent's."""
        connection = self._connection
        if connection is not None:
            connection.close()

    # --- the state that callers wait for -------------------------------------------------------------------------

    def _wait(self, timeout_s: float, *, retry: bool) -> System:
        began = time.monotonic()
        deadline = began + timeout_s
        with self._changed:
            while True:
                if self._closed:
                    raise SystemStateError(f"the orchestrator of {self.home} is closed")
                if self._system is not None:
                    return self._system
                if self._problem is not None and not retry:
                    raise self._problem
                now = time.monotonic()
                if not retry:  # another system can only start after one that stops, however long its drain may take
                    deadline = max(deadline, self._stops_until)
                if now >= deadline:
                    raise self._unavailable(timeout_s)
                self._changed.wait(
                    min(deadline - now, self._slow_start.look(now - began, self._problem or self._state))
                )

    def _unavailable(self, timeout_s: float) -> AntistropheError:
        if isinstance(self._problem, JournalError):
            return self._problem
        why = f"{self._problem}" if self._problem is not None else f"{self._state}{log_tail(self.home)}"
        return SystemUnavailableError(f"no actor system for {self.home} within {timeout_s:g} s: {why}")

    def _publish(self, state: str, system: System | None = None) -> None:
        with self._changed:
            self._state = state
            self._system = system
            if system is not None:
                self._problem = None
                self._slow_start.over()
            self._changed.notify_all()
        self._tell_listeners()

    def _report(self, problem: AntistropheError) -> None:
        with self._changed:
            self._system = None
            self._problem = problem
            self._changed.notify_all()
        self._tell_listeners()

    def _tell_listeners(self) -> None:
        if sys.is_finalizing():  # the other threads have stopped, some of them with a lock that a listener wants
            return
        for listener in self._listeners:
            listener()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause_s = _FIRST_PAUSE_S
        while not self._closed:
            before = self._seen
            try:
                connection = self._connect() or self._start()
                if connection is not None:
                    self._follow(connection)
            except AntistropheError as error:
                self._report(error)
            except Exception as error:
                self._report(SystemUnavailableError(f"the attachment to {self.home} failed: {error!r}"))
            if self._seen > before:
                pause_s = _FIRST_PAUSE_S
                continue
            self._pause(_PAUSE_AFTER_FAILURE_S if self._problem is not None else pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if not self._closed:
                self._changed.wait(seconds)

    def _connect(self) -> socket.socket | None:
        return connect(self.home, control_protocol.Hello(self.client_id, attach=True), _CONNECT_S)

    def _start(self) -> socket.socket | None:
        """Start a launcher and connect to it; None where it does not serve, as when another launcher does."""
        if not self._starts:
            raise SystemUnavailableError(
                f"no actor system runs in {self.home}, and none is started for this: `antistrophe serve` starts one"
            )
        self._publish(f"a launcher was started{self._held}")
        reap_marked(home_mark(self.home))  # what has ended since: orphans may fall to this process
        started = start_launcher(self.home, self._settings, self._settings.open_timeout_s, self._meanwhile)
        holder = f" ({holder_of(self.home)})" if started is Started.HELD else ""
        self._held = f" again: the last one {started.value}{holder}" if holder else ""
        self._publish(f"the launcher that was started {started.value}{holder}")
        return self._connect() if started is Started.SERVING else None

    def _follow(self, connection: socket.socket) -> None:
        """Follow the states that the launcher tells, until the connection ends."""
        with self._changed:
            self._connection = connection
            self._state = "its launcher was reached, but has not said anything"
            if self._closed:
                self._close_our_side()
        mark = home_mark(self.home)
        pid, _ = control_protocol.peer_credentials(connection)
        launcher = identity_of(pid)
        pidfd = None if launcher is None else open_pidfd(launcher)
        last: control_protocol.State | None = None
        try:
            last = self._listen(connection)
        finally:
            with self._changed:
                self._connection = None
                connection.close()
            if pidfd is not None:
                if isinstance(last, control_protocol.Stopping | control_protocol.Failed):
                    wait_readable(pidfd, _LAUNCHER_EXIT_S)
                os.close(pidfd)
            reap_marked(mark)
        if not isinstance(last, control_protocol.Failed):
            self._publish("its launcher is gone")

    def _listen(self, connection: socket.socket) -> control_protocol.State | None:
        reader = control_protocol.FrameReader(control_protocol.FROM_LAUNCHER)
        last: control_protocol.State | None = None
        while True:
            try:
                data = connection.recv(control_protocol.MAX_FRAME_BYTES)
                frames = reader.feed(data)
            except (OSError, UnreadableDataError):
                return last
            for frame in frames:
                assert not isinstance(frame, control_protocol.Hello), "the reader takes states only"
                last = frame
                self._handle(frame)
            if not data:
                return last

    def _handle(self, state: control_protocol.State) -> None:
        match state:
            case control_protocol.Starting():
                self._publish("it is being started")
            case control_protocol.Restarting(reason):
                self._publish(f"it is being started again ({reason})")
            case control_protocol.Stopping(within_s):
                self._stops_until = time.monotonic() + within_s + self._settings.open_timeout_s
                self._publish("it is stopping")
            case control_protocol.Failed(error, text):
                self._report(error_named(error, text))
            case control_protocol.Ready():
                self._publish("it is ready", self._system_of(state))

    def _system_of(self, ready: control_protocol.Ready) -> System:
        if ready.protocol != control_protocol.PROTOCOL:
            raise SystemUnavailableError(
                f"the actor system of {self.home} was started by another release of antistrophe (pid"
                f" {ready.launcher_pid}): use the same one, or close all applications of that home first"
            )
        # If this application has to start the system again, it uses the same settings.
        found = control_protocol.unpack_settings(ready.settings)
        if self._seen or self._settings.journal is not None:
            refuse_other_journal(self.home, self._settings, found)
        self._settings = found
        self._seen += 1
        pids = ready.launcher_pid, ready.admin_pid, ready.logger_pid, ready.supervisor_pid
        return System(self._seen, ready.supervisor, *pids, found)

    # --- leaving -------------------------------------------------------------------------------------------------

    def _close_our_side(self) -> None:
        """Close our side of the connection; the launcher ends it when it has no more to tell."""
        self._system = None
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_WR)

    def _disconnect(self) -> None:
        with self._changed:
            if self._connection is not None:
                with contextlib.suppress(OSError):
                    self._connection.shutdown(socket.SHUT_RDWR)


_open: weakref.WeakSet[Attachment] = weakref.WeakSet()


def _abandon_all() -> None:
    for attachment in list(_open):
        attachment.abandon()


os.register_at_fork(after_in_child=_abandon_all)
