"""Alarms: what is kept and asked for grows with the alarms that are set, not with those that were."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st

from antistrophe.scheduling.alarms import Alarms, AskedWakeups

FAR = 1e9
ROUNDS = 5_000


def kept_bytes(alarms: Alarms, first: int) -> int:
    """What stays of many alarms that are set and removed, each of another id."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(first, first + ROUNDS):
        alarms.set(f"saga {number}", FAR + number)
        alarms.remove(f"saga {number}")
    kept = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return kept


def all_due(alarms: Alarms, now: float) -> Iterator[str]:
    while (each := alarms.take_due(now)) is not None:
        yield each


def test_alarms_that_were_removed_long_before_they_are_due_are_not_kept() -> None:
    alarms = Alarms()
    alarms.set("stays", FAR)
    kept_bytes(alarms, 0)
    assert kept_bytes(alarms, ROUNDS) < 20 * ROUNDS
    assert alarms.take_due(FAR - 1) is None
    assert alarms.take_due(FAR) == "stays"
    assert alarms.take_due(2 * FAR) is None


def test_an_alarm_that_is_set_again_and_again_goes_off_once() -> None:
    alarms = Alarms()
    for moment in range(ROUNDS, 0, -1):
        alarms.set("one", moment)
    assert (alarms.get("one"), alarms.take_due(ROUNDS), alarms.take_due(ROUNDS)) == (1, "one", None)


def test_a_far_wakeup_is_asked_for_once_however_often_nearer_ones_come() -> None:
    wakeups = AskedWakeups()
    asked = [FAR] if wakeups.lacks(FAR, 0.0) else []
    for now in range(100):
        asked += [each for each in (now + 1.0, FAR, now + 1.0) if wakeups.lacks(each, now)]
        asked += [FAR] if wakeups.lacks(FAR, now + 1.0) else []
    assert asked == [FAR, *range(1, 101)]


def test_a_wakeup_that_comes_a_moment_too_early_is_asked_for_again() -> None:
    wakeups = AskedWakeups()
    assert wakeups.lacks(10.0, 0.0)
    assert not wakeups.lacks(10.0, 9.0)
    assert wakeups.lacks(10.0, 9.9999)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 20)), max_size=30))
def test_whoever_is_woken_as_often_as_asked_for_misses_no_alarm(orders: list[tuple[str, int | None]]) -> None:
    """At each second some alarm is set, or removed; wakeups come when they were asked for, and no other time."""
    alarms, asked = Alarms(), AskedWakeups()
    model, wakeups = dict[str, float](), list[float]()

    def ask(now: float) -> None:
        if (first := alarms.next_at) is not None and asked.lacks(first, now):
            wakeups.append(first)

    for now in range(60):
        if now in wakeups:
            due = {each for each, moment in model.items() if moment <= now}
            assert set(all_due(alarms, now)) == due
            model = {each: moment for each, moment in model.items() if each not in due}
            ask(now)
        if now < len(orders):
            each, in_s = orders[now]
            if in_s is None:
                alarms.remove(each)
                model.pop(each, None)
            else:
                alarms.set(each, now + 1 + in_s)
                model[each] = now + 1 + in_s
            assert alarms.get(each) == model.get(each)
            ask(now)
    assert not model
    assert len(wakeups) == len(set(wakeups))
