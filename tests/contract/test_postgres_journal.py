"""The journal in PostgreSQL, where others write too: one owner of a saga, answers that are lost, readers in order."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.journal import SeqConflictError
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.journal.saga_owner import Ownership, SagaTakenError
from antistrophe.records import SagaStatus
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from tests.contract.journal_sagas import (
    FORWARD,
    PARK,
    TURN_BACK,
    accepted,
    append,
    counted,
    ids,
    run,
    started,
    succeeded,
)
from tests.contract.test_journal import event
from tests.lossy_relay import LossyRelay

CLAIM = "UPDATE sagas SET host = ?, token = token + 1 WHERE id = ?"
PATIENT_S, BUSY_S = 10.0, 1.0


@dataclass
class Host:
    """A host that believes to have what it once got."""

    host: str
    tokens: Mapping[str, int] = field(default_factory=dict)

    def token_of(self, saga_id: str) -> int:
        return self.tokens.get(saga_id, 1)

    def last_of(self, saga_id: str) -> bytes | None:
        return None

    def appends(self, saga_id: str, last: bytes) -> None:
        """Its seq alone is the condition here."""


@contextlib.contextmanager
def opened(url: str, owner: str | None = None, busy_s: float | None = None) -> Iterator[PostgresJournal]:
    """``busy_s``: how long it waits for locks, and for a server that is away. One that is there may be slow."""
    patience_s = None if busy_s is None else PATIENT_S
    with contextlib.closing(
        PostgresJournal(url, owner=None if owner is None else Host(owner), patience_s=patience_s)
    ) as journal:
        if busy_s is not None:
            journal._server.answer_s = busy_s
        yield journal


@pytest.fixture
def journal(empty_postgres: str) -> Iterator[PostgresJournal]:
    with opened(empty_postgres, "a1") as journal:
        yield journal


@pytest.fixture
def relay(empty_postgres: str) -> Iterator[LossyRelay]:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, LossyRelay(empty_postgres, Path(folder)) as relay:
        yield relay


# --- one owner ----------------------------------------------------------------------------------------------------


def test_a_saga_belongs_to_the_host_that_has_accepted_it(empty_postgres: str, journal: PostgresJournal) -> None:
    run(journal, "s", *FORWARD)
    assert journal.ownership("s") == Ownership("a1", 1, 6)
    with opened(empty_postgres) as tool:
        run(tool, "t", FORWARD[0])
        assert tool.ownership("t") == Ownership(None, 0, 2)
    assert journal.ownership("u") is None
    assert journal.ownership("u\0") is None


def test_who_does_not_own_it_any_more_writes_nothing(empty_postgres: str, journal: PostgresJournal) -> None:
    run(journal, "s", FORWARD[0])
    with opened(empty_postgres, "b2") as other:
        with pytest.raises(SagaTakenError, match="belongs to host 'a1'"):
            append(other, "s", *FORWARD[1])
        journal._server.execute(CLAIM, ("b2", "s"))
        with pytest.raises(SagaTakenError, match=r"now belongs to host 'b2' \(token 2\)") as caught:
            append(journal, "s", *FORWARD[1])
        assert (caught.value.saga_id, caught.value.host, caught.value.token) == ("s", "b2", 2)
        with pytest.raises(SagaTakenError):  # the right host, by a token of before
            append(other, "s", *FORWARD[1])
        other._appends._owner = Host("b2", {"s": 2})
        append(other, "s", *FORWARD[1])
    assert len(journal.load("s")) == 4
    with opened(empty_postgres) as tool:
        append(tool, "s", *FORWARD[2])  # a tool has no owner to be asked for


def test_a_saga_that_nobody_owns_is_nobodys_to_write(empty_postgres: str, journal: PostgresJournal) -> None:
    with opened(empty_postgres) as tool:
        run(tool, "s")
    with pytest.raises(SagaTakenError, match="belongs to no host"):
        append(journal, "s", *FORWARD[0])


def test_a_saga_that_is_gone_is_a_conflict_and_not_taken(journal: PostgresJournal) -> None:
    row = None
    run(journal, "s", FORWARD[0])
    row = journal.metadata("s")
    journal._server.execute("DELETE FROM sagas")
    assert row is not None
    with pytest.raises(SeqConflictError, match="is at seq 0"):
        journal.append("s", expected_seq=2, entries=[succeeded(0)], row=row)


def test_in_a_group_it_breaks_the_group(empty_postgres: str, journal: PostgresJournal) -> None:
    for each in "ab":
        run(journal, each, FORWARD[0])
    journal._server.execute(CLAIM, ("b2", "a"))
    group = journal.group()
    group.open()
    append(journal, "b", succeeded(0))
    with pytest.raises(SagaTakenError):
        append(journal, "a", succeeded(0))
    assert group.broken
    group.roll_back()
    assert [len(journal.load(each)) for each in "ab"] == [2, 2]


def test_an_append_and_a_claim_wait_for_each_other(empty_postgres: str, journal: PostgresJournal) -> None:
    run(journal, "s", FORWARD[0])
    with opened(empty_postgres) as other, opened(empty_postgres, "a1", BUSY_S) as hasty:
        with other._server.transaction():
            other._server.execute(CLAIM, ("b2", "s"))
            with pytest.raises(JournalBusyError):
                append(hasty, "s", *FORWARD[1])
            late = threading.Thread(target=lambda: told.append(_error_of(lambda: append(journal, "s", *FORWARD[1]))))
            told: list[BaseException | None] = []
            late.start()
        late.join(30)
        assert [type(each) for each in told] == [SagaTakenError]
        assert len(journal.load("s")) == 2
        group = journal.group()
        journal._appends._owner = Host("b2", {"s": 2})
        group.open()
        append(journal, "s", *FORWARD[1])
        claimed: list[int] = []
        claim = threading.Thread(target=lambda: claimed.append(other._server.execute(CLAIM, ("c3", "s")).rowcount))
        claim.start()
        append(journal, "s", *FORWARD[2])
        group.commit()
        claim.join(30)
        assert (len(other.load("s")), claimed, other.ownership("s")) == (6, [1], Ownership("c3", 3, 6))


def _error_of(call: Callable[[], object]) -> BaseException | None:
    try:
        call()
    except Exception as error:
        return error
    return None


def test_of_many_connections_that_race_for_a_saga_one_wins(empty_postgres: str, journal: PostgresJournal) -> None:
    run(journal, "s")
    row = journal.metadata("s")
    assert row is not None
    with contextlib.ExitStack() as stack:
        racers = [stack.enter_context(opened(empty_postgres)) for _ in range(6)]
        barrier = threading.Barrier(len(racers))
        results: list[object] = []

        def write(racer: PostgresJournal, number: int) -> None:
            barrier.wait(10)
            entry = started(0, attempt=number)
            results.append(_error_of(partial(racer.append, "s", expected_seq=1, entries=[entry], row=row)))

        threads = [threading.Thread(target=write, args=(racer, n)) for n, racer in enumerate(racers, 1)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(30)
    assert sorted(type(each).__name__ for each in results) == ["NoneType", *["SeqConflictError"] * 5]
    assert len(journal.load("s")) == 2


# --- answers that are lost ----------------------------------------------------------------------------------------


def test_an_append_is_one_round_trip(relay: LossyRelay) -> None:
    with opened(relay.url, "a1") as journal:
        spec = accepted("s")
        row = metadata_of(replay((spec,)))
        before = relay.questions
        journal.append("s", expected_seq=0, entries=[spec], row=row)
        journal.append("s", expected_seq=1, entries=[started(0)], row=row)
        assert relay.questions - before == 2


@pytest.mark.parametrize("part", ["question", "answer"])
@pytest.mark.parametrize("word", [b"append_2", b"append_group_2"])
@pytest.mark.parametrize("acceptance", [True, False])
def test_wherever_the_connection_breaks_an_append_is_done_once(
    relay: LossyRelay, empty_postgres: str, word: bytes, part: str, acceptance: bool
) -> None:
    events = () if word == b"append_2" else (event(1),)
    with opened(relay.url, "a1") as journal:
        if not acceptance:
            run(journal, "s", FORWARD[0])
        entries = (accepted("s"), started(0)) if acceptance else FORWARD[1]
        (relay.lose_question if part == "question" else relay.lose_answer)(word)
        with contextlib.suppress(JournalError):
            append(journal, "s", *entries, events=events)
        assert relay.lost == 1
        if len(journal.load("s")) < 2 + (0 if acceptance else 2):
            assert part == "question"
            append(journal, "s", *entries, events=events)
        assert len(journal.load("s")) == len(entries) + (0 if acceptance else 2)
        with EventStore(PostgresEvents(empty_postgres)) as store:
            assert len(store.read()) == len(events)


def test_what_is_unknown_is_told_by_the_same_append_again(relay: LossyRelay) -> None:
    with opened(relay.url, "a1", BUSY_S) as journal:
        run(journal, "s", FORWARD[0])
        row = journal.metadata("s")
        assert row is not None
        relay.lose_answer(b"append_2")
        relay.refuses = True
        again = partial(journal.append, "s", expected_seq=2, entries=FORWARD[1], row=row)
        for _ in range(2):
            with pytest.raises(JournalError):
                again()
        relay.refuses = False
        _until(again)
        assert len(journal.load("s")) == 4
        with pytest.raises(SeqConflictError):  # now it is known, and the next one is another's
            again()


def test_another_append_in_its_place_is_a_conflict(relay: LossyRelay) -> None:
    with opened(relay.url, "a1", BUSY_S) as journal:
        run(journal, "s", FORWARD[0])
        row = journal.metadata("s")
        assert row is not None
        relay.lose_answer(b"append_2")
        relay.refuses = True
        with pytest.raises(JournalError):
            journal.append("s", expected_seq=2, entries=FORWARD[1], row=row)
        relay.refuses = False
        with pytest.raises(SeqConflictError):
            _until(partial(journal.append, "s", expected_seq=2, entries=[succeeded(0), started(0)], row=row))
        assert len(journal.load("s")) == 4


def _until(call: Callable[[], object]) -> None:
    """Call again while the server can't be reached."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            call()
        except JournalError:
            time.sleep(0.02)
        else:
            return
    raise AssertionError


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_gathering_group_whose_answer_is_lost_tells_what_became_of_it(
    relay: LossyRelay, empty_postgres: str, part: str, away: bool
) -> None:
    with opened(relay.url, "a1", BUSY_S if away else None) as journal:
        run(journal, "s", FORWARD[0])
        row = journal.metadata("s")
        assert row is not None
        calls = [
            partial(journal.append, "s", expected_seq=2, entries=FORWARD[1], events=[event(1)], row=row),
            partial(journal.append, "s", expected_seq=4, entries=FORWARD[2], events=[event(2)], row=row),
        ]
        group = journal.gathering_group()
        group.open()
        assert [each() for each in calls] == [0, 0]
        (relay.lose_question if part == "question" else relay.lose_answer)(b"append_group_2")
        relay.refuses = away
        error = _error_of(group.commit)
        relay.refuses = False
        assert relay.lost == 1
        assert type(error) is (CommitUnknownError if away else type(None))
        if away:
            for each in calls:
                _until(each)
        assert group.position == (None if away else journal.head())
        assert len(journal.load("s")) == 6
        with EventStore(PostgresEvents(empty_postgres)) as store:
            assert [each.version for each in store.read()] == [1, 2]


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("part", ["question", "answer"])
def test_a_group_whose_commit_is_lost_counts_whole_or_not_at_all(relay: LossyRelay, part: str, away: bool) -> None:
    with opened(relay.url, "a1", BUSY_S if away else None) as journal:
        run(journal, "s", FORWARD[0])
        row = journal.metadata("s")
        assert row is not None
        group = journal.group()
        group.open()
        calls = [
            partial(journal.append, "s", expected_seq=2, entries=FORWARD[1], row=row),
            partial(journal.append, "s", expected_seq=4, entries=FORWARD[2], row=row),
        ]
        for each in calls:
            each()
        (relay.lose_question if part == "question" else relay.lose_answer)(b"COMMIT\0")
        relay.refuses = away
        error = _error_of(group.commit)
        relay.refuses = False
        if away:
            assert isinstance(error, CommitUnknownError)
        else:
            assert (error is None) == (part == "answer")
        if error is not None:
            for each in calls:
                _until(each)
        assert len(journal.load("s")) == 6


def test_what_is_unknown_stays_so_until_its_append_is_through(relay: LossyRelay, empty_postgres: str) -> None:
    """The append that finds that it was done may break in its turn, by another one in the same transaction."""
    with opened(relay.url, "a1", BUSY_S) as journal:
        run(journal, "s", FORWARD[0])
        row = journal.metadata("s")
        assert row is not None
        again = partial(journal.append, "s", expected_seq=2, entries=FORWARD[1], events=[event(1)], row=row)
        group = journal.group()
        group.open()
        again()
        relay.lose_answer(b"COMMIT\0")
        relay.refuses = True
        with pytest.raises(CommitUnknownError):
            group.commit()
        relay.refuses = False
        _until(journal.head)
        group.open()
        again()
        relay.lose_question(b"append_2")
        with pytest.raises(JournalError, match="lost within a transaction"):
            run(journal, "t")
        group.roll_back()
        _until(again)
        assert len(journal.load("s")) == 4
        append(journal, "s", *FORWARD[2])
        with pytest.raises(SeqConflictError):
            again()
        with EventStore(PostgresEvents(empty_postgres)) as store:
            assert len(store.read()) == 1


def test_what_was_there_already_proves_nothing_of_a_transaction(relay: LossyRelay) -> None:
    with opened(relay.url, "a1") as journal:
        first = (accepted("s"),)
        again = partial(journal.append, "s", expected_seq=0, entries=first, row=metadata_of(replay(first)))
        again()
        journal._appends._note(("s", 0))
        group = journal.group()
        group.open()
        append(journal, "t", accepted("t"))
        again()
        relay.lose_question(b"COMMIT\0")
        with pytest.raises(JournalError, match="nothing of it was committed"):
            group.commit()
        assert ids(journal.list().sagas) == ["s"]


# --- readers in order ---------------------------------------------------------------------------------------------


def test_readers_by_position_wait_for_an_open_append_and_questions_do_not(
    empty_postgres: str, journal: PostgresJournal
) -> None:
    with opened(empty_postgres) as other, opened(empty_postgres) as reader:
        run(reader, "z", *FORWARD)
        before = reader.head()
        group = other.group()
        group.open()
        run(other, "a", *FORWARD)
        run(journal, "b", *FORWARD)
        assert (reader.head(), reader.records(before), reader.changes(before)) == (before, [], [])
        assert reader.settled(before, 1 << 40, 10) == []
        assert (reader.status("b"), counted(reader)) == (SagaStatus.COMPLETED, {SagaStatus.COMPLETED: 2})
        assert ids(reader.list().sagas) == ["b", "z"]
        group.commit()
        assert [each.saga_id for each in reader.records(before)] == ["a"] * 6 + ["b"] * 6
        assert [each[1] for each in reader.settled(before, 1 << 40, 10)] == ["a", "b"]
        assert counted(reader) == {SagaStatus.COMPLETED: 3}


def test_within_its_own_group_nobody_reads_on_by_positions(empty_postgres: str, journal: PostgresJournal) -> None:
    """There the server counts from the own transaction, and would pass those of others that are open."""
    run(journal, "z", FORWARD[0])
    before = journal.head()
    group = journal.group()
    group.open()
    run(journal, "a", FORWARD[0])
    with opened(empty_postgres) as other:
        others = other.group()
        others.open()
        run(other, "b", FORWARD[0])
        run(journal, "c", FORWARD[0])
        assert (journal.head(), journal.records(before)) == (before, [])
        group.commit()
        assert (journal.head(), journal.records(before)) == (before, [])
        others.commit()
    assert [each.saga_id for each in journal.records(before)] == ["a", "a", "b", "b", "c", "c"]


def test_counts_keep_up_with_sagas_that_finish_out_of_order(empty_postgres: str, journal: PostgresJournal) -> None:
    with opened(empty_postgres) as other, opened(empty_postgres) as reader:
        for number in range(3):
            group = other.group()
            group.open()
            run(other, f"a{number}", *FORWARD)
            run(journal, f"b{number}", *FORWARD)
            assert counted(reader) == {SagaStatus.COMPLETED: 2 * number + 1}
            group.commit()
            run(journal, f"c{number}", *TURN_BACK, PARK)
            assert counted(reader)[SagaStatus.COMPLETED] == 2 * number + 2
            journal._server.execute("DELETE FROM sagas WHERE status = 'failed'")
