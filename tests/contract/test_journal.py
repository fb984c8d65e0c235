"""The contract of a journal, in a file and in memory: append, load, and everything that monitoring asks."""

from __future__ import annotations

import sys
import threading
import uuid
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from antistrophe.definition.spec import Origin
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import Journal, SagaEvent, SeqConflictError
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import (
    ENTRY_TYPES,
    Action,
    AttemptExpired,
    AttemptSucceeded,
    CancelRequested,
    Entry,
    RetryScheduled,
    SagaAccepted,
    SagaCompleted,
    Verdict,
    VerdictGiven,
)
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from tests.contract.journal_sagas import (
    DEBITED,
    FORWARD,
    START,
    accepted,
    append,
    failed,
    run,
    started,
    succeeded,
    turned_back,
    waits,
)


def event(number: int, *, stream: str = "s", name: uuid.UUID | None = None) -> SagaEvent:
    key = uuid.uuid5(uuid.NAMESPACE_OID, f"{stream}/{number}") if name is None else name
    return SagaEvent(stream, DEBITED.type, 1, DEBITED.data, {"step": "Debit", "attempt": number}, str(key))


# --- append and load ----------------------------------------------------------------------------------------------


def test_a_new_journal_is_empty(journal: Journal) -> None:
    assert journal.head() == 0
    assert journal.load("s") == ()
    assert [*journal.timeline("s"), *journal.records(0, 10), *journal.changes(0, 10)] == []
    assert journal.metadata("s") is None
    assert journal.request_id("s") is None
    assert [*journal.live(), *journal.history()] == []
    assert journal.list().sagas == ()
    assert journal.counts() == dict.fromkeys(SagaStatus, 0)


def test_entries_come_back_as_they_were(journal: Journal) -> None:
    entries: tuple[Entry, ...] = (
        accepted("s"),
        waits("its turn"),
        started(0),
        AttemptExpired(START + 2, 0, Action.EXECUTE, 1, "stack"),
        failed(0),
        VerdictGiven(START + 3, 0, 1, Verdict.APPLIED, b"\xc1", (DEBITED,), "late"),
        RetryScheduled(START + 3, 0, Action.EXECUTE, START + 9.125),
        CancelRequested(START + 4, None, "ann"),
    )
    row = metadata_of(replay(entries[:3]))
    assert journal.append("s", expected_seq=0, entries=entries, row=row) == len(entries)
    assert journal.load("s") == entries
    assert journal.metadata("s") == row
    assert journal.request_id("s") == "request of s"
    assert [(each.position, each.saga_id, each.seq) for each in journal.records(0, 100)] == [
        (seq, "s", seq) for seq in range(1, len(entries) + 1)
    ]
    assert tuple(each.entry for each in journal.records(0, 100)) == entries


def test_positions_count_over_all_sagas(journal: Journal) -> None:
    assert append(journal, "a", accepted("a"), started(0)) == 2
    assert append(journal, "b", accepted("b")) == 3
    assert append(journal, "a", succeeded(0)) == 4
    assert journal.head() == 4
    found = journal.records(1, 2)
    assert [(each.position, each.saga_id, each.seq) for each in found] == [(2, "a", 2), (3, "b", 1)]
    assert journal.records(4, 10) == []


def test_of_two_writers_of_one_saga_the_second_is_told(journal: Journal) -> None:
    run(journal, "s", FORWARD[0])
    append(journal, "s", succeeded(0))
    row = metadata_of(replay(journal.load("s")))
    for wrong in (1, 2, 4, 17):
        with pytest.raises(SeqConflictError, match=f"is at seq 3 of its journal, not {wrong}") as caught:
            journal.append("s", expected_seq=wrong, entries=[succeeded(0)], events=[event(1)], row=row)
        assert (caught.value.saga_id, caught.value.expected, caught.value.actual) == ("s", wrong, 3)
    with pytest.raises(SeqConflictError):
        journal.append("s", expected_seq=0, entries=[accepted("s")], row=row)
    with pytest.raises(SeqConflictError):
        journal.append("t", expected_seq=1, entries=[started(0)], row=replace(row, id="t"))
    assert journal.head() == 3


def test_of_many_writers_of_one_saga_exactly_one_wins(journal: Journal) -> None:
    run(journal, "s")
    row = metadata_of(replay(journal.load("s")))
    barrier = threading.Barrier(8)
    results: list[object] = []

    def write() -> None:
        barrier.wait(10)
        try:
            results.append(journal.append("s", expected_seq=1, entries=[started(0)], row=row))
        except Exception as error:
            results.append(type(error))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, results)) == ["2", *[str(SeqConflictError)] * 7]
    assert journal.head() == 2


def test_what_no_journal_can_hold_is_refused(journal: Journal) -> None:
    row = metadata_of(replay([accepted("s")]))
    bad: list[tuple[int, list[Entry], Any]] = [
        (0, [], row),
        (0, [started(0)], row),
        (0, [accepted("s")], replace(row, id="t")),
        (1, [accepted("s")], row),
    ]
    for expected_seq, entries, its_row in bad:
        with pytest.raises(ValueError, match="saga 's'"):
            journal.append("s", expected_seq=expected_seq, entries=entries, row=its_row)
    assert journal.head() == 0


# --- events -------------------------------------------------------------------------------------------------------


def test_events_are_appended_with_their_entries_or_not_at_all(journal: Journal, events: EventStore) -> None:
    run(journal, "s", FORWARD[0])
    append(journal, "s", *FORWARD[1], events=(event(1), event(2), event(3, stream="t"), event(4)))
    places = [(each.position, each.stream, each.version) for each in events.read()]
    assert places == [(1, "s", 1), (2, "s", 2), (3, "t", 1), (4, "s", 3)]
    assert events.read()[0].data == {"account": "A", "amount": 7}
    assert events.read()[0].metadata == {"step": "Debit", "attempt": 1}
    row = metadata_of(replay(journal.load("s")))
    with pytest.raises(SeqConflictError):
        journal.append("s", expected_seq=2, entries=[succeeded(0)], events=[event(5)], row=row)
    with pytest.raises(ValueError, match="badly formed"):
        journal.append(
            "s", expected_seq=4, entries=[succeeded(1)], events=[replace(event(5), event_id="no uuid")], row=row
        )
    assert (journal.head(), events.head()) == (4, 4)


def test_an_event_that_is_there_already_is_not_appended_again(journal: Journal, events: EventStore) -> None:
    run(journal, "s", FORWARD[0])
    append(journal, "s", *FORWARD[1], events=(event(1),))
    append(journal, "s", *FORWARD[2], events=(event(1), event(2), event(2)))
    found = events.read()
    assert [each.version for each in found] == [1, 2]
    assert [each.position for each in found] == [1, 3 if isinstance(events.backend, PostgresEvents) else 2]


def test_followers_of_the_event_store_hear_of_a_sagas_events(journal: Journal, events: EventStore) -> None:
    with events.subscribe() as subscription:
        run(journal, "s", FORWARD[0])
        append(journal, "s", *FORWARD[1], events=(event(1),))
        found = subscription.poll(10)
    assert found is not None
    assert found.stream == "s"


# --- timeline -----------------------------------------------------------------------------------------------------


def test_the_timeline_can_be_read_by_people(journal: Journal) -> None:
    run(journal, "s", *FORWARD[:2])
    append(journal, "s", AttemptSucceeded(START + 9, 1, Action.EXECUTE, 1, b"\xc1" * 100), SagaCompleted(START + 9))
    timeline = journal.timeline("s")
    assert [(each.position, each.seq, each.kind) for each in timeline] == [
        (1, 1, "SagaAccepted"),
        (2, 2, "AttemptStarted"),
        (3, 3, "AttemptSucceeded"),
        (4, 4, "AttemptStarted"),
        (5, 5, "AttemptSucceeded"),
        (6, 6, "SagaCompleted"),
    ]
    assert [each.at for each in timeline[:2]] == [
        datetime.fromtimestamp(START, UTC),
        datetime.fromtimestamp(START + 1, UTC),
    ]
    spec: Any = timeline[0].data["spec"]
    assert spec["steps"][0]["input"] == {"account": "A", "amount": 7}
    assert spec["steps"][1]["retry"]["max_attempts"] == 1
    assert timeline[1].data["action"] == "execute"
    assert timeline[1].data["deadline"] == datetime.fromtimestamp(START + 31, UTC)
    assert timeline[1].data["lease"] == {
        "name": "lease-1",
        "pid": 4242,
        "start_ticks": 17,
        "boot_id": "boot",
        "host": "",
        "shared": False,
        "attempt_file": "",
    }
    assert timeline[2].data["output"] == {"paid": True}
    event_shown = {"type": "journal.debited", "type_version": 1, "data": {"account": "A", "amount": 7}}
    assert timeline[2].data["events"] == [event_shown]
    assert timeline[4].data["output"] == f"<100 bytes: {'c1' * 16}...>"
    assert timeline[5].data == {}
    assert all("at" not in each.data for each in timeline)


def test_reading_imports_no_users_module(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row names step classes; only a step process looks them up."""
    (tmp_path / "trap_of_the_journal.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    first = accepted("s")
    spec = replace(first.spec, steps=(replace(first.spec.steps[0], class_ref="trap_of_the_journal:Step"),))
    append(journal, "s", replace(first, spec=spec))
    assert journal.load("s") == (replace(first, spec=spec),)
    assert journal.timeline("s")
    assert journal.changes(0, 1)
    assert "trap_of_the_journal" not in sys.modules


def test_every_entry_that_there_is_can_be_journaled(journal: Journal) -> None:
    made = [accepted("s"), *(_made(cls) for cls in ENTRY_TYPES if cls is not SagaAccepted)]
    journal.append("s", expected_seq=0, entries=made, row=metadata_of(replay(made[:1])))
    assert list(journal.load("s")) == made
    assert [each.kind for each in journal.timeline("s")] == [type(each).__name__ for each in made]


_SAMPLES: dict[str, object] = {
    "at": START,
    "reason": "why",
    "restore": "restore",
    "step": 1,
    "action": Action.VERIFY,
    "attempt": 2,
    "limit_s": 0.5,
    "deadline": START,
    "note": "note",
    "counts": False,
    "verdict": Verdict.UNKNOWN,
    "output": b"\x00\xff",
    "events": (DEBITED,),
    "detail": None,
    "not_before": START,
    "by": "ann",
    "warning": "careful",
    "adopted": True,
    "lost": True,
    "origin": Origin("shop.py", ("/srv/shop",), "/srv/shop"),
}


def _made(cls: Any) -> Any:
    of_others = {"lease": started(0).lease, "failure": failed(0).failure, "cause": turned_back().cause}
    return cls(**{field.name: of_others.get(field.name, _SAMPLES.get(field.name)) for field in fields(cls)})
