"""The fair order: whose turn it is, against a model that looks at everybody."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.definition.spec import LeaseRequest, Origin
from antistrophe.scheduling.admission import Admission, AdmissionRank
from antistrophe.scheduling.fair_order import FairOrder, Level, Ticket, level_of
from antistrophe.scheduling.leases import GrantTo, LoadInto, PoolOrder, StartProcess
from antistrophe.scheduling.process_pool import ProcessPool

USUAL = level_of(urgent=False, priority=0)
LEVELS = [level_of(urgent=urgent, priority=priority) for urgent in (True, False) for priority in (1, 0)]
TICKETS = st.tuples(st.sampled_from("gh"), st.sampled_from(LEVELS), st.sampled_from("abc"), st.sampled_from([None, 1]))


def first_of(waiting: list[Ticket[str, str]], at_work: Counter[str], turns: dict[str, int]) -> str | None:
    """The first by the words of the rule."""
    lines: dict[tuple[Level, str], Ticket[str, str]] = {}
    for each in sorted(waiting, key=lambda each: each.arrival):
        lines.setdefault((each.level, each.name), each)
    may = [each for each in lines.values() if each.most is None or at_work[each.name] < each.most]
    return min(may, key=lambda e: (e.level, at_work[e.name], turns[e.name], e.arrival)).id if may else None


@given(st.lists(st.one_of(TICKETS, st.tuples(st.sampled_from(["begin", "end", "remove"]), st.integers(0, 30)))))
def test_the_first_is_the_one_that_the_rule_names(does: list[Any]) -> None:
    order: FairOrder[str, str] = FairOrder()
    waiting: list[Ticket[str, str]] = []
    working: list[str] = []
    turns: dict[str, int] = {}
    turn = 0
    for number, what in enumerate(does):
        if what[0] in "gh":
            group, level, name, most = what
            waiting.append(Ticket(f"{number}", group, level, name, number, most))
            turns.setdefault(name, turn)
            order.add(waiting[-1])
        elif what[0] == "begin":
            name = "abc"[what[1] % 3]
            turn += 1
            turns[name] = turn
            working.append(name)
            order.begin(name)
        elif what[0] == "end" and working:
            order.end(working.pop(what[1] % len(working)))
        elif what[0] == "remove" and waiting:
            order.remove(waiting.pop(what[1] % len(waiting)))
        known = {*working, *(each.name for each in waiting)}
        turns = {name: turn for name, turn in turns.items() if name in known}
        for group in "gh":
            here = [each for each in waiting if each.group == group]
            found = order.first(group)
            assert (found and found[-1]) == first_of(here, Counter(working), turns)
            assert sorted(order.ids(group)) == sorted(each.id for each in here)
            behind = [each for each in here if each.level > LEVELS[1]]
            found = order.first(group, after=LEVELS[1])
            assert (found and found[-1]) == first_of(behind, Counter(working), turns)
        assert set(order.groups()) == {each.group for each in waiting}


def test_nothing_is_kept_of_names_that_have_left() -> None:
    order: FairOrder[str, str] = FairOrder()
    for number in range(100):
        ticket = Ticket(f"{number}", "g", USUAL, f"name-{number}", number)
        order.add(ticket)
        order.begin(ticket.name)
        order.remove(ticket)
        order.end(ticket.name)
    assert [len(kept) for kept in vars(order).values() if not isinstance(kept, int)] == [0] * 6


# --- admission ----------------------------------------------------------------------------------------------------


def test_a_name_with_one_saga_goes_next_however_many_of_another_name_wait() -> None:
    admission = Admission(2)
    for number in range(500):
        admission.enqueue(f"import-{number}", AdmissionRank("import"), urgent=False)
    assert admission.due() == ["import-0", "import-1"]
    admission.enqueue("order", AdmissionRank("order"), urgent=False)
    admission.left("import-0")
    assert admission.due() == ["order"]
    admission.left("import-1")
    assert admission.due() == ["import-2"], "and then the others again"


def test_names_with_as_many_at_work_take_turns() -> None:
    admission = Admission(1)
    for number in range(9):
        admission.enqueue(f"{'abc'[number // 3]}{number % 3}", AdmissionRank("abc"[number // 3]), urgent=False)
    order: list[str] = []
    for _ in range(9):
        order += admission.due()
        admission.left(order[-1])
    assert order == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "b2", "c2"]


def test_a_higher_priority_takes_no_turns_with_a_lower_one() -> None:
    admission = Admission(1)
    for number in range(3):
        admission.enqueue(f"high-{number}", AdmissionRank("high", None, 1), urgent=False)
    admission.enqueue("low", AdmissionRank("low"), urgent=False)
    order: list[str] = []
    for _ in range(4):
        order += admission.due()
        admission.left(order[-1])
    assert order == ["high-0", "high-1", "high-2", "low"]


def test_one_that_compensates_runs_beside_those_that_have_taken_all_places() -> None:
    admission = Admission(2, beside=1)
    for saga_id in "abc":
        admission.enqueue(saga_id, AdmissionRank("any"), urgent=False)
    assert admission.due() == ["a", "b"]
    for saga_id in "uv":
        admission.enqueue(saga_id, AdmissionRank("any"), urgent=True)
    assert admission.due() == ["u"], "and no more than may run beside them"
    admission.left("a")
    assert admission.due() == ["v"]
    for saga_id in "uv":
        admission.left(saga_id)
    assert admission.due() == ["c"]


def test_a_place_that_is_kept_for_one_that_rests_goes_to_no_other_of_its_name() -> None:
    admission, one = Admission(2), AdmissionRank("import", 1)
    admission.admit("a", one)
    admission.enqueue("b", one, urgent=False)
    admission.rests("a")
    assert (admission.due(), admission.full(AdmissionRank("any"))) == ([], None)
    assert admission.full(one) is not None
    admission.enqueue("a", one, urgent=True)
    assert admission.due() == ["a"]
    admission.rests("a")
    admission.left("a")
    assert admission.due() == ["b"]


def test_one_that_waits_and_has_become_urgent_goes_first() -> None:
    admission = Admission(1)
    for saga_id in "abc":
        admission.enqueue(saga_id, AdmissionRank("any"), urgent=False)
    admission.enqueue("c", AdmissionRank("any"), urgent=True)
    assert admission.due() == ["c"]


@given(st.integers(1, 4), st.integers(0, 3), st.lists(st.tuples(st.integers(0, 5), st.integers(0, 15)), max_size=80))
def test_limits_hold_with_those_beside_and_those_that_rest(limit: int, beside: int, does: list[Any]) -> None:
    admission = Admission(limit, beside)
    ranks = [AdmissionRank("abcd"[number % 4], 2 if number % 4 == 3 else None) for number in range(16)]
    running: set[str] = set()
    resting: set[str] = set()
    left: set[str] = set()
    for what, number in does:
        saga_id = f"{number}"
        if what in (0, 1) and saga_id not in left:
            admission.enqueue(saga_id, ranks[number], urgent=what == 1)
        elif what == 2 and saga_id in running | resting:
            admission.left(saga_id)
            running.discard(saga_id)
            resting.discard(saga_id)
        elif what == 3 and saga_id in running:
            admission.rests(saga_id)
            running.discard(saga_id)
            resting.add(saga_id)
        elif what == 4:
            new = set(admission.due())
            assert not new & running
            running |= new
            resting -= new
        assert len(running) <= limit + beside
        assert sum(int(each) % 4 == 3 for each in running | resting) <= 2
        assert all(admission.is_running(each) for each in running)
    for _ in range(60):
        for each in running | resting:
            admission.left(each)
        running, resting = set(admission.due()), set()
    assert not any(admission.is_waiting(f"{number}") for number in range(16))


# --- the process pool ---------------------------------------------------------------------------------------------

HERE = Origin(None, (), "/a")


class Pool:
    """A pool whose processes start and import at once."""

    def __init__(self, limit: int, **options: Any) -> None:
        self.pool = ProcessPool(limit, "p", leave_places=True, **options)
        self.held: dict[str, str] = {}

    def ask(self, saga_id: str, name: str, **options: Any) -> None:
        self.pool.ask(saga_id, "me", LeaseRequest(HERE, ("m:A",), **options), name)
        self.obey()

    def give_back(self, saga_id: str) -> None:
        self.pool.returned(self.held.pop(saga_id), saga_id, 0.0, reusable=True)
        self.obey()

    def obey(self) -> None:
        while orders := self.pool.plan(0.0):
            for order in orders:
                self._obey(order)

    def _obey(self, order: PoolOrder) -> None:
        match order:
            case StartProcess(name, _):
                self.pool.ready(name, 0.0)
            case LoadInto(name, _, class_refs):
                self.pool.loaded(name, class_refs, 0.0)
            case GrantTo(lease_name, saga_id, _):
                self.held[saga_id] = lease_name


@pytest.mark.parametrize("options", [{}, {"shared": True}])
def test_one_slot_is_left_to_a_name_that_has_none(options: dict[str, Any]) -> None:
    pool = Pool(3, async_limit=1, slots=3)
    for number in range(5):
        pool.ask(f"import-{number}", "import", **options)
    assert sorted(pool.held) == ["import-0", "import-1"]
    pool.ask("order", "order", **options)
    assert sorted(pool.held) == ["import-0", "import-1", "order"]
    pool.give_back("import-0")
    assert sorted(pool.held) == ["import-1", "order"], "the slot is left again"
    pool.give_back("order")
    assert sorted(pool.held) == ["import-1", "import-2"]


def test_the_only_process_is_for_everybody() -> None:
    pool = Pool(1)
    for saga_id in ("import-0", "import-1"):
        pool.ask(saga_id, "import")
    pool.ask("order", "order")
    order: list[str] = []
    while pool.held:
        order += pool.held
        pool.give_back(order[-1])
    assert order == ["import-0", "import-1", "order"], "the name of equals that asked first"


def test_from_four_processes_on_one_is_left_to_compensations() -> None:
    pool = Pool(4)
    for number in range(6):
        pool.ask(f"{number}", f"name-{number}")
    assert sorted(pool.held) == ["0", "1", "2"]
    pool.ask("undo", "name-0", urgent=True)
    assert "undo" in pool.held
    pool.ask("undo-1", "name-0", urgent=True)
    assert "undo-1" not in pool.held, "there is no process"


def test_a_name_that_has_its_share_holds_up_no_lower_priority() -> None:
    pool = Pool(2)
    for number in range(3):
        pool.ask(f"high-{number}", "high", priority=5)
    pool.ask("low", "low")
    assert sorted(pool.held) == ["high-0", "low"]


@given(st.integers(1, 6), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 19), st.booleans()), max_size=60))
def test_no_name_takes_what_is_left_and_everybody_is_served(limit: int, does: list[Any]) -> None:
    pool = Pool(limit)
    lanes: dict[str, tuple[str, bool]] = {}
    for what, number, urgent in does:
        saga_id = f"{number}"
        if what < 3 and saga_id not in lanes:
            lanes[saga_id] = "abcd"[number % 4], urgent
            pool.ask(saga_id, lanes[saga_id][0], urgent=urgent)
        elif what == 3 and saga_id in pool.held:
            pool.give_back(saga_id)
            del lanes[saga_id]
        most = Counter(lanes[each] for each in pool.held).most_common(1)
        assert limit == 1 or not most or most[0][1] < limit, "a lane has all processes"
        forward = sum(not lanes[each][1] for each in pool.held)
        assert forward <= (limit - 1 if limit >= 4 else limit)
        waits = {lane for each, lane in lanes.items() if each not in pool.held}
        with_none = waits - {lanes[each] for each in pool.held}
        free = limit - len(pool.held)
        assert free == 0 or not with_none or all(not urgent for _, urgent in with_none), (
            "an undo waits beside a process"
        )
    while pool.held:
        served = next(iter(pool.held))
        pool.give_back(served)
        del lanes[served]
    assert not lanes
