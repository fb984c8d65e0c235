"""A request of a client that is not answered yet."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from antistrophe.client.deadline import Deadline
from antistrophe.client.start_up_warning import WARN_AFTER_S
from antistrophe.errors import AntistropheError, JournalBusyError, OverloadedError, SagaExistsError
from antistrophe.launcher.spawn import error_named
from antistrophe.messages import AwaitSaga, Rejected

JOURNAL_PATIENCE_S = 5.0
"""How long a request is made again that the system refuses because another process holds the journal's lock. The system
itself waits for the lock no longer than a fraction of a second, because others wait for the system."""

JOURNAL_PAUSE_S = 0.25

_ROOM_PAUSE_S = 0.25


@dataclass(slots=True)
class PendingRequest:
    """A request that is not answered yet. ``silence_s``: how many seconds a system that is up may leave the request
    unanswered; None: any time. Where ``then`` is given, the system first accepts ``message``; from then on ``then`` is
    sent in its place, and the answer to ``then`` is the answer. ``refused_until``: until when it is made again where
    the journal's lock is held. ``saga_id``: it waits for the end of that saga. ``look_at``: when to look whether that
    saga has begun; None: no more. ``room_until``: until when it waits for a descriptor for its connection."""

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

    room_until: float | None = None

    def accepted(self) -> None:
        assert self.then is not None, "only a request with a follow-up is accepted first"
        self.message, self.then, self.silence_s = self.then, None, None

    def listen_until(self, now: float) -> float:
        """Until when to wait for an answer before the request is sent again, or it is time to look at the saga."""
        again = now + self.resend_s
        if self.saga_id is None or self.look_at is None or self.look_at <= now:
            return again
        return min(again, self.look_at)

    def refuse_unless_busy(self, error: Exception, deadline: Deadline) -> None:
        """Raise the error, unless the journal's lock was held, which may be over in a moment."""
        if self.refused_until is None:
            self.refused_until = time.monotonic() + JOURNAL_PATIENCE_S
        again_at = time.monotonic() + JOURNAL_PAUSE_S
        may_wait = again_at < self.refused_until and deadline.left_s(JOURNAL_PAUSE_S) == JOURNAL_PAUSE_S
        if not (isinstance(error, JournalBusyError) and may_wait):
            raise error

    def wait_for_room(self, error: OverloadedError, deadline: Deadline, patience_s: float) -> None:
        """Pause where this process has no room for its connection. Raises that error for a request that was never sent,
        and after ``patience_s`` seconds; TimeoutError where the deadline is over."""
        if deadline.over:
            raise deadline.error("no answer") from None
        if self.room_until is None:
            self.room_until = time.monotonic() + patience_s
        if self.sent == 0 or time.monotonic() >= self.room_until:
            raise error
        time.sleep(deadline.left_s(_ROOM_PAUSE_S))


def error_in(rejected: Rejected) -> AntistropheError:
    """The error that a rejection names."""
    if rejected.purged is not None:
        return SagaExistsError(rejected.text, status=rejected.purged.status, finished_at=rejected.purged.finished_at)
    return error_named(rejected.error, rejected.text)
