"""Waits for the ends of sagas for which no thread is free: one question now and then asks for hundreds of them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from concurrent.futures import Future

from antistrophe.client.held_sagas import CHUNK
from antistrophe.client.request_reply import Requests
from antistrophe.errors import AntistropheError, OverloadedError

LOOK_S = 0.5
"""How long after the last question the next one is asked."""


class EndsWithoutThread:
    """Tells when it is time to ask for the outcome of a saga. Any thread may use it; it has one of its own as long as
    somebody waits."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._lock = threading.Lock()
        self._waits: dict[str, list[Future[None]]] = {}
        self._looks = False
        self._closed = threading.Event()

    def may_have_ended(self, saga_id: str) -> Future[None]:
        """What is done once that saga no longer runs, or nobody can tell. Cancel it when it is not awaited any more.
        Raises OverloadedError."""
        told: Future[None] = Future()
        with self._lock:
            self._waits.setdefault(saga_id, []).append(told)
            if not self._looks:
                try:
                    threading.Thread(target=self._look, name="antistrophe-ends", daemon=True).start()
                except RuntimeError as error:
                    self._waits.pop(saga_id)
                    raise OverloadedError(f"this process can't start a thread that waits: {error}") from error
                self._looks = True
        return told

    def close(self) -> None:
        """Tell all who wait, now."""
        self._closed.set()

    def _look(self) -> None:
        while saga_ids := self._awaited():
            closed = self._closed.wait(LOOK_S)
            live: set[str] = set()
            if not closed:
                # Where there is no answer, whoever waits asks now, and hears what is wrong.
                with contextlib.suppress(AntistropheError, TimeoutError):
                    live = self._live_among(saga_ids)
            self._tell(set(saga_ids) - live)

    def _awaited(self) -> Sequence[str]:
        """The sagas that somebody waits for; this thread ends where there are none."""
        with self._lock:
            for saga_id, waits in list(self._waits.items()):
                waits[:] = [told for told in waits if not told.cancelled()]
                if not waits:
                    del self._waits[saga_id]
            self._looks = bool(self._waits)
            return [*self._waits]

    def _live_among(self, saga_ids: Sequence[str]) -> set[str]:
        live: set[str] = set()
        for first in range(0, len(saga_ids), CHUNK):
            live.update(self._requests.hold(tuple(saga_ids[first : first + CHUNK])))
        return live

    def _tell(self, saga_ids: set[str]) -> None:
        with self._lock:
            told = [each for saga_id in saga_ids for each in self._waits.pop(saga_id, [])]
        for each in told:
            if each.set_running_or_notify_cancel():
                each.set_result(None)
