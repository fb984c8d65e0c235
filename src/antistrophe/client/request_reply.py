"""Requests to the actor system: each is sent until it is answered, though messages get lost or the system dies."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from antistrophe.client.connection import Connection, Inbox
from antistrophe.client.deadline import Deadline
from antistrophe.client.held_sagas import HeldIds
from antistrophe.client.pending_request import JOURNAL_PAUSE_S, PendingRequest, error_in
from antistrophe.client.start_up_warning import StartUpWarning
from antistrophe.client.where_it_stands import where_it_stands
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import OverloadedError, SystemStateError, SystemUnavailableError
from antistrophe.launcher.attachment import Attachment
from antistrophe.launcher.system import System
from antistrophe.messages import (
    Accepted,
    AwaitSaga,
    GetSaga,
    HeldSagas,
    HoldSagas,
    Introduce,
    Introduced,
    Rejected,
    SagaFound,
    SagaOutcome,
    StartSaga,
    StopWaiting,
)
from antistrophe.saga.outcome import Outcome

T = TypeVar("T")

RESEND_S = 1.0
"""A request that nobody has answered is sent again after this time."""

_RESEND_BYTES_PER_S = 4 << 20
"""The time grows by a second for so many bytes: a large request takes its time to travel and to be journaled."""

_LAST_LOOK_S = 0.5
"""How long a call whose time is up may take to find out what its saga waits for."""

_MAX_RESEND_FACTOR = 5
"""A wait for the end of a saga is sent again less and less often; the pause grows to so many times the first one."""

_LOOK_S = 0.1
_EXPECT_S = 2.0
_INTRODUCE_S = 2.0


class Requests:
    """Sends the requests of one session, from any number of threads.

    A query is answered from the journal as it is when the registry reads the query, so that a caller sees its own
    writes. Every call raises SystemStateError in a fork and after the attachment was closed.
    """

    def __init__(
        self, attachment: Attachment, resend_s: float = RESEND_S, introduction: Callable[[str], Introduce] | None = None
    ) -> None:
        self._attachment = attachment
        self._introduction = introduction
        self._introduced: System | None = None
        self._introducing = threading.Lock()
        self._resend_s = resend_s
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._held = HeldIds()
        self._announced: System | None = None
        self._start_up = StartUpWarning(attachment.home)
        attachment.on_change(self._system_changed)

    # --- sagas ---------------------------------------------------------------------------------------------------

    def start(self, spec: SagaSpec, *, join: bool) -> None:
        """Have a saga accepted: it is durable when this returns. Raises the error that the system rejects it with."""
        self._ask(self._start_request(spec, join=join, wait=False), Deadline())
        if self._held.add(spec.id):
            self._announce()  # the answers tell which of them have ended

    def expect(self, saga_id: str) -> str:
        """Say that this session holds a saga that is accepted in a transaction of the application. Returns the name of
        the lease by which its row has to say so; empty where nobody can tell it now."""
        hold = partial(HoldSagas, client_id=self._attachment.client_id, saga_ids=(saga_id,), last=False, to_come=True)
        try:
            host = self.ask(hold, HeldSagas, deadline=Deadline(_EXPECT_S)).host
        except (TimeoutError, SystemStateError):  # the transaction does not wait for a system that is away
            return ""
        if self._held.add(saga_id):
            self._announce()
        return host

    def run(self, spec: SagaSpec, *, join: bool, deadline: Deadline) -> Outcome:
        """Have a saga accepted, and wait for its end. Raises the error that the system rejects it with, and
        TimeoutError."""
        return self._outcome(self._start_request(spec, join=join, wait=True), spec.id, deadline)

    def outcome(self, saga_id: str, deadline: Deadline) -> Outcome:
        """Wait for the end of a saga. Raises SagaNotFoundError and TimeoutError."""
        return self._outcome(self._outcome_request(saga_id), saga_id, deadline)

    def hold(self, saga_ids: tuple[str, ...], *, last: bool = False) -> tuple[str, ...]:
        """Say that this session holds these sagas. ``last``: no more of them follow. Returns those that are live."""
        make = partial(HoldSagas, client_id=self._attachment.client_id, saga_ids=saga_ids, last=last)
        return self.ask(make, HeldSagas).saga_ids

    def _outcome_request(self, saga_id: str) -> PendingRequest:
        correlation = _new_id()
        wait = AwaitSaga(correlation, saga_id, self._attachment.client_id)
        return PendingRequest(correlation, wait, SagaOutcome, None, self._resend_s, saga_id=saga_id)

    def _start_request(self, spec: SagaSpec, *, join: bool, wait: bool) -> PendingRequest:
        correlation, request_id = _new_id(), _new_id()
        message = StartSaga(correlation, request_id, self._attachment.client_id, spec, join=join, wait=wait)
        then = AwaitSaga(correlation, spec.id, message.client_id) if wait else None
        answer, waits_for = (SagaOutcome, spec.id) if wait else (Accepted, None)
        resend_s = self._resend_s + sum([len(step.input) for step in spec.steps]) / _RESEND_BYTES_PER_S
        return PendingRequest(correlation, message, answer, self._silence_s, resend_s, then, saga_id=waits_for)

    def _outcome(self, request: PendingRequest, saga_id: str, deadline: Deadline) -> Outcome:
        try:
            outcome: Outcome = self._ask(request, deadline).outcome
        except TimeoutError:
            self._held.add(saga_id)
            outcome = self._last_look(saga_id, deadline)
        except SystemUnavailableError as error:
            if request.then is not None:
                raise
            raise SystemUnavailableError(
                f"{error}\nSaga {saga_id!r} was accepted: it goes on as soon as its home is opened again, and"
                f" handle({saga_id!r}).result() waits for its end"
            ) from error
        self._held.remove(saga_id)
        return outcome

    def _last_look(self, saga_id: str, deadline: Deadline) -> Outcome:
        """At the end of a wait, the outcome of a saga that has one after all; else TimeoutError says where it stands.
        So each call learns something, even with ``timeout_s=0``, and asks no faster than it is answered."""
        what = f"saga {saga_id!r} has not ended"
        if deadline.given_up:
            raise deadline.error(what) from None
        last = Deadline(_LAST_LOOK_S)
        try:
            saga = self.ask(partial(GetSaga, saga_id=saga_id), SagaFound, deadline=last).saga
            if saga is not None and not saga.status.running:
                outcome: Outcome = self._ask(self._outcome_request(saga_id), last).outcome
                return outcome
        except (TimeoutError, SystemUnavailableError):
            raise deadline.error(what, f"the actor system of {self._attachment.home} does not answer") from None
        raise deadline.error(what, where_it_stands(saga)) from None

    def _system_changed(self) -> None:
        """Called by the attachment's thread: every thread that waits looks at the system, which may be gone. A later
        incarnation does not know which sagas this session holds."""
        with self._lock:
            connection, closed = self._connection, self._attachment.closed
        if connection is not None:
            connection.close() if closed else connection.wake()
        system = self._attachment.current
        if system is not None and system.number > 1 and system is not self._announced:
            self._announced = system
            threading.Thread(target=self._announce, name="antistrophe-announcement", daemon=True).start()

    def _announce(self) -> None:
        """Tell the system which sagas this session holds, and forget those that have ended."""
        with contextlib.suppress(SystemStateError):  # the next incarnation is told, or the session is closed
            for ids, last in self._held.chunks():
                self._held.remove(*set(ids).difference(self.hold(ids, last=last)))

    # --- everything else -----------------------------------------------------------------------------------------

    def ask(
        self,
        make: Callable[[str], Any],
        answer: type[T],
        *,
        answer_within_s: float = 0.0,
        deadline: Deadline | None = None,
    ) -> T:
        """Send the message that ``make`` makes from a correlation, until it is answered; the answer may be held back
        for ``answer_within_s`` seconds. Raises the error that the system rejects the message with."""
        correlation = _new_id()
        silence_s, resend_s = self._silence_s + answer_within_s, self._resend_s + answer_within_s
        request = PendingRequest(correlation, make(correlation), answer, silence_s, resend_s)
        found: T = self._ask(request, deadline or Deadline())
        return found

    def introduce(self) -> None:
        """Say who this application is, before there is a request. Where that fails, the first request says it."""
        deadline = Deadline(_INTRODUCE_S)
        with contextlib.suppress(TimeoutError, SystemStateError):
            self._introduce(self._connect(self._system(deadline)), deadline)

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        connection = self._connection
        return 0 if connection is None else connection.waiting

    def close(self) -> None:
        """Wait until the connection has ended. The attachment is closed before."""
        connection = self._connection
        if connection is not None:
            connection.join()

    # --- until an answer comes -----------------------------------------------------------------------------------

    @property
    def _silence_s(self) -> float:
        return self._attachment.settings.reattach_s

    def _ask(self, request: PendingRequest, deadline: Deadline) -> Any:
        while True:
            try:
                connection = self._connect(self._system(deadline))
            except OverloadedError as error:
                request.wait_for_room(error, deadline, self._attachment.settings.reattach_s)
                continue
            request.room_until = None
            self._introduce(connection, deadline)
            answer = self._ask_once(connection, request, deadline)
            if answer is not None:
                return answer

    def _system(self, deadline: Deadline) -> System:
        try:
            return self._attachment.wait_ready(deadline.left_s(self._attachment.settings.reattach_s))
        except SystemUnavailableError:
            if deadline.over:
                raise deadline.error("no answer") from None
            raise

    def _introduce(self, connection: Connection, deadline: Deadline) -> None:
        """Say who this application is, once to each incarnation of the system and before anything else."""
        if self._introduction is None or self._introduced is connection.system:
            return
        while not self._introducing.acquire(timeout=deadline.left_s(_LOOK_S)):
            if deadline.over:
                raise deadline.error("no answer")
        try:
            if self._introduced is not connection.system:
                correlation = _new_id()
                message = self._introduction(correlation)
                request = PendingRequest(correlation, message, Introduced, self._silence_s, self._resend_s)
                if self._ask_once(connection, request, deadline) is not None:
                    self._introduced = connection.system
        finally:
            self._introducing.release()

    def _ask_once(self, connection: Connection, request: PendingRequest, deadline: Deadline) -> Any:
        inbox = connection.inbox(request.correlation)
        deadline.wakes(inbox.wake)
        try:
            return self._ask_system(connection, inbox, request, deadline)
        except BaseException:
            self._stop_waiting(connection, request)
            raise
        finally:
            deadline.wakes(None)
            connection.forget(request.correlation)

    def _stop_waiting(self, connection: Connection, request: PendingRequest) -> None:
        """Have the system forget a caller that no longer waits for the end of a saga."""
        if request.saga_id is not None and request.sent:
            with contextlib.suppress(OverloadedError):
                connection.send(StopWaiting(request.correlation, request.saga_id))

    def _ask_system(self, connection: Connection, inbox: Inbox, request: PendingRequest, deadline: Deadline) -> Any:
        """Send the request again and again until it is answered; None when this incarnation of the system is over."""
        began = time.monotonic()
        while self._attachment.is_current(connection.system) and not connection.closed:
            self._send(connection, request)
            answer = self._listen(connection.system, inbox, request, deadline)
            if answer is not None:
                return answer
            if deadline.over:
                raise deadline.error("no answer")
            self._look_at_start(request)
            if request.silence_s is None:
                request.resend_s = min(request.resend_s * 2, self._resend_s * _MAX_RESEND_FACTOR)
            elif time.monotonic() - began > request.silence_s:
                raise SystemUnavailableError(
                    f"the actor system of {self._attachment.home} is up, but has not answered"
                    f" {type(request.message).__name__} for {request.silence_s:g} s"
                )
        return None

    def _look_at_start(self, request: PendingRequest) -> None:
        """Where a saga that this request waits for has not begun for some seconds, warn once."""
        if request.saga_id is None or request.look_at is None or time.monotonic() < request.look_at:
            return
        if self._start_up.is_due():
            request.look_at = None
            with contextlib.suppress(TimeoutError, SystemStateError):
                look = partial(GetSaga, saga_id=request.saga_id)
                saga = self.ask(look, SagaFound, deadline=Deadline(_LAST_LOOK_S)).saga
                if saga is not None:
                    self._start_up.tell(saga)

    def _send(self, connection: Connection, request: PendingRequest) -> None:
        """Raises OverloadedError where the system does not read, unless it may have received the request before."""
        try:
            connection.send(request.message)
        except OverloadedError:
            if request.sent == 0:
                raise
        request.sent += 1

    def _listen(self, system: System, inbox: Inbox, request: PendingRequest, deadline: Deadline) -> Any:
        """The answer, or None when it is time to send the request again."""
        until = request.listen_until(time.monotonic())
        while (left_s := deadline.left_s(until - time.monotonic())) > 0 and self._attachment.is_current(system):
            answer = inbox.receive(left_s)
            if isinstance(answer, Rejected):
                request.refuse_unless_busy(error_in(answer), deadline)
                until = time.monotonic() + JOURNAL_PAUSE_S
            if isinstance(answer, request.answer):
                return answer
            if isinstance(answer, Accepted) and request.then is not None:
                request.accepted()
        return None

    # --- the connection ------------------------------------------------------------------------------------------

    def _connect(self, system: System) -> Connection:
        """The connection to that incarnation of the system, or to a later one. Raises SystemStateError after the
        attachment was closed, and OverloadedError where this process has no descriptor left."""
        with self._lock:
            before = self._connection
            if before is not None and before.system.number >= system.number and not before.closed:
                return before
            if self._attachment.closed:
                self._attachment.wait_ready(0.0)
            connection = self._connection = Connection(system)
        if before is not None:
            before.close()
        return connection


def _new_id() -> str:
    return os.urandom(16).hex()
