"""The launcher of a home: the small process that starts the actor system, watches it, and ends it completely.

It runs as long as an application is attached. If one of the processes that carry the system dies, or the supervisor
does not answer any more, the launcher kills the rest and starts the system again; sagas resume from the journal.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from antistrophe.errors import JournalError, SystemUnavailableError
from antistrophe.journal import JournalPlace, leave_tidy
from antistrophe.launcher import control_protocol
from antistrophe.launcher.connections import ClientConnections
from antistrophe.launcher.drain import Drains
from antistrophe.launcher.files_needed import allow_open_files
from antistrophe.launcher.first_look import check_journal
from antistrophe.launcher.home_lock import HomeLock, prepare_home
from antistrophe.launcher.incarnation import Incarnation, IncarnationEndedError
from antistrophe.launcher.leftovers import SWEEP_S, end_earlier_life, survivors
from antistrophe.launcher.signals import Signals
from antistrophe.launcher.socket_watch import DeadSockets, SocketWatch
from antistrophe.linux.descendants import mark_home_descendants
from antistrophe.linux.process import become_subreaper
from antistrophe.linux.termination import sweep
from antistrophe.messages import ClientLeft, Configuration, SupervisorFailed, SupervisorReady
from antistrophe.scheduling.restart_intensity import RestartIntensity
from antistrophe.settings import Settings
from antistrophe.transport.authentication import found_system
from antistrophe.transport.sockets import (
    leave_socket_folder,
    remove_leftover_sockets,
    socket_folder,
)

log = logging.getLogger("antistrophe.launcher")

_FIRST_HELLO_S = 3.0
_START_POLL_S = 0.02
_PAUSE_S = 0.1  # after the second death within restart_window_s; then 0.3, 0.7, …
_LONGEST_PAUSE_S = 2.0
_LOOK_S = 3.0  # how often a system that runs looks after its sockets


class Launcher:
    """Holds the lock of its home until `run` returns. Then nothing of the system is left."""

    def __init__(self, home: Path, settings: Settings, folder: Path, lock: HomeLock, now_s: float) -> None:
        self._home = home
        self._settings = settings
        self._lock = lock
        # The whole system uses one steady clock, so a change of the wall clock has no effect.
        self._configuration = Configuration(str(home), settings, now_s - time.monotonic(), os.getpid())
        self._selector = selectors.EpollSelector()
        self._signals = Signals(self._selector)
        self._dead_sockets = DeadSockets()
        listener = self._listen(folder)
        self._connections = ClientConnections(self._selector, listener, control_protocol.Starting(), self._client_left)
        self._restarts = RestartIntensity(settings.max_restarts, settings.restart_window_s)
        self._incarnation: Incarnation | None = None
        self._generation = 0
        self._start_until = self._start_at = 0.0
        self._look_at = 0.0
        self._first_hello_until = time.monotonic() + _FIRST_HELLO_S
        self._failed = False
        self._drains = Drains(settings.drain_s, self._selector.fileno(), lambda: self._select(0.0))
        self._drained = False
        self._owner = True
        os.register_at_fork(after_in_child=self._release_in_fork)

    @classmethod
    def open(cls, home: Path, settings: Settings) -> Launcher | None:
        """Take the home and remove what an earlier system left there; None when another launcher holds the home.

        Raises JournalError and SystemUnavailableError.
        """
        prepare_home(home)
        lock = HomeLock.take(home)
        if lock is None:
            return None
        os.chdir(home)
        become_subreaper()
        allow_open_files(settings)
        end_earlier_life(home)
        mark_home_descendants(home)
        found_system()
        folder = socket_folder(home)
        now_s = check_journal(JournalPlace.of_home(home, settings.journal), settings)
        return cls(home, settings, folder, lock, now_s)

    def run(self) -> None:
        """Serve until no application is attached, or SIGTERM, or a failure; then end everything."""
        log.info("the launcher of %s starts", self._home)
        try:
            while not self._is_over() or self._goes_on():
                self._run_once()
        except Exception:
            log.exception("the launcher of %s failed", self._home)
        finally:
            self._stop()
        log.info("the launcher of %s ends", self._home)

    # --- the loop ------------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._failed or self._signals.asked_to_stop:
            return True
        if self._connections.attached_ever:
            return self._connections.attached == 0
        return time.monotonic() > self._first_hello_until

    def _goes_on(self) -> bool:
        """Drain, because nobody is attached. True where somebody attaches before that is done: the system goes on."""
        incarnation = self._incarnation
        if self._failed or self._signals.asked_to_stop or incarnation is None or incarnation.ready is None:
            return False
        self._tell_stopping()
        self._drained = self._drains.drain(incarnation, lambda: not self._is_over()) or not self._drains.call_off(
            incarnation, self._connections.clients(), self._configuration
        )
        if not self._drained:
            self._connections.tell(self._ready(incarnation))
        return not self._drained

    def _run_once(self) -> None:
        try:
            if self._incarnation is None and (pause_s := self._start_at - time.monotonic()) > 0.0:
                self._select(pause_s)
            elif self._incarnation is None:
                self._start_incarnation()
            elif self._incarnation.ready is None:
                self._select(0.0)
                self._await_supervisor(self._incarnation)
            else:
                left_s = float("inf") if self._connections.attached_ever else self._first_hello_until - time.monotonic()
                self._select(min(left_s, self._incarnation.ask(self._connections.clients)))
            if self._incarnation is not None:
                if (why := self._incarnation.over()) is not None:
                    raise IncarnationEndedError(why)
                self._look_after_sockets(self._incarnation)  # after that look: the socket of a dead supervisor goes
        except IncarnationEndedError as error:
            self._restart(str(error))

    def _select(self, timeout_s: float | None) -> None:
        for key, mask in self._selector.select(timeout_s):
            key.data(mask)
        self._signals.reap()

    def _listen(self, folder: Path) -> socket.socket:
        remove_leftover_sockets(folder)
        self._folder = folder
        listener = control_protocol.listen(control_protocol.control_path(folder))
        self._sockets = SocketWatch(self._home, folder)
        return listener

    def _look_after_sockets(self, incarnation: Incarnation) -> None:
        if incarnation.ready is not None and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + _LOOK_S
            self._dead_sockets.remove(self._folder)
            if (lost := self._sockets.lost(incarnation.supervisor)) is not None:
                log.error("%s: what runs may end in %g s, then the system moves", lost, self._settings.drain_s)
                self._drains.drain(incarnation, lambda: False)  # what is connected still hears the supervisor
                raise IncarnationEndedError(lost)

    def _move_sockets(self) -> None:
        """Go where new applications find the system, if its sockets are gone. Those that are attached stay so."""
        if self._sockets.lost() is not None:
            try:
                self._connections.listen_at(self._listen(socket_folder(self._home)))
            except (OSError, SystemUnavailableError) as error:
                self._fail(SystemUnavailableError.__name__, f"the sockets are gone, and others can't be made: {error}")
            else:
                log.info("the sockets are in %s now", self._folder)

    def _start_incarnation(self) -> None:
        self._generation += 1
        self._start_until = time.monotonic() + self._settings.open_timeout_s
        after_death = self._generation > 1 or self._lock.after_death
        self._incarnation = Incarnation(self._folder, replace(self._configuration, after_death=after_death))
        self._incarnation.start()
        for pidfd in self._incarnation.pidfds.values():
            self._selector.register(pidfd, selectors.EVENT_READ, lambda _mask: None)

    def _await_supervisor(self, incarnation: Incarnation) -> None:
        message = incarnation.receive(_START_POLL_S)
        if isinstance(message, SupervisorReady):
            incarnation.ready = message
            log.info("the actor system is up, with %d open sagas", message.open_sagas)
            incarnation.send(self._connections.clients())
            self._connections.tell(self._ready(incarnation))
        elif isinstance(message, SupervisorFailed):
            self._fail(message.error, message.text)
        elif time.monotonic() > self._start_until:
            raise IncarnationEndedError(f"the supervisor was not ready within {self._settings.open_timeout_s:g} s")
        else:
            incarnation.configure_again()

    def _ready(self, incarnation: Incarnation) -> control_protocol.Ready:
        return control_protocol.Ready(
            protocol=control_protocol.PROTOCOL,
            generation=self._generation,
            supervisor=incarnation.supervisor,
            launcher_pid=os.getpid(),
            admin_pid=incarnation.pids["admin"],
            logger_pid=incarnation.pids["logger"],
            supervisor_pid=incarnation.pids["supervisor"],
            settings=control_protocol.pack_settings(self._settings),
        )

    def _client_left(self, client_id: str) -> None:
        self._dead_sockets.somebody_left()
        if self._incarnation is not None and self._incarnation.ready is not None:
            self._incarnation.send(ClientLeft(client_id))

    # --- when the system dies ------------------------------------------------------------------------------------

    def _restart(self, reason: str) -> None:
        log.error("%s: the actor system is ended and started again", reason)
        self._end_incarnation()
        left = sweep(self._home, deadline_s=SWEEP_S)
        if left:
            self._fail(SystemUnavailableError.__name__, survivors(self._home, left))
        elif self._restarts.delay_s(time.monotonic()) > 0.0:
            limit, window_s = self._settings.max_restarts, self._settings.restart_window_s
            often = f"the actor system of {self._home} died more than {limit} times in {window_s:g} s"
            self._fail(SystemUnavailableError.__name__, f"{often}; the last time: {reason}")
        else:
            self._start_at = time.monotonic() + _pause_s(self._restarts.recent)
            self._connections.tell(control_protocol.Restarting(reason))
            self._move_sockets()

    def _fail(self, error: str, text: str) -> None:
        log.error("the launcher gives up: %s: %s", error, text)
        self._failed = True
        self._connections.tell(control_protocol.Failed(error, text))

    def _end_incarnation(self) -> None:
        if self._incarnation is not None:
            for pidfd in self._incarnation.pidfds.values():
                with contextlib.suppress(KeyError):
                    self._selector.unregister(pidfd)
            self._incarnation.close()
            self._incarnation = None

    # --- the end -------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """End everything, even where something hangs: each part ends in bounded time, and none can stop the others."""
        steps: tuple[Callable[[], None], ...] = (
            self._tell_stopping,
            self._drain_at_last,
            self._end_incarnation,
            self._sweep_last,
            self._signals.reap,
            self._leave_journal_tidy,
            self._remove_sockets,
            self._note_good_end,
            self._lock.release,
            self._connections.close,
        )
        for step in steps:
            try:
                step()
            except Exception:
                log.exception("%s failed while the launcher stopped", step.__name__)

    def _tell_stopping(self) -> None:
        if not self._failed:
            self._connections.tell(control_protocol.Stopping(self._settings.drain_s + SWEEP_S))

    def _drain_at_last(self) -> None:
        if not self._drained and self._incarnation is not None and self._incarnation.ready is not None:
            self._drains.drain(self._incarnation, wanted=lambda: False)

    def _sweep_last(self) -> None:
        left = sweep(self._home, deadline_s=SWEEP_S)
        if left:
            log.error("%s", survivors(self._home, left))

    def _leave_journal_tidy(self) -> None:
        with contextlib.suppress(JournalError):
            leave_tidy(JournalPlace.of_home(self._home, self._settings.journal), synchronous=self._settings.synchronous)

    def _note_good_end(self) -> None:
        if not self._failed:
            self._lock.ends_well()

    def _remove_sockets(self) -> None:
        remove_leftover_sockets(self._folder)
        leave_socket_folder(self._home, self._folder)

    def _release_in_fork(self) -> None:
        """In a fork, which becomes an actor: close everything of the launcher's. A copy of the lock would outlive the
        launcher, and with a copy of a connection no application would notice the launcher's death."""
        if not self._owner:
            return
        self._owner = False
        self._signals.forget()
        self._connections.drop_descriptors()
        self._selector.close()
        with contextlib.suppress(OSError):
            self._lock.release()
        if self._incarnation is not None:
            self._incarnation.drop_descriptors()


def _pause_s(deaths: int) -> float:
    """How long the next start waits after so many deaths, so that others get time to work between them."""
    return float(min(_LONGEST_PAUSE_S, _PAUSE_S * (2 ** (min(deaths, 16) - 1) - 1)))
