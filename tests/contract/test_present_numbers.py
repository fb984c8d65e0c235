"""What is true of all sagas at this moment, in numbers."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from antistrophe.journal import Purgeable, SqliteJournal, present_numbers
from antistrophe.journal.present_numbers import PresentNumbers, PresentNumbersReader
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import AttemptFailed, Failure, FailureKind, RetryScheduled, StepResolved
from antistrophe.saga.wait_reasons import WaitReason
from antistrophe.storage.opening import open_database
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    RETRY,
    START,
    TURN_BACK,
    UNDONE,
    ActorsJournal,
    accepted,
    append,
    failed,
    run,
    turned_back,
    waits,
)

COMPLETED, COMPENSATED, PARKED, EXECUTING, COMPENSATING = (
    SagaStatus.COMPLETED,
    SagaStatus.COMPENSATED,
    SagaStatus.FAILED,
    SagaStatus.EXECUTING,
    SagaStatus.COMPENSATING,
)
TIMED_OUT = AttemptFailed(START + 3, 1, failed(1).action, 1, Failure(FailureKind.TIMEOUT, "ended after 30 s"))


class Home:
    """A journal and its numbers, read by one reader."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "journal.db"
        self.journal = ActorsJournal(self.file)
        self.reader = PresentNumbersReader()

    def numbers(self) -> PresentNumbers:
        with closing(open_database(self.file, read_only=True)) as database:
            return self.reader.read(database)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_an_empty_journal(home: Home) -> None:
    numbers = home.numbers()
    assert not +numbers.sagas
    assert not +numbers.waiting
    assert numbers.steps_in_doubt == 0
    assert numbers.oldest_parked_at is None
    assert numbers.oldest_waiting_at is None


def test_sagas_are_counted_by_status_and_name_again_and_again(home: Home) -> None:
    run(home.journal, "done", *FORWARD, name="pay")
    run(home.journal, "undone", *TURN_BACK, UNDONE)
    run(home.journal, "parked", *TURN_BACK, PARK)
    run(home.journal, "turns", *TURN_BACK)
    run(home.journal, "runs", *FORWARD[:2], name="pay")
    expected = Counter(
        {
            (COMPLETED, "pay"): 1,
            (COMPENSATED, "transfer"): 1,
            (PARKED, "transfer"): 1,
            (COMPENSATING, "transfer"): 1,
            (EXECUTING, "pay"): 1,
        }
    )
    assert home.numbers().sagas == expected
    append(home.journal, "runs", *FORWARD[2])
    append(home.journal, "parked", *RETRY)
    assert home.numbers().sagas == expected - Counter([(EXECUTING, "pay"), (PARKED, "transfer")]) + Counter(
        [(COMPLETED, "pay"), (COMPENSATING, "transfer")]
    )


def test_many_finished_sagas_are_counted_without_their_names(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present_numbers, "NAMED_FINISHED", 2)
    for number in range(3):
        run(home.journal, f"done-{number}", *FORWARD, name="pay")
    run(home.journal, "runs", FORWARD[0], name="pay")
    assert home.numbers().sagas == {(COMPLETED, None): 3, (EXECUTING, "pay"): 1}
    run(home.journal, "done-3", *FORWARD, name="pay")
    assert home.numbers().sagas == {(COMPLETED, None): 4, (EXECUTING, "pay"): 1}


def test_what_is_purged_is_not_there_any_more(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        run(home.journal, f"done-{number}", *FORWARD)
    assert home.numbers().sagas == {(COMPLETED, "transfer"): 4}
    walk = home.journal.purge(Purgeable(2**62), at_most=3)
    while walk.step():
        pass
    assert home.numbers().sagas == {(COMPLETED, "transfer"): 1}
    monkeypatch.setattr(present_numbers, "NAMED_FINISHED", 0)
    assert home.numbers().sagas == {(COMPLETED, None): 1}


def test_sagas_wait_for_reasons(home: Home) -> None:
    run(home.journal, "runs", FORWARD[0])
    append(home.journal, "new", accepted("new"))
    append(home.journal, "turn", accepted("turn"), waits("its turn: max_running_sagas lets 32 run at the same time"))
    append(home.journal, "code", accepted("code"), waits("the import of module shop fails: no"))
    run(home.journal, "parked", *TURN_BACK, PARK)
    run(home.journal, "retry", FORWARD[0], (failed(0), RetryScheduled(START + 3, 0, failed(0).action, START + 1e9)))
    assert +home.numbers().waiting == {
        WaitReason.PROCESS: 1,
        WaitReason.TURN: 1,
        WaitReason.CODE: 1,
        WaitReason.RETRY: 1,
    }


def test_those_that_are_not_looked_at_wait_for_their_turn(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(present_numbers, "LOOKED_AT", 2)
    for number in range(5):
        append(home.journal, f"new-{number}", accepted(f"new-{number}"))
    assert +home.numbers().waiting == {WaitReason.PROCESS: 2, WaitReason.TURN: 3}


def test_the_oldest_are_those_that_stand_still(home: Home) -> None:
    run(home.journal, "first", *TURN_BACK, PARK)
    run(home.journal, "second", *TURN_BACK, PARK)
    append(home.journal, "new", accepted("new"))
    run(home.journal, "runs", FORWARD[0])
    run(home.journal, "retry", FORWARD[0], (failed(0), RetryScheduled(START + 3, 0, failed(0).action, START + 1e9)))
    with closing(sqlite3.connect(home.file)) as direct, direct:
        direct.execute("UPDATE journal SET at = position * 1000000")
        ((parked,), (new,)) = direct.execute(
            "SELECT max(position) FROM journal WHERE saga_id IN ('first', 'new') GROUP BY saga_id ORDER BY saga_id"
        ).fetchall()
    numbers = home.numbers()
    assert numbers.oldest_parked_at == parked
    assert numbers.oldest_waiting_at == new


def test_steps_are_in_doubt_until_they_are_settled(home: Home) -> None:
    run(home.journal, "parked", *TURN_BACK[:2], (TIMED_OUT, turned_back()), name="pay")
    assert home.numbers().steps_in_doubt == 1
    assert home.numbers().steps_in_doubt == 1, "from what is known of a saga that has not gone on"
    append(home.journal, "parked", StepResolved(START + 7, 1, "paid by hand", "ann"))
    assert home.numbers().steps_in_doubt == 0


def test_a_saga_that_can_not_be_read_hides_no_other(home: Home) -> None:
    for saga_id in ("damaged", "sound"):
        run(home.journal, saga_id, *TURN_BACK[:2], (TIMED_OUT, turned_back()))
    with closing(sqlite3.connect(home.file)) as direct, direct:
        direct.execute("UPDATE journal SET entry = x'c1' WHERE saga_id = 'damaged' AND seq = 2")
    numbers = home.numbers()
    assert numbers.steps_in_doubt == 1
    assert numbers.sagas == {(COMPENSATING, "transfer"): 2}


def test_what_is_known_of_one_journal_is_forgotten_for_the_next(home: Home, tmp_path: Path) -> None:
    run(home.journal, "done", *FORWARD)
    run(home.journal, "undone", *TURN_BACK, UNDONE)
    assert home.numbers().sagas[COMPLETED, "transfer"] == 1
    home.reader.forget()
    home.file = tmp_path / "other.db"
    with closing(SqliteJournal(home.file)) as other:
        run(other, "done", *FORWARD)
    assert home.numbers().sagas == {(COMPLETED, "transfer"): 1}
