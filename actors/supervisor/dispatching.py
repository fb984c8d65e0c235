"""Whether attempts may start: not while anything stands in the way, be it a drain or the want of a lease."""

from __future__ import annotations

from antistrophe.actors.supervisor.live_sagas import LiveSagas
from antistrophe.actors.supervisor.process_keeper import ProcessKeeper


class Dispatching:
    """Halts what starts attempts at the first reason to, and lets it go on where none is left."""

    def __init__(self, sagas: LiveSagas, processes: ProcessKeeper) -> None:
        self._sagas = sagas
        self._processes = processes
        self._reasons: dict[str, None] = {}

    def halt(self, reason: str) -> None:
        """Start no further attempt. ``reason`` completes the sentence "it waits for its turn: ...", and is shown with
        the sagas that are accepted meanwhile."""
        self._reasons[reason] = None
        if len(self._reasons) == 1:
            self._processes.freeze()
            self._sagas.drain(reason)

    def go_on(self, reason: str) -> None:
        """That reason is gone."""
        if self._reasons.pop(reason, reason) is None and not self._reasons:
            self._processes.thaw()
            self._sagas.go_on()
