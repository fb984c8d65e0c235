"""Requests to the actor system: sent until they are answered, whatever is lost, dies or starts anew meanwhile."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from antistrophe.client.deadline import Deadline
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import OverloadedError, SystemUnavailableError
from antistrophe.launcher.attachment import Attachment, System
from antistrophe.launcher.spawn import error_named
from antistrophe.messages import Accepted, AwaitSaga, Query, QueryAnswer, Rejected, SagaOutcome, StartSaga
from antistrophe.saga.outcome import Outcome
from antistrophe.transport.mailbox import Mailbox

T = TypeVar("T")

RESEND_S = 1.0
"""How soon a request is sent again that nobody has answered."""

_MOST_PATIENT = 5
"""A wait for the end of a saga is sent again less and less often, but at least after so many times that."""

_IDLE_MAILBOXES = 16


@dataclass(slots=True)
class _Question:
    """A request under way. ``silence_s``: how long a system that is up may leave it unanswered; None: for ever.
    ``then`` takes the place of ``message`` once that is accepted, and is answered instead of it."""

    correlation: str
    message: Any
    answer: type
    silence_s: float | None
    resend_s: float
    then: AwaitSaga | None = None
    sent: int = 0

    def accepted(self) -> None:
        assert self.then is not None, "only what waits for more is accepted first"
        self.message, self.then, self.silence_s = self.then, None, None


class Requests:
    """What one orchestrator sends, from any number of threads. Every answer shows a position of the journal, and later
    questions to the registry see at least the highest of them."""

    def __init__(self, attachment: Attachment, resend_s: float = RESEND_S) -> None:
        self._attachment = attachment
        self._resend_s = resend_s
        self._lock = threading.Lock()
        self._idle: list[tuple[System, Mailbox]] = []
        self._busy: set[Mailbox] = set()
        self._position = 0
        attachment.on_change(self.wake)

    # --- sagas -------------------------------------------------------------------------------------------------

    def start(self, spec: SagaSpec, *, join: bool) -> None:
        """Have a saga accepted; when this returns, it is durable. Raises what it is rejected with."""
        self._ask(self._start_question(spec, join=join, wait=False), Deadline())

    def run(self, spec: SagaSpec, *, join: bool, patience: Deadline) -> Outcome:
        """Have a saga accepted, and wait for its end. Raises what it is rejected with, and TimeoutError."""
        return self._outcome(self._start_question(spec, join=join, wait=True), spec.id, patience)

    def outcome(self, saga_id: str, patience: Deadline) -> Outcome:
        """Wait for the end of a saga. Raises SagaNotFoundError and TimeoutError."""
        correlation = _new_id()
        question = _Question(correlation, AwaitSaga(correlation, saga_id), SagaOutcome, None, self._resend_s)
        return self._outcome(question, saga_id, patience)

    def _start_question(self, spec: SagaSpec, *, join: bool, wait: bool) -> _Question:
        correlation, request_id = _new_id(), _new_id()
        message = StartSaga(correlation, request_id, self._attachment.client_id, spec, join=join, wait=wait)
        then = AwaitSaga(correlation, spec.id) if wait else None
        answer = SagaOutcome if wait else Accepted
        return _Question(correlation, message, answer, self._silence_s, self._resend_s, then)

    def _outcome(self, question: _Question, saga_id: str, patience: Deadline) -> Outcome:
        try:
            outcome: Outcome = self._ask(question, patience).outcome
        except TimeoutError:
            raise patience.error(f"saga {saga_id!r} has not ended") from None
        except SystemUnavailableError as error:
            if question.then is not None:
                raise
            raise SystemUnavailableError(
                f"{error}\nSaga {saga_id!r} was accepted: it goes on as soon as its home is opened again, and"
                f" handle({saga_id!r}).result() waits for its end"
            ) from error
        return outcome

    # --- everything else ---------------------------------------------------------------------------------------

    def ask(self, make: Callable[[str], Any], answer: type[T]) -> T:
        """Send what ``make`` makes of a correlation until it is answered. Raises what it is rejected with."""
        correlation = _new_id()
        question = _Question(correlation, make(correlation), answer, self._silence_s, self._resend_s)
        found: T = self._ask(question, Deadline())
        return found

    def query(
        self, what: str, *, answer_within_s: float = 0.0, patience: Deadline | None = None, **arguments: Any
    ) -> QueryAnswer:
        """Ask the registry, which may take so long to answer."""
        correlation = _new_id()
        message = Query(correlation, what, arguments, at_least=self._position)
        silence_s, resend_s = self._silence_s + answer_within_s, self._resend_s + answer_within_s
        question = _Question(correlation, message, QueryAnswer, silence_s, resend_s)
        answer: QueryAnswer = self._ask(question, patience or Deadline())
        return answer

    def wake(self) -> None:
        """Have every thread that waits look at the state of the system."""
        with self._lock:
            busy = list(self._busy)
        for mailbox in busy:
            mailbox.wake()

    def close(self) -> None:
        """Let go of the mailboxes that nobody uses; those that wait notice that the attachment is closed."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, mailbox in idle:
            mailbox.close()

    # --- until it is answered ----------------------------------------------------------------------------------

    @property
    def _silence_s(self) -> float:
        return self._attachment.settings.reattach_s

    def _ask(self, question: _Question, patience: Deadline) -> Any:
        while True:
            system = self._system(patience)
            with self._mailbox(system, question) as mailbox:
                answer = self._ask_system(system, mailbox, question, patience)
            if answer is not None:
                return answer

    def _system(self, patience: Deadline) -> System:
        try:
            return self._attachment.wait_ready(patience.left_s(self._attachment.settings.reattach_s))
        except SystemUnavailableError:
            if patience.over:
                raise patience.error("no answer") from None
            raise

    def _ask_system(self, system: System, mailbox: Mailbox, question: _Question, patience: Deadline) -> Any:
        """Ask again and again; None when that life of the system is over."""
        began = time.monotonic()
        while self._attachment.is_current(system):
            self._send(mailbox, question)
            answer = self._listen(system, mailbox, question, patience)
            if answer is not None:
                return answer
            if patience.over:
                raise patience.error("no answer")
            if question.silence_s is None:
                question.resend_s = min(question.resend_s * 2, self._resend_s * _MOST_PATIENT)
            elif time.monotonic() - began > question.silence_s:
                raise SystemUnavailableError(
                    f"the actor system of {self._attachment.home} is up, but has not answered"
                    f" {type(question.message).__name__} for {question.silence_s:g} s"
                )
        return None

    def _send(self, mailbox: Mailbox, question: _Question) -> None:
        """Raises OverloadedError where the system does not read, unless it may have the question already."""
        try:
            mailbox.send(question.message)
        except OverloadedError:
            if question.sent == 0:
                raise
        question.sent += 1

    def _listen(self, system: System, mailbox: Mailbox, question: _Question, patience: Deadline) -> Any:
        """The answer, or None: it is time to look around and ask again."""
        until = time.monotonic() + question.resend_s
        while (left_s := patience.left_s(until - time.monotonic())) > 0 and self._attachment.is_current(system):
            answer = mailbox.receive(left_s)
            if getattr(answer, "correlation", None) != question.correlation:
                continue
            self._saw(getattr(answer, "position", 0))
            if isinstance(answer, Rejected):
                raise error_named(answer.error, answer.text)
            if isinstance(answer, question.answer):
                return answer
            if isinstance(answer, Accepted) and question.then is not None:
                question.accepted()
        return None

    def _saw(self, position: int) -> None:
        with self._lock:
            self._position = max(self._position, position)

    # --- mailboxes ---------------------------------------------------------------------------------------------

    @contextmanager
    def _mailbox(self, system: System, question: _Question) -> Iterator[Mailbox]:
        """An end in that life of the system, for this thread alone. One answer comes to each message, so an end is used
        again only where nothing was asked twice or left unanswered: nobody reads what comes to it later."""
        mailbox = self._take_idle(system) or Mailbox(system.supervisor)
        with self._lock:
            self._busy.add(mailbox)
        reusable = False
        try:
            yield mailbox
            reusable = question.sent == 1
        finally:
            with self._lock:
                self._busy.discard(mailbox)
                reusable = reusable and not self._attachment.closed and len(self._idle) < _IDLE_MAILBOXES
                if reusable:
                    self._idle.append((system, mailbox))
            if not reusable:
                mailbox.close()

    def _take_idle(self, system: System) -> Mailbox | None:
        outdated: list[Mailbox] = []
        found: Mailbox | None = None
        with self._lock:
            while self._idle and found is None:
                of, mailbox = self._idle.pop()
                if of is system:
                    found = mailbox
                else:
                    outdated.append(mailbox)
        for mailbox in outdated:
            mailbox.close()
        return found


def _new_id() -> str:
    return uuid.uuid4().hex
