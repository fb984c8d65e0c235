"""A request of a client that is not answered yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from antistrophe.client.start_up_warning import WARN_AFTER_S
from antistrophe.messages import AwaitSaga


@dataclass(slots=True)
class PendingRequest:
    """A request that is not answered yet. ``silence_s``: how many seconds a system that is up may leave the request
    unanswered; None: any time. Where ``then`` is given, the system first accepts ``message``; from then on ``then`` is
    sent in its place, and the answer to ``then`` is the answer. ``refused_until``: until when it is made again where
    the journal's lock is held. ``saga_id``: it waits for the end of that saga. ``look_at``: when to look whether that
    saga has begun; None: no more."""

    correlation: str
    message: Any
    answer: type
    silence_s: float | None
    resend_s: float
    then: AwaitSaga | None = None
    sent: int = 0
    refused_until: float | None = None
    saga_id: str | None = None
    look_at: float | None = field(default_factory=lambda: time.monotonic() + WARN_AFTER_S)

    def accepted(self) -> None:
        assert self.then is not None, "only a request with a follow-up is accepted first"
        self.message, self.then, self.silence_s = self.then, None, None

    def listen_until(self, now: float) -> float:
        """Until when to wait for an answer before the request is sent again, or it is time to look at the saga."""
        again = now + self.resend_s
        if self.saga_id is None or self.look_at is None or self.look_at <= now:
            return again
        return min(again, self.look_at)
