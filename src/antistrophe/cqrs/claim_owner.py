"""Who owns a claim, and whether its handler still runs: seen in /proc where that can be seen, else told by its lease.

A process can look up the processes of its own boot and PID namespace, and no others: in another container, or on
another host, the same numbers name other processes. A claim from there counts until its lease has lapsed, which its
process renews for as long as the handler runs.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from antistrophe.cqrs.idempotency import runs_here
from antistrophe.fast_dataclass import dataclass
from antistrophe.linux.process import ProcessIdentity, boot_id, identity_of, is_alive
from antistrophe.storage.database import now_us

LEASE_S = 30.0
"""How long a claim counts after it was made or renewed, where nobody can see whether its process lives."""

RENEW_S = LEASE_S / 5

_PID_NAMESPACE = Path("/proc/self/ns/pid")

_log = logging.getLogger("antistrophe.cqrs")


@dataclass(frozen=True, slots=True)
class ClaimOwner:
    """A process as a claim names it. ``place``: the boot, and after a space the PID namespace; claims of older versions
    have the boot alone."""

    pid: int
    start_ticks: int
    place: str

    def runs(self, token: str, renewed_us: int) -> bool:
        """Whether it still runs the handler of its claim, which was made or renewed at that time."""
        seen = self.seen_running(token)
        return now_us() - renewed_us < LEASE_S * 1e6 if seen is None else seen

    def seen_running(self, token: str) -> bool | None:
        """Whether it can be seen to run the handler of its claim. None: nobody can see that from here."""
        if self == this_owner():
            return runs_here(token)
        boot, _, namespace = self.place.partition(" ")
        if boot == boot_id() and namespace in ("", _pid_namespace()):
            return is_alive(ProcessIdentity(self.pid, self.start_ticks, boot))
        return None


def this_owner() -> ClaimOwner:
    """This process as the owner of a claim."""
    me = identity_of(os.getpid())
    assert me is not None, "this process lives"
    return ClaimOwner(me.pid, me.start_ticks, f"{me.boot_id} {_pid_namespace()}")


def _pid_namespace() -> str:
    try:
        return str(_PID_NAMESPACE.readlink())
    except OSError:
        return "unknown"


class Renewals:
    """Renews claims of this process while their handlers run: ``renew`` is told their tokens from time to time, in a
    thread that is there while there are any.

    There is no lock, because a fork would copy it locked. Two threads at once do no harm.
    """

    def __init__(self, renew: Callable[[Collection[str]], None]) -> None:
        self._renew = renew
        self._tokens: dict[str, None] = {}
        self._thread: threading.Thread | None = None

    def begin(self, token: str) -> None:
        """Renew the claim from now on."""
        self._tokens[token] = None
        thread = self._thread
        if thread is None or not thread.is_alive():  # in a fork it is dead
            self._start()

    def end(self, token: str) -> None:
        """Renew the claim no longer."""
        self._tokens.pop(token, None)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="antistrophe-claims", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        pause = threading.Event()
        while not pause.wait(RENEW_S) and self._tokens:
            held = [token for token in list(self._tokens) if runs_here(token)]
            for token in self._tokens.keys() - held:  # its handler could not give it up
                self._tokens.pop(token, None)
            try:
                self._renew(held)
            except Exception as error:  # the next turn comes well before the lease lapses
                _log.warning("the claims of %d idempotency keys could not be renewed: %s", len(held), error)
        self._thread = None
        if self._tokens:
            self._start()
