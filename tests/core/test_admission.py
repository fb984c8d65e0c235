"""Which saga runs now, and how soon something that died is started again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from antistrophe.scheduling.admission import Admission, AdmissionRank
from antistrophe.scheduling.restart_intensity import RestartIntensity

ANY = AdmissionRank("any")


def test_what_is_over_the_limit_waits_in_order_and_the_urgent_come_first() -> None:
    admission = Admission(2)
    admission.admit("a", ANY)
    assert admission.full(ANY) is None
    admission.admit("b", ANY)
    assert admission.full(ANY)
    for saga_id, urgent in (("c", False), ("d", True), ("e", False), ("f", True), ("c", False), ("a", True)):
        admission.enqueue(saga_id, ANY, urgent=urgent)
    assert admission.due() == []
    assert admission.is_waiting("c")
    assert not admission.is_waiting("a"), "what runs does not wait"
    admission.left("a")
    assert admission.due() == ["d"]
    assert admission.is_running("d")
    admission.left("b")
    admission.left("d")
    assert admission.due() == ["f", "c"]
    admission.left("f")
    admission.left("c")
    assert admission.due() == ["e"]
    assert admission.full(ANY) is None


def test_a_new_one_waits_behind_those_that_wait() -> None:
    admission = Admission(1)
    admission.admit("a", ANY)
    admission.enqueue("b", ANY, urgent=False)
    admission.left("a")
    assert admission.full(ANY), "it is somebody else's turn"
    assert admission.due() == ["b"]


def test_what_waits_for_its_own_kind_holds_up_nobody_else() -> None:
    admission = Admission(3)
    one = AdmissionRank("import", 1)
    admission.admit("a", one)
    assert admission.full(one) == "its turn: max_concurrent lets 1 of those called 'import' run at the same time"
    assert admission.full(ANY) is None
    for saga_id in ("b", "c"):
        admission.enqueue(saga_id, one, urgent=False)
    assert admission.due() == []
    admission.enqueue("d", ANY, urgent=False)
    assert admission.due() == ["d"]
    admission.left("a")
    assert admission.due() == ["b"]
    admission.left("d")
    assert admission.full(ANY) is None
    assert admission.is_waiting("c")


def test_the_higher_priority_comes_first_and_what_compensates_before_it() -> None:
    admission = Admission(1)
    admission.admit("a", ANY)
    for saga_id, priority, urgent in (("low", -1, False), ("high", 5, False), ("undo", -9, True), ("usual", 0, False)):
        admission.enqueue(saga_id, AdmissionRank(saga_id, None, priority), urgent=urgent)
    order = ["a"]
    for _ in range(4):
        admission.left(order[-1])
        order += admission.due()
    assert order == ["a", "undo", "high", "usual", "low"]


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["enqueue", "urgent", "left", "due"]), st.integers(0, 9)), max_size=60),
)
def test_nobody_is_lost_and_the_limits_hold(limit: int, does: list[tuple[str, int]]) -> None:
    admission = Admission(limit)
    ranks = [
        AdmissionRank("any", None, number % 3) if number < 5 else AdmissionRank("pair", 2, number)
        for number in range(10)
    ]
    asked: set[str] = set()
    running: set[str] = set()
    for what, number in does:
        saga_id = str(number)
        if what in ("enqueue", "urgent"):
            admission.enqueue(saga_id, ranks[number], urgent=what == "urgent")
            asked.add(saga_id)
        elif what == "left":
            admission.left(saga_id)
            if saga_id in running:
                running.discard(saga_id)
                asked.discard(saga_id)
        else:
            running.update(admission.due())
        assert len(running) <= limit
        assert sum(int(each) >= 5 for each in running) <= 2
        assert all(admission.is_running(each) for each in running)
    while asked:
        for each in running:
            admission.left(each)
        asked -= running
        running = set(admission.due())
        assert running or not asked, f"{asked} wait for ever"
        assert len(running) <= limit


def test_restarts_are_at_once_until_there_are_too_many() -> None:
    restarts = RestartIntensity(3, 10.0)
    assert [restarts.delay_s(now) for now in (0.0, 1.0, 2.0)] == [0.0, 0.0, 0.0]
    assert restarts.delay_s(3.0) == 10.0
    assert restarts.delay_s(14.0) == 0.0, "what is long ago is forgotten"
    never = RestartIntensity(0, 5.0)
    assert never.delay_s(0.0) == 5.0
