"""The launcher of a home: the small process that starts the actor system, watches it, and ends it completely.

It lives as long as an application is attached. If one of the processes that carry the system dies, everything is swept
away and started anew; the journal resumes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from antistrophe.errors import AntistropheError, JournalError, SystemUnavailableError
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.launcher import control_protocol
from antistrophe.launcher.connections import Peers
from antistrophe.launcher.home_lock import HomeLock, prepare_home
from antistrophe.launcher.incarnation import Incarnation, IncarnationEndedError
from antistrophe.launcher.signals import Signals
from antistrophe.launcher.spawn import ERROR, HELD, SERVING
from antistrophe.linux.descendants import mark_home_descendants
from antistrophe.linux.process import become_subreaper
from antistrophe.linux.termination import sweep
from antistrophe.messages import ClientLeft, Configuration, Drain, Drained, SupervisorFailed, SupervisorReady
from antistrophe.scheduling.restart_intensity import RestartIntensity
from antistrophe.settings import Settings
from antistrophe.storage.opening import open_database
from antistrophe.transport.authentication import found_system
from antistrophe.transport.sockets import (
    leave_socket_folder,
    remove_dead_sockets,
    remove_leftover_sockets,
    socket_folder,
)

log = logging.getLogger("antistrophe.launcher")

CHECKED_JOURNAL_BYTES = 16 << 20
"""Up to this size the whole journal is checked before it is used; a larger one where it is read."""

_FIRST_HELLO_S = 3.0
_START_LOOK_S = 0.02
_DRAIN_LOOK_S = 0.05
_FENCE_S = 3.0
_SWEEP_S = 5.0


def launch(home: str, settings: dict[str, Any]) -> None:
    """The whole life of a launcher. Tells on standard output how it stands, in one line of JSON, then serves."""
    _log_to_standard_error()
    try:
        launcher = Launcher.open(Path(home), Settings(**settings))
    except AntistropheError as error:
        _say({ERROR: type(error).__name__, "text": str(error)})
        return
    except Exception as error:
        log.exception("the launcher can't start")
        _say({ERROR: SystemUnavailableError.__name__, "text": f"the launcher can't start: {error!r}"})
        return
    if launcher is None:
        _say({HELD: True})
        return
    _say({SERVING: True})
    # Nothing that is started here keeps the application's pipe; what steps print is found in the log, at once.
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    launcher.run()


def _log_to_standard_error() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def _say(line: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the application may be gone
        os.write(1, json.dumps(line).encode() + b"\n")


class Launcher:
    """Holds the lock of its home. ``run`` returns when nothing of the system is left."""

    def __init__(self, home: Path, settings: Settings, folder: Path, lock: HomeLock, now_s: float) -> None:
        self._home = home
        self._settings = settings
        self._folder = folder
        self._lock = lock
        # One steady clock for the whole system, whatever becomes of the wall clock.
        self._configuration = Configuration(str(home), settings, now_s - time.monotonic(), os.getpid())
        self._selector = selectors.DefaultSelector()
        self._signals = Signals(self._selector)
        listener = control_protocol.listen(control_protocol.control_path(folder))
        self._peers = Peers(self._selector, listener, control_protocol.Starting(), self._client_left)
        self._restarts = RestartIntensity(settings.max_restarts, settings.restart_window_s)
        self._life: Incarnation | None = None
        self._generation = 0
        self._start_until = 0.0
        self._first_hello_until = time.monotonic() + _FIRST_HELLO_S
        self._failed = False
        self._own = True
        os.register_at_fork(after_in_child=self._leave_to_parent)

    @classmethod
    def open(cls, home: Path, settings: Settings) -> Launcher | None:
        """Take the home and clear it of what an earlier system left; None when another launcher has it.

        Raises JournalError and SystemUnavailableError.
        """
        prepare_home(home)
        lock = HomeLock.take(home)
        if lock is None:
            return None
        os.chdir(home)
        become_subreaper()
        mark_home_descendants(home)
        found_system()
        _sweep(home)
        folder = socket_folder(home)
        remove_leftover_sockets(folder)
        last_at = _check_journal(journal_path(home), settings)
        return cls(home, settings, folder, lock, _now_s(last_at))

    def run(self) -> None:
        """Serve until there is no more reason to, then end everything."""
        log.info("the launcher of %s starts", self._home)
        try:
            while not self._is_over():
                self._turn()
        except Exception:
            log.exception("the launcher of %s fails", self._home)
        finally:
            self._stop()
        log.info("the launcher of %s ends", self._home)

    # --- the loop ----------------------------------------------------------------------------------------------

    def _is_over(self) -> bool:
        if self._failed or self._signals.asked_to_stop:
            return True
        if self._peers.attached_ever:
            return self._peers.attached == 0
        return time.monotonic() > self._first_hello_until

    def _turn(self) -> None:
        try:
            if self._life is None:
                self._begin_life()
            elif self._life.ready is None:
                self._select(0.0)
                self._await_supervisor(self._life)
            else:
                self._select(None if self._peers.attached_ever else self._first_hello_until - time.monotonic())
            if self._life is not None and (role := self._life.dead()) is not None:
                raise IncarnationEndedError(f"the {role} died")
        except IncarnationEndedError as error:
            self._start_anew(str(error))

    def _select(self, timeout_s: float | None) -> None:
        for key, mask in self._selector.select(timeout_s):
            key.data(mask)
        self._signals.reap()

    def _begin_life(self) -> None:
        self._generation += 1
        self._start_until = time.monotonic() + self._settings.open_timeout_s
        self._life = Incarnation(self._folder, self._configuration)
        self._life.begin()
        for pidfd in self._life.pidfds.values():
            self._selector.register(pidfd, selectors.EVENT_READ, lambda _mask: None)

    def _await_supervisor(self, life: Incarnation) -> None:
        said = life.receive(_START_LOOK_S)
        if isinstance(said, SupervisorReady):
            life.ready = said
            log.info("the actor system is up, with %d open sagas", said.open_sagas)
            self._peers.tell(self._ready(life))
        elif isinstance(said, SupervisorFailed):
            self._fail(said.error, said.text)
        elif time.monotonic() > self._start_until:
            raise IncarnationEndedError(f"the supervisor was not ready within {self._settings.open_timeout_s:g} s")
        else:
            life.configure_again()

    def _ready(self, life: Incarnation) -> control_protocol.Ready:
        return control_protocol.Ready(
            protocol=control_protocol.PROTOCOL,
            generation=self._generation,
            supervisor=life.supervisor,
            launcher_pid=os.getpid(),
            admin_pid=life.pids["admin"],
            logger_pid=life.pids["logger"],
            supervisor_pid=life.pids["supervisor"],
            settings=control_protocol.pack_settings(self._settings),
        )

    def _client_left(self, client_id: str) -> None:
        remove_dead_sockets(self._folder)
        if self._life is not None and self._life.ready is not None:
            self._life.send(ClientLeft(client_id))

    # --- when it dies ------------------------------------------------------------------------------------------

    def _start_anew(self, reason: str) -> None:
        log.error("%s: the actor system ends and is started anew", reason)
        self._end_life()
        left = sweep(self._home, deadline_s=_SWEEP_S)
        if left:
            self._fail(SystemUnavailableError.__name__, _survivors(self._home, left))
        elif self._restarts.delay_s(time.monotonic()) > 0.0:
            often, window_s = self._settings.max_restarts, self._settings.restart_window_s
            text = f"the actor system of {self._home} died more than {often} times in {window_s:g} s, at last: {reason}"
            self._fail(SystemUnavailableError.__name__, text)
        else:
            self._peers.tell(control_protocol.Restarting(reason))

    def _fail(self, error: str, text: str) -> None:
        log.error("giving up: %s: %s", error, text)
        self._failed = True
        self._peers.tell(control_protocol.Failed(error, text))

    def _end_life(self) -> None:
        if self._life is not None:
            for pidfd in self._life.pidfds.values():
                with contextlib.suppress(KeyError):
                    self._selector.unregister(pidfd)
            self._life.close()
            self._life = None

    # --- the end -----------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        """Leave nothing running, whatever hangs: each part has an end in time, and none can keep the others from it."""
        steps: tuple[Callable[[], None], ...] = (
            self._say_stopping,
            self._drain,
            self._end_life,
            self._sweep_last,
            self._signals.reap,
            self._settle_journal,
            self._remove_sockets,
            self._lock.release,
            self._peers.close,
        )
        for step in steps:
            try:
                step()
            except Exception:
                log.exception("a part of the stop failed")

    def _say_stopping(self) -> None:
        if not self._failed:
            self._peers.tell(control_protocol.Stopping())

    def _drain(self) -> None:
        life = self._life
        if life is None or life.ready is None:
            return
        drain_s = self._settings.drain_s
        until = time.monotonic() + drain_s + _FENCE_S
        life.send(Drain(drain_s))
        while time.monotonic() < until and life.dead() is None:
            said = life.receive(_DRAIN_LOOK_S)
            self._select(0.0)
            if isinstance(said, Drained):
                log.info("drained; %d attempts had to be ended", said.fenced)
                return
        log.error("the supervisor did not drain; everything is ended as it stands")

    def _sweep_last(self) -> None:
        left = sweep(self._home, deadline_s=_SWEEP_S)
        if left:
            log.error("%s", _survivors(self._home, left))

    def _settle_journal(self) -> None:
        # The last connection to close moves the log of the last commits into the file: one file is easier to copy.
        with contextlib.suppress(JournalError):
            open_database(journal_path(self._home), synchronous=self._settings.synchronous).close()

    def _remove_sockets(self) -> None:
        remove_leftover_sockets(self._folder)
        leave_socket_folder(self._home, self._folder)

    def _leave_to_parent(self) -> None:
        """In a fork, which is or becomes an actor: keep nothing of the launcher's. A copy of the lock would outlive it,
        and with a copy of a connection no application would notice its death."""
        if not self._own:
            return
        self._own = False
        self._signals.forget()
        self._peers.drop_descriptors()
        self._selector.close()
        with contextlib.suppress(OSError):
            self._lock.release()
        if self._life is not None:
            self._life.drop_descriptors()


def _sweep(home: Path) -> None:
    left = sweep(home, deadline_s=_SWEEP_S)
    if left:
        raise SystemUnavailableError(_survivors(home, left))


def _survivors(home: Path, pids: list[int]) -> str:
    return (
        f"processes of an earlier actor system of {home} can't be killed: pid {', '.join(map(str, pids))}; they have to"
        " be gone before another can start (look at their state in /proc/PID/status)"
    )


def _check_journal(path: Path, settings: Settings) -> float:
    """The moment of its last entry, in seconds since the epoch; 0 where there is none."""
    journal = SqliteJournal(path, synchronous=settings.synchronous)
    try:
        if path.stat().st_size <= CHECKED_JOURNAL_BYTES:
            journal.check()
        return journal.last_at()
    finally:
        journal.close()


def _now_s(last_at: float) -> float:
    """The time of day, but never before what the journal has seen: a clock that was set back would hold up every retry
    and deadline for as long as it was set back by."""
    now = time.time()
    if now < last_at:
        log.warning("this machine's clock is %.0f s behind the journal, whose time goes on", last_at - now)
    return max(now, last_at)
