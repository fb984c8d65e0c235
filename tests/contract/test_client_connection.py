"""The one connection of a client: each thread gets its own answer, and none waits for a connection that ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, cast

import pytest

from antistrophe.client import connection as module
from antistrophe.client.connection import Connection
from antistrophe.launcher.system import System
from antistrophe.settings import Settings
from tests.waiting import until

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Answer:
    correlation: str


class Box:
    """A mailbox in memory."""

    def __init__(self, _supervisor: str) -> None:
        self.closed = False
        self.fails: Exception | None = None
        self._arrived: SimpleQueue[Any] = SimpleQueue()

    def bring(self, message: Any) -> None:
        self._arrived.put(message)

    def receive(self, timeout_s: float | None) -> Any:
        try:
            message = self._arrived.get(timeout=timeout_s)
        except Empty:
            return None
        if self.fails is not None:
            raise self.fails
        return message

    def close(self) -> None:
        self.closed = True
        self.bring(None)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setattr(module, "Mailbox", Box)
    opened = Connection(System(1, "/nowhere", 1, 2, 3, 4, Settings()))
    yield opened
    opened.close()
    opened.join()
    until(lambda: not opened._thread.is_alive(), "the end of its thread")


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(24) as pool:
        yield pool


def box(connection: Connection) -> Box:
    return cast("Box", connection._mailbox)


def wait(connection: Connection, correlation: str) -> Any:
    """What a request gets that waits for the answer to this correlation."""
    inbox = connection.inbox(correlation)
    try:
        return inbox.receive(PATIENCE_S)
    finally:
        connection.forget(correlation)


def waits(connection: Connection, threads: ThreadPoolExecutor, *names: str) -> list[Future[Any]]:
    """Threads that wait, each for its own answer."""
    calls = [threads.submit(wait, connection, name) for name in names]
    until(lambda: connection.waiting == len(names), "they wait")
    return calls


def test_each_gets_its_own_answer_and_one_for_nobody_holds_up_nobody(
    connection: Connection, threads: ThreadPoolExecutor, run_seed: int
) -> None:
    names = [f"{number}" for number in range(20)]
    calls = waits(connection, threads, *names)
    for message in (Answer("gone"), object(), *random.Random(run_seed).sample([*map(Answer, names)], 20)):
        box(connection).bring(message)
    assert [call.result(PATIENCE_S) for call in calls] == [*map(Answer, names)]
    assert connection.waiting == 0
    assert not connection.closed


def test_an_answer_that_comes_twice_or_late_is_dropped(connection: Connection, threads: ThreadPoolExecutor) -> None:
    (first,) = waits(connection, threads, "first")
    for _ in range(3):
        box(connection).bring(Answer("first"))
    assert first.result(PATIENCE_S) == Answer("first")
    (second,) = waits(connection, threads, "second")
    box(connection).bring(Answer("second"))
    assert second.result(PATIENCE_S) == Answer("second")


def test_a_wait_that_is_woken_ends_and_the_others_go_on(connection: Connection, threads: ThreadPoolExecutor) -> None:
    given_up, other = waits(connection, threads, "given up", "other")
    connection.inbox("given up").wake()
    assert given_up.result(PATIENCE_S) is None
    box(connection).bring(Answer("other"))
    assert other.result(PATIENCE_S) == Answer("other")


def test_closing_ends_every_wait(connection: Connection, threads: ThreadPoolExecutor) -> None:
    calls = waits(connection, threads, *(f"{number}" for number in range(10)))
    connection.close()
    assert [call.result(PATIENCE_S) for call in calls] == [None] * 10


def test_a_connection_that_fails_is_closed_and_nobody_waits_on(
    connection: Connection, threads: ThreadPoolExecutor
) -> None:
    calls = waits(connection, threads, "one", "other")
    box(connection).fails = ValueError("a bug")
    box(connection).bring(Answer("one"))
    assert [call.result(PATIENCE_S) for call in calls] == [None, None]
    assert connection.closed
