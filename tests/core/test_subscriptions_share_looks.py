"""Readers that wait behind the same position look for commits of other processes together: one of them for all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from antistrophe.eventstore.recorded import RecordedEvent
from antistrophe.eventstore.subscription import Commits, Subscription
from tests.waiting import until

READERS = 20
DEADLINE_S = 20.0


class File:
    """The positions that are committed, and how often each reader has looked for more of them. A plain number stands
    in for an event."""

    def __init__(self) -> None:
        self.head = 0
        self.commits = Commits()
        self.looks: dict[int, int] = {}
        self._lock = threading.Lock()

    def subscribe(self, reader: int, from_position: int = 0) -> Subscription:
        def fetch(after: int, _limit: int) -> Sequence[Any]:
            with self._lock:
                self.looks[reader] = self.looks.get(reader, 0) + 1
            return range(after + 1, self.head + 1)

        return Subscription(fetch, decoded, self.commits, from_position, 0.005)


def decoded(rows: Sequence[Any]) -> list[RecordedEvent]:
    return [event(each) for each in rows]


def event(position: int) -> RecordedEvent:
    return RecordedEvent(position, "s", position, "t", 1, {}, None, {}, datetime.now(UTC))


class Reader:
    def __init__(self, file: File, number: int, from_position: int = 0) -> None:
        self.seen: list[int] = []
        self.subscription = file.subscribe(number, from_position)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        for each in self.subscription:
            self.seen.append(each.position)


@contextlib.contextmanager
def readers(file: File, *from_positions: int) -> Iterator[list[Reader]]:
    found = [Reader(file, number, position) for number, position in enumerate(from_positions)]
    try:
        until(lambda: len(file.looks) == len(found), "all wait")
        yield found
    finally:
        file.commits.end()
        for each in found:
            each.thread.join(DEADLINE_S)
            assert not each.thread.is_alive()


def busiest(file: File) -> int:
    return max(file.looks.values())


def test_of_readers_that_wait_one_looks() -> None:
    file = File()
    with readers(file, *[0] * READERS):
        until(lambda: busiest(file) >= 50, "one looks")
        assert sorted(file.looks.values())[-2] <= 3, "the others have looked as they began to wait, and no more"


def test_what_the_one_finds_all_get() -> None:
    file = File()
    with readers(file, *[0] * READERS) as found:
        for head in range(1, 6):
            file.head = head  # another process commits: nobody tells
            until(lambda: all(len(each.seen) == file.head for each in found), "all get it")
        assert {tuple(each.seen) for each in found} == {(1, 2, 3, 4, 5)}


def test_where_the_one_goes_another_looks() -> None:
    file = File()
    with readers(file, *[0] * 4) as found:
        left = dict(enumerate(found))
        while len(left) > 1:
            until(lambda: busiest(file) >= 10, "one looks")
            looks_out = max(file.looks, key=file.looks.__getitem__)
            left.pop(looks_out).subscription.close()
            found[looks_out].thread.join(DEADLINE_S)
            file.looks = dict.fromkeys(left, 0)
        file.head = 1
        until(lambda: all(each.seen == [1] for each in left.values()), "all get it")


def test_a_reader_behind_a_position_to_come_keeps_nobody_blind() -> None:
    file = File()
    with readers(file, 1_000, 0, 0) as found:
        until(lambda: file.looks[0] >= 10, "one looks")
        file.head = 1
        until(lambda: [each.seen for each in found] == [[], [1], [1]], "both get it")


def test_a_reader_that_can_wait_no_longer_ends_on_time_beside_the_one_that_looks() -> None:
    file = File()
    with readers(file, 0):
        until(lambda: file.looks[0] >= 5, "one looks")
        assert file.subscribe(1).poll(0.01) is None
        assert file.looks[1] <= 3
        file.head = 1
        assert file.subscribe(2).poll(DEADLINE_S) is not None
