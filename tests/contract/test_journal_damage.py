"""A journal that holds what can't be read: it is named, and left as it is."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path

import pytest

from antistrophe.errors import JournalError
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.journal.rows import pack_entry
from antistrophe.records import SagaStatus
from antistrophe.serialization.payload import pack_payload
from tests.contract.journal_sagas import FORWARD, ActorsJournal, accepted, ids, run, succeeded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return journal_path(tmp_path)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[SqliteJournal]:
    journal = SqliteJournal(path)
    try:
        yield journal
    finally:
        journal.close()


def by_hand(path: Path, sql: str, *parameters: object) -> None:
    """Change the file behind the journal's back."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(sql, parameters)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\xc1",
        b"garbage",
        pack_payload(["os.system", {"command": "true"}]),
        pack_payload(["SagaWaitsForever", {"at": 1.0}]),
        pack_payload(["SagaCompleted", {}]),
        pack_payload(["SagaCompleted", {"at": "soon"}]),
        pack_payload({"at": 1.0}),
    ],
)
def test_an_entry_that_can_not_be_read_is_named(path: Path, entry: bytes) -> None:
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        by_hand(path, "UPDATE journal SET entry = ? WHERE seq = 3", entry)
        for read in (lambda: journal.load("s"), lambda: journal.timeline("s"), lambda: journal.records(0, 99)):
            with pytest.raises(JournalError, match=r"journal\.db: entry 3 of saga 's' can't be read .*: if a newer"):
                read()
        assert ids(journal.history()) == ["s"]  # what does not need the entry goes on


def test_an_entry_that_is_missing_is_named(path: Path) -> None:
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        by_hand(path, "DELETE FROM journal WHERE seq = 2")
        with pytest.raises(JournalError, match=r"journal\.db: entry 2 of saga 's' is missing: "):
            journal.load("s")


STATE: dict[str, object] = {
    "id": "s",
    "name": "transfer",
    "status": "completed",
    "steps_executed": 1,
    "total_steps": 1,
    "created_at": 1.5,
    "updated_at": 1.5,
    "error": None,
    "waiting": None,
    "steps": [["Debit", "succeeded", 1, False, 1.5, None, None, 4242]],
}


def test_a_state_can_be_read_by_the_release_after_the_next(path: Path) -> None:
    """What the tests below spoil is otherwise fine; what is unknown is passed over."""
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        by_hand(path, "UPDATE journal SET state = ? WHERE seq = 6", pack_payload({**STATE, "more": 1}))
        saga = journal.metadata("s")
        assert saga is not None
        assert saga.steps[0].pid == 4242


@pytest.mark.parametrize(
    "state",
    [
        b"\xc1",
        None,
        pack_payload(["SagaMetadata", {"id": "s"}]),
        pack_payload({name: value for name, value in STATE.items() if name != "waiting"}),
        *(
            pack_payload({**STATE, **wrong})
            for wrong in (
                {"status": "asleep"},
                {"steps_executed": "1"},
                {"created_at": "now"},
                {"updated_at": 1e300},
                {"error": 5},
                {"steps": [["Debit"]]},
                {"steps": [["Debit", "succeeded", 1, 0, 1.5, None, None, 4242]]},
                {"steps": [["Debit", "succeeded", 1, False, 1.5, None, None, "4242"]]},
            )
        ),
    ],
)
def test_a_state_that_can_not_be_read_is_named(path: Path, state: bytes | None) -> None:
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        by_hand(path, "UPDATE journal SET state = ? WHERE seq = 6", state)
        run(journal, "t", *FORWARD)
        with pytest.raises(JournalError, match=r"saga 's': the state of the saga can't be read"):
            journal.metadata("s")
        for listed in (journal.history(), [*reversed(journal.list().sagas)]):
            lost, other = listed
            assert other == journal.metadata("t"), "it hides no other saga"
            assert (lost.id, lost.name, lost.status) == ("s", other.name, SagaStatus.COMPLETED)
            assert "unreadable: " in str(lost.error)
            assert "saga 's': the state of the saga can't be read" in str(lost.error)
            assert lost.created_at.tzinfo is UTC
        assert len(journal.load("s")) == 6


@pytest.mark.parametrize(
    "state", [b"\xc1", b"\x80", "text", 5, pack_payload([1]), pack_payload({**STATE, "status": "asleep"})]
)
@pytest.mark.parametrize("which", ["first", "middle", "last", "all"])
def test_changes_show_what_can_not_be_read_and_lose_no_other(path: Path, state: object, which: str) -> None:
    with opened(path) as journal:
        for saga_id in ("s", "t"):
            run(journal, saga_id, *FORWARD)
        before = journal.changes()
        mine = [change.position for change in before if change.saga.id == "s"]
        assert len(mine) > 2
        spoilt = {"first": mine[:1], "middle": mine[1:2], "last": mine[-1:], "all": mine}[which]
        for position in spoilt:
            by_hand(path, "UPDATE journal SET state = ? WHERE position = ?", state, position)
        after = journal.changes()
        assert [change.position for change in after] == [change.position for change in before]
        for old, new in zip(before, after, strict=True):
            if new.position in spoilt:
                assert "unreadable: " in str(new.saga.error)
            assert new.saga.id == old.saga.id
            assert new == old or (old.saga.id == "s" and "unreadable: " in str(new.saga.error))
        for position in spoilt:
            assert journal.changes(position - 1, 1)[0].position == position


def test_a_state_that_is_not_kept_is_what_the_entries_say(path: Path) -> None:
    """Whatever was kept before it, and whatever follows."""
    with opened(path) as journal:
        for saga_id in ("s", "t"):
            run(journal, saga_id, *FORWARD)
        before = journal.changes()
        for change in before:
            by_hand(path, "UPDATE journal SET state = x'' WHERE position = ?", change.position)
            assert journal.changes() == before
            assert [journal.metadata(saga_id) for saga_id in ("s", "t")] == journal.history()
            assert journal.changes(change.position - 1, 1) == [change]


@pytest.mark.parametrize("entry", [b"\xc1", pack_entry(succeeded(9)), pack_entry(accepted("s"))])
def test_an_entry_that_can_not_be_read_hides_one_saga_and_no_other(path: Path, entry: bytes) -> None:
    with contextlib.closing(ActorsJournal(path)) as journal:
        for saga_id in ("s", "t"):
            run(journal, saga_id, *FORWARD)
        before = journal.changes()
        by_hand(path, "UPDATE journal SET entry = ? WHERE saga_id = 's' AND seq = 3", entry)
        with pytest.raises(JournalError, match=r"journal\.db: entry 3 of saga 's'.*can't be read"):
            journal.metadata("s")
        lost, other = journal.history()
        assert (lost.id, lost.status, other) == ("s", SagaStatus.COMPLETED, before[-1].saga)
        assert "unreadable: " in str(lost.error)
        after = journal.changes()
        assert after[:2] == before[:2]
        assert after[4:] == before[4:]
        assert all("unreadable: " in str(change.saga.error) for change in after[2:4])
        assert [change.position for change in after] == [change.position for change in before]
        by_hand(path, "DELETE FROM journal WHERE saga_id = 's' AND seq = 2")
        assert "entry 2 of saga 's' is missing" in str(journal.history()[0].error)


def test_a_time_that_is_none_hides_one_saga_and_no_other(path: Path) -> None:
    with contextlib.closing(ActorsJournal(path)) as journal:
        for saga_id in ("s", "t"):
            run(journal, saga_id, *FORWARD)
        by_hand(path, "UPDATE journal SET at = 9e300 WHERE saga_id = 's' AND seq = 3")
        with pytest.raises(JournalError, match=r"saga 's': the state of the saga can't be read"):
            journal.metadata("s")
        assert "unreadable: " in str(journal.history()[0].error)
        assert journal.history()[1] == journal.metadata("t") == journal.changes()[-1].saga


def test_what_stands_beside_a_state_may_be_unreadable_too(path: Path) -> None:
    with opened(path) as journal:
        run(journal, "s", *FORWARD)
        by_hand(path, "UPDATE journal SET state = x'c1', at = 'noon' WHERE state IS NOT NULL")
        by_hand(path, "UPDATE sagas SET status = 'asleep'")
        for shown in (journal.list().sagas[0], journal.history()[0], journal.changes()[-1].saga):
            assert (shown.id, shown.status, shown.created_at.year) == ("s", SagaStatus.FAILED, 1970)
        by_hand(path, "DELETE FROM sagas")
        assert journal.changes()[-1].saga.id == "s"


def test_a_damaged_file_is_found_by_a_check(path: Path) -> None:
    with opened(path) as journal:
        for number in range(50):
            run(journal, f"s{number}", *FORWARD)
    whole = bytearray(path.read_bytes())
    whole[20 * 2048 : 21 * 2048] = os.urandom(2048)
    path.write_bytes(whole)
    with opened(path) as journal, pytest.raises(JournalError, match=r"journal\.db: it is corrupt and was left"):
        journal.check()
