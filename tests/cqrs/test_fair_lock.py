"""The lock between the follower of a projection and everybody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from antistrophe.cqrs.fair_lock import FairLock
from tests.waiting import until


def test_who_comes_first_goes_before_those_who_have_waited_longer() -> None:
    turn = FairLock()
    order: list[str] = []

    def take(name: str, way: Callable[[], AbstractContextManager[None]]) -> None:
        with way():
            order.append(name)

    threads = [
        threading.Thread(target=take, args=(name, way))
        for name, way in (("a", turn.last), ("b", turn.last), ("c", turn.first), ("d", turn.first))
    ]
    with turn.last():
        for number, thread in enumerate(threads, 1):
            thread.start()
            until(lambda number=number: len(turn._free._waiters) == number, "a waiter")  # type: ignore[misc,attr-defined]
    for thread in threads:
        thread.join(30)
    assert sorted(order[:2]) == ["c", "d"]
    assert sorted(order[2:]) == ["a", "b"]


@pytest.mark.parametrize("way", ["first", "last"])
def test_one_at_a_time_and_free_again_after_an_exception(way: str) -> None:
    turn = FairLock()
    inside: list[int] = []

    def work() -> None:
        for _ in range(300):
            with getattr(turn, way)(), turn.first(), turn.last():  # the same thread may take it again
                inside.append(1)
                assert len(inside) == 1
                inside.pop()

    with pytest.raises(ZeroDivisionError), turn.last():
        raise ZeroDivisionError
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
