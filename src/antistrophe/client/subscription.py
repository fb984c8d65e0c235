"""The changes of all sagas, as they happen."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Self

from antistrophe.client.arguments import check_number
from antistrophe.client.deadline import Deadline
from antistrophe.errors import SystemStateError
from antistrophe.messages import AwaitChanges, Changes
from antistrophe.records import SagaChange

if TYPE_CHECKING:
    from antistrophe.client.session import Session

_CHANGES_AT_ONCE = 256
_POLL_S = 2.0


class ChangeSubscription:
    """An iterator of SagaChange: every change once, in order of position. It waits for the next change, and ends when
    the subscription or its orchestrator is closed::

        with orchestrator.subscribe() as changes:
            for change in changes:
                print(change.saga.id, change.saga.status)

    Several threads may share one subscription: each change goes to one of them.
    """

    def __init__(self, session: Session, from_position: int | None) -> None:
        session.attachment.check_process()
        if from_position is not None:
            check_number(from_position, "from_position, where it is not None,", 0)
        self._session = session
        self._lock = threading.Lock()
        self._waiting: Deadline | None = None
        self._closed = False
        self._ready: deque[SagaChange] = deque()
        # "From now on" means from this call on, however late the first change is asked for.
        self._position = self._fetch(None, 0.0, Deadline()).position if from_position is None else from_position

    @property
    def position(self) -> int:
        """The position of the last change that was handed out; before the first, the position to start after."""
        return self._position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> SagaChange:
        while self.wait(Deadline()):
            change = self.take()
            if change is not None:
                return change
        raise StopIteration

    def wait(self, deadline: Deadline) -> bool:
        """Wait until there is a change to take. False when none will come, or the deadline is over."""
        with self._lock:
            self._waiting = deadline
            try:
                while not (self._ready or self._closed or self._session.attachment.closed or deadline.over):
                    news = self._fetch(self._position, _POLL_S, deadline)
                    self._ready.extend(change for change in news.changes if change.position > self._position)
            except (SystemStateError, TimeoutError):
                if not (self._closed or self._session.attachment.closed or deadline.over):
                    raise
            finally:
                self._waiting = None
            return bool(self._ready) and not self._closed

    def take(self) -> SagaChange | None:
        """The next change, or None where none has come yet."""
        with self._lock:
            change = self._ready.popleft() if self._ready else None
            if change is not None:
                self._position = change.position
            return change

    def close(self) -> None:
        """End the subscription: a thread that waits for the next change gets StopIteration."""
        self._closed = True
        waiting = self._waiting
        if waiting is not None:
            waiting.give_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _fetch(self, after_position: int | None, wait_s: float, deadline: Deadline) -> Changes:
        return self._session.requests.ask(
            lambda correlation: AwaitChanges(correlation, after_position, _CHANGES_AT_ONCE, wait_s),
            Changes,
            answer_within_s=wait_s,
            deadline=deadline,
        )
