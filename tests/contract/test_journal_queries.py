"""What monitoring asks of a journal, in a file and in memory: states, changes, lists, histories, counts."""

from __future__ import annotations

import string
from dataclasses import replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.errors import RequestError
from antistrophe.journal import Journal, SqliteJournal
from antistrophe.records import SagaStatus, StepStatus
from antistrophe.saga.entries import Action, Entry, RetryScheduled
from antistrophe.saga.state import Saga, evolve, replay
from antistrophe.saga.view import at, metadata_of
from antistrophe.serialization.whole_numbers import LARGEST_INTEGER
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    RESOLVED,
    RETRY,
    START,
    TURN_BACK,
    UNDONE,
    accepted,
    append,
    as_kept,
    counted,
    failed,
    ids,
    run,
    started,
    waits,
)

# --- what monitoring asks -----------------------------------------------------------------------------------------


def test_a_saga_on_its_way_through(journal: Journal) -> None:
    run(journal, "s", *TURN_BACK, UNDONE)
    assert [(change.saga.status, change.saga.steps_executed) for change in journal.changes(0, 100)] == [
        (SagaStatus.EXECUTING, 0),
        (SagaStatus.EXECUTING, 0),
        (SagaStatus.EXECUTING, 1),
        (SagaStatus.COMPENSATING, 1),
        (SagaStatus.COMPENSATED, 1),
    ]
    saga = journal.metadata("s")
    assert saga is not None
    assert saga == journal.changes(0, 100)[-1].saga
    assert saga.created_at == datetime.fromtimestamp(START, UTC)
    assert saga.error is not None
    assert "no money" in saga.error
    assert [each.status for each in saga.steps] == [StepStatus.COMPENSATED, StepStatus.FAILED]


def test_changes_are_those_behind_a_position(journal: Journal) -> None:
    run(journal, "a", *FORWARD)
    run(journal, "b", FORWARD[0])
    positions = [change.position for change in journal.changes(0, 100)]
    assert positions == [1, 2, 4, 6, 7, 8]
    assert [change.position for change in journal.changes(4, 100)] == [6, 7, 8]
    assert [change.position for change in journal.changes(3, 2)] == [4, 6]
    assert journal.changes(8, 100) == []


def test_people_see_the_machines_time_of_each_entry() -> None:
    """Its clock may jump. What has been shown once does not change with that."""
    journal = SqliteJournal(open_in_memory())
    saga: Saga | None = None
    for ahead_s, entries in zip((5.5, 5.5, -60.0, 7.25), ((accepted("s"),), *FORWARD), strict=True):
        row = as_kept(saga, entries)
        seq = 0 if saga is None else saga.seq
        journal.append("s", expected_seq=seq, entries=entries, row=row, ahead_s=ahead_s)
        saga = reduce(evolve, entries, saga)
    changes = [change.saga for change in journal.changes()]
    shown = journal.metadata("s")
    assert shown == changes[-1]
    first, second = shown.steps
    assert (first.started_at, first.finished_at) == (at(START + 1 + 5.5), at(START + 2 - 60))
    assert (second.started_at, second.finished_at) == (at(START + 1 - 60), at(START + 2 + 7.25))
    assert shown.updated_at == at(START + 4 + 7.25)
    assert [change.steps[0].started_at for change in changes[1:]] == [first.started_at] * 3
    moments = [entry.at for entry in journal.timeline("s")]
    assert moments[1:4] == [first.started_at, first.finished_at, second.started_at]
    journal.close()


def test_a_retry_is_announced_by_the_machines_clock() -> None:
    journal = SqliteJournal(open_in_memory())
    entries: tuple[Entry, ...] = (
        accepted("s"),
        started(0),
        failed(0),
        RetryScheduled(START + 3, 0, Action.EXECUTE, START + 9),
    )
    journal.append("s", expected_seq=0, entries=entries, row=as_kept(None, entries), ahead_s=100.0)
    shown = journal.metadata("s")
    assert shown is not None
    assert at(START + 109).isoformat() in str(shown.waiting)
    assert journal.list(text="the next attempt to execute Debit comes at").sagas == (shown,)
    journal.close()


def test_live_sagas_are_told_in_order_of_acceptance(journal: Journal) -> None:
    run(journal, "z", *TURN_BACK)
    run(journal, "done", *FORWARD)
    run(journal, "a", FORWARD[0])
    run(journal, "parked", *TURN_BACK, PARK)
    append(journal, "new", accepted("new"), waits("its turn"))
    assert journal.live() == [("z", True), ("a", False), ("new", False)]
    assert counted(journal) == {
        SagaStatus.EXECUTING: 2,
        SagaStatus.COMPENSATING: 1,
        SagaStatus.COMPLETED: 1,
        SagaStatus.FAILED: 1,
    }


def test_history_is_in_order_of_finishing(journal: Journal) -> None:
    for saga_id in ("a", "b", "c"):
        run(journal, saga_id, *FORWARD[:2])
    for saga_id in ("c", "a", "b"):
        append(journal, saga_id, *FORWARD[2])
    assert ids(journal.history()) == ["c", "a", "b"]
    assert ids(journal.history(limit=2)) == ["a", "b"]
    assert ids(journal.history(limit=1)) == ["b"]


def test_a_limit_over_every_number_of_sagas_lists_all(journal: Journal) -> None:
    run(journal, "a", *FORWARD)
    assert ids(journal.history(limit=LARGEST_INTEGER)) == ["a"]
    page = journal.list(limit=LARGEST_INTEGER)
    assert ids(page.sagas) == ["a"]
    assert page.cursor is None


def test_a_parked_saga_leaves_the_history_and_enters_it_again(journal: Journal) -> None:
    run(journal, "first", *TURN_BACK, PARK)
    run(journal, "second", *FORWARD)
    run(journal, "third", *TURN_BACK, PARK)
    assert ids(journal.history()) == ["first", "second", "third"]
    append(journal, "first", *RETRY)
    assert ids(journal.history()) == ["second", "third"]
    assert journal.live() == [("first", True)]
    append(journal, "first", *UNDONE)
    append(journal, "third", *RESOLVED)
    assert ids(journal.history()) == ["second", "first", "third"]
    assert journal.live() == []
    assert counted(journal) == {SagaStatus.COMPLETED: 1, SagaStatus.COMPENSATED: 2}


def test_a_saga_that_stays_parked_keeps_its_place(journal: Journal) -> None:
    run(journal, "first", *TURN_BACK, PARK)
    run(journal, "second", *FORWARD)
    row = metadata_of(replay(journal.load("first")))
    journal.append("first", expected_seq=10, entries=[waits("still")], row=replace(row, error="still parked"))
    assert ids(journal.history()) == ["first", "second"]
    found = journal.metadata("first")
    assert found is not None
    assert found.error == "still parked"


def test_counts_keep_up_with_what_happens(journal: Journal) -> None:
    """They may be added up, as long as nothing is counted twice or forgotten."""
    numbers: dict[SagaStatus, int] = {}
    for number in range(12):
        parts = (FORWARD, (*TURN_BACK, UNDONE), (*TURN_BACK, PARK))[number % 3]
        run(journal, f"s{number}", *parts)
        status = (SagaStatus.COMPLETED, SagaStatus.COMPENSATED, SagaStatus.FAILED)[number % 3]
        numbers[status] = numbers.get(status, 0) + 1
        assert counted(journal) == numbers
    append(journal, "s2", *RESOLVED)
    append(journal, "s5", *RETRY)
    numbers = {
        SagaStatus.COMPLETED: 4,
        SagaStatus.COMPENSATED: 5,
        SagaStatus.FAILED: 2,
        SagaStatus.COMPENSATING: 1,
    }
    assert counted(journal) == counted(journal) == numbers
    assert set(journal.counts()) == set(SagaStatus)


# --- lists --------------------------------------------------------------------------------------------------------


def all_pages(journal: Journal, **wanted: Any) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = journal.list(cursor=cursor, **wanted)
        pages.append(ids(page.sagas))
        cursor = page.cursor
        if cursor is None:
            return pages


def test_lists_come_in_pages_the_newest_first(journal: Journal) -> None:
    for number in range(5):
        run(journal, f"s{number}")
    assert all_pages(journal, limit=2) == [["s4", "s3"], ["s2", "s1"], ["s0"]]
    assert all_pages(journal, limit=5) == [["s4", "s3", "s2", "s1", "s0"]]
    assert all_pages(journal, limit=1)[4] == ["s0"]


def test_pages_do_not_shift_while_sagas_are_accepted_and_finish(journal: Journal) -> None:
    for number in range(6):
        run(journal, f"s{number}", *FORWARD[:2])
    first = journal.list(limit=2)
    run(journal, "late")
    append(journal, "s2", *FORWARD[2])
    second = journal.list(limit=2, cursor=first.cursor)
    third = journal.list(limit=2, cursor=second.cursor)
    assert [ids(page.sagas) for page in (first, second, third)] == [["s5", "s4"], ["s3", "s2"], ["s1", "s0"]]
    assert third.cursor is None
    assert second.sagas[1].status is SagaStatus.COMPLETED


def test_lists_by_status_name_and_text(journal: Journal) -> None:
    run(journal, "a-1", *FORWARD, name="transfer")
    run(journal, "a-2", *TURN_BACK, UNDONE, name="transfer")
    run(journal, "b-1", FORWARD[0], name="order")
    append(journal, "b-2", accepted("b-2", "order_100%"), waits("Its Turn: 32 sagas run"))
    assert all_pages(journal, status=SagaStatus.COMPLETED) == [["a-1"]]
    assert all_pages(journal, status=SagaStatus.FAILED) == [[]]
    assert all_pages(journal, name="transfer") == [["a-2", "a-1"]]
    assert all_pages(journal, name="trans") == [[]]
    assert all_pages(journal, name="transfer", status=SagaStatus.COMPENSATED, text="A-") == [["a-2"]]
    assert all_pages(journal, text="-1") == [["b-1", "a-1"]]
    assert all_pages(journal, text="NO MONEY") == [["a-2"]]
    assert all_pages(journal, text="its turn") == [["b-2"]]
    assert all_pages(journal, text="0%") == all_pages(journal, text="r_1") == [["b-2"]]
    assert all_pages(journal, text="%") == [["b-2"]]
    assert all_pages(journal, text="\\") == [[]]
    assert all_pages(journal, text="") == [["b-2", "b-1", "a-2", "a-1"]]
    assert all_pages(journal, text="-", limit=1, name="transfer") == [["a-2"], ["a-1"]]


def test_a_text_that_can_not_be_stored_is_the_text_of_no_saga(journal: Journal) -> None:
    run(journal, "a-1", *FORWARD, name="transfer")
    for text in ("order-\udcff", "\ud800"):
        assert journal.metadata(text) is None
        assert journal.accepted(text) is None
        assert journal.request_id(text) is None
        assert journal.load(text) == ()
        assert journal.timeline(text) == []
        assert all_pages(journal, name=text) == all_pages(journal, text=text) == [[]]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "1"])
def test_a_limit_that_is_none_is_refused(journal: Journal, limit: Any) -> None:
    with pytest.raises(RequestError, match="limit must be"):
        journal.list(limit=limit)
    with pytest.raises(RequestError, match="limit must be"):
        journal.history(limit=limit)


@pytest.mark.parametrize("cursor", ["", "5", "before-", "before--1", "before-٣", "before-" + "9" * 30, 7, "x' OR 1"])
def test_a_cursor_that_is_none_is_refused(journal: Journal, cursor: Any) -> None:
    with pytest.raises(RequestError, match="is no cursor"):
        journal.list(cursor=cursor)


@settings(max_examples=50)
@given(texts=st.lists(st.text(alphabet="aAäÄzZ%_\\'\" ", max_size=3), min_size=1, max_size=6), wanted=st.data())
def test_a_text_finds_the_sagas_that_contain_it(texts: list[str], wanted: st.DataObject) -> None:
    journal = SqliteJournal(open_in_memory())
    for number, text in enumerate(texts):
        run(journal, f"{number}{text}", name=text)
    text = wanted.draw(st.text(alphabet="aAäÄzZ%_\\'\"", max_size=2))
    found = [
        saga.id
        for saga in journal.list().sagas
        if any(lowered(text) in lowered(part or "") for part in (saga.id, saga.name, saga.error, saga.waiting))
    ]
    assert [each for page in all_pages(journal, text=text, limit=2) for each in page] == found
    journal.close()


def lowered(text: str) -> str:
    """ASCII letters in lower case: case counts only beyond ASCII."""
    return text.translate(str.maketrans(string.ascii_uppercase, string.ascii_lowercase))
