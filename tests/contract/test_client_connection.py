"""The one connection of a client: of the threads that wait, one reads for all, none for one that left."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, cast

import pytest

from antistrophe.client import connection as module
from antistrophe.client.connection import Connection
from antistrophe.client.deadline import Deadline
from antistrophe.launcher.system import System
from antistrophe.settings import Settings
from tests.waiting import until

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    correlation: str
    number: int = 0


class Interrupted(BaseException):
    """What a signal's handler raises."""


class Box:
    """A mailbox in memory. It may not be read by two threads at a time."""

    def __init__(self, _supervisor: str) -> None:
        self.closed = False
        self.readers: list[int] = []
        self.fails: BaseException | None = None
        self.at_rest = False
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        self._read = threading.Lock()

    def bring(self, message: Any) -> None:
        self._arrived.put(message)

    def receive(self, timeout_s: float) -> Any:
        assert self._read.acquire(blocking=False), "two threads read"
        try:
            self.readers.append(threading.get_ident())
            message = self._arrived.get(timeout=timeout_s)
        except Empty:
            return None
        finally:
            self._read.release()
        fails, self.fails = self.fails, None
        if fails is not None:
            raise fails
        return message

    def wake(self) -> None:
        self._arrived.put(None)

    def close(self) -> None:
        self.closed = True
        self.wake()


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Connection:
    monkeypatch.setattr(module, "Mailbox", Box)
    return Connection(System(1, "/nowhere", 1, 2, 3, 4, Settings()))


def box(connection: Connection) -> Box:
    return cast("Box", connection._mailbox)


class Call:
    """A thread that waits for the answer to one correlation, as a request does."""

    def __init__(self, connection: Connection, correlation: str, timeout_s: float = PATIENCE_S) -> None:
        self.found: Any = None
        self.deadline = Deadline(timeout_s)
        self.raised: BaseException | None = None
        self._connection, self._correlation = connection, correlation
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        inbox = self._connection.inbox(self._correlation, self.deadline)
        try:
            self.found = self._connection.receive(inbox, self.deadline.left_s(PATIENCE_S))
        except BaseException as error:
            self.raised = error
        finally:
            self._connection.forget(self._correlation)

    def result(self) -> Any:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        return self.found


def reads(connection: Connection, correlation: str) -> Call:
    """A call that reads for all."""
    call = Call(connection, correlation)
    until(lambda: box(connection).readers, "it reads")
    return call


def waits(connection: Connection, correlation: str) -> Call:
    """A call that waits for another one, which reads."""
    call = Call(connection, correlation)
    until(lambda: correlation in connection._inboxes and connection._inboxes[correlation].waits, "it waits")
    return call


def test_a_call_that_is_alone_reads_in_its_own_thread(connection: Connection) -> None:
    threads = threading.active_count()
    box(connection).bring(Answer("a"))
    inbox = connection.inbox("a", Deadline())
    assert connection.receive(inbox, PATIENCE_S) == Answer("a")
    connection.forget("a")
    assert box(connection).readers == [threading.get_ident()]
    assert threading.active_count() == threads
    assert connection.waiting == 0
    assert not connection.closed


def test_one_thread_reads_for_all_and_the_next_one_goes_on_when_it_leaves(connection: Connection) -> None:
    first = reads(connection, "first")
    others = [waits(connection, f"other-{number}") for number in range(20)]
    box(connection).bring(Answer("other-7"))
    assert others[7].result() == Answer("other-7")
    assert len({*box(connection).readers}) == 1
    box(connection).bring(Answer("first"))
    assert first.result() == Answer("first")
    for number in reversed([n for n in range(20) if n != 7]):
        box(connection).bring(Answer(f"other-{number}"))
    assert [call.result() for call in others] == [Answer(f"other-{number}") for number in range(20)]
    assert connection.waiting == 0


def test_an_answer_for_nobody_holds_up_nobody(connection: Connection) -> None:
    first = reads(connection, "first")
    for message in (Answer("gone"), object(), Answer("")):
        box(connection).bring(message)
    box(connection).bring(Answer("first"))
    assert first.result() == Answer("first")


def test_a_reader_whose_time_is_up_leaves_the_reading_to_the_next(connection: Connection) -> None:
    first = Call(connection, "first", timeout_s=0.05)
    until(lambda: box(connection).readers, "it reads")
    second = waits(connection, "second")
    assert first.result() is None
    box(connection).bring(Answer("second"))
    assert second.result() == Answer("second")


@pytest.mark.parametrize("which", [0, 1])
def test_a_wait_that_is_given_up_ends_at_once_whether_it_reads_or_not(connection: Connection, which: int) -> None:
    calls = [reads(connection, "reads"), waits(connection, "waits")]
    calls[which].deadline.give_up()
    assert calls[which].result() is None
    box(connection).bring(Answer(("waits", "reads")[which]))
    assert calls[1 - which].result() == Answer(("waits", "reads")[which])


def test_a_reader_that_is_interrupted_while_it_waits_leaves_the_reading_to_the_next(connection: Connection) -> None:
    first = reads(connection, "first")
    others = [waits(connection, f"other-{number}") for number in range(5)]
    box(connection).at_rest = True
    box(connection).fails = Interrupted()
    box(connection).bring(None)
    first.result()
    assert isinstance(first.raised, Interrupted)
    for number in range(5):
        box(connection).bring(Answer(f"other-{number}"))
    assert [call.result() for call in others] == [Answer(f"other-{number}") for number in range(5)]
    assert not connection.closed


def test_a_reader_that_is_interrupted_in_a_message_closes_the_connection(connection: Connection) -> None:
    first = reads(connection, "first")
    others = [waits(connection, f"other-{number}") for number in range(5)]
    box(connection).fails = Interrupted()
    box(connection).bring(Answer("other-0"))
    first.result()
    assert isinstance(first.raised, Interrupted)
    assert [call.result() for call in others] == [None] * 5
    assert connection.closed


def test_a_connection_that_fails_is_closed_and_nobody_sees_the_error(connection: Connection) -> None:
    first, other = reads(connection, "first"), waits(connection, "other")
    box(connection).fails = ValueError("a bug")
    box(connection).bring(Answer("other"))
    assert (first.result(), other.result(), first.raised) == (None, None, None)
    assert connection.closed


def test_nobody_waits_for_a_reader_that_has_vanished(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVERDUE_S", -60.0)
    vanished = connection.inbox("vanished", Deadline())
    assert connection._takes_turn(vanished, 0.0)  # and a second interrupt has kept it from forgetting its request
    assert Call(connection, "other").result() is None
    assert connection.closed


def test_a_thread_that_was_to_read_next_and_has_its_answer_has_another_one_read(connection: Connection) -> None:
    first = reads(connection, "first")
    second, third = waits(connection, "second"), waits(connection, "third")
    with connection._lock:  # the second has its answer and its turn before it runs
        box(connection).bring(Answer("second"))
        box(connection).bring(Answer("first"))
    assert (first.result(), second.result()) == (Answer("first"), Answer("second"))
    box(connection).bring(Answer("third"))
    assert third.result() == Answer("third")


def test_closing_ends_every_wait(connection: Connection) -> None:
    calls = [reads(connection, "first"), *(waits(connection, f"other-{number}") for number in range(10))]
    connection.close()
    assert [call.result() for call in calls] == [None] * 11
    connection.join()


def test_every_call_gets_its_answer_whatever_the_order(connection: Connection, run_seed: int) -> None:
    draw = random.Random(run_seed)
    calls = [(f"{number}", draw.random() < 0.2) for number in range(600)]

    def one(call: tuple[str, bool]) -> Any:
        correlation, given_up = call
        deadline = Deadline(PATIENCE_S)
        inbox = connection.inbox(correlation, deadline)
        try:
            if given_up:
                threading.Thread(target=deadline.give_up).start()
                return connection.receive(inbox, PATIENCE_S)
            box(connection).bring(Answer(correlation))
            return answered(lambda: connection.receive(inbox, PATIENCE_S))
        finally:
            deadline.wakes(None)
            connection.forget(correlation)

    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(one, calls))
    assert found == [None if given_up else Answer(correlation) for correlation, given_up in calls]
    assert connection.waiting == 0
    assert not connection.closed


def answered(receive: Callable[[], Any]) -> Any:
    """What comes; another thread may have woken the mailbox before."""
    return until(receive, "the answer", within_s=PATIENCE_S)
