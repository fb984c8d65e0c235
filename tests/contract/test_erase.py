"""Erasing the data of one finished saga: no file has them any more, the course stays, and it is all or nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from antistrophe.client.erasing import erase
from antistrophe.errors import JournalBusyError, JournalError, RequestError, SagaExistsError, SagaNotFoundError
from antistrophe.journal import Purgeable, SqliteJournal
from antistrophe.records import SagaMetadata, SagaStatus
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptSucceeded,
    CancelRequested,
    Entry,
    Failure,
    FailureKind,
    SagaAccepted,
    SagaCompensated,
    SagaCompleted,
    TurnCause,
    TurnedBack,
    TurnReason,
)
from antistrophe.saga.erased import ERASED
from antistrophe.serialization.payload import pack_payload
from antistrophe.storage.database import Database
from tests.acceptance.command import Caller
from tests.contract.journal_sagas import (
    DEBITED,
    FORWARD,
    PARK,
    START,
    TURN_BACK,
    ActorsJournal,
    accepted,
    append,
    run,
    started,
)

SECRET = "data-of-eva-4711"
NO = Failure(FailureKind.RAISED, SECRET, "ValueError")
SAID = replace(DEBITED, data=pack_payload({"note": SECRET}))


def told(saga_id: str, steps: tuple[str, ...] = ("Debit", "Credit")) -> SagaAccepted:
    entry = accepted(saga_id, steps=steps)
    given = pack_payload({"note": SECRET})
    return replace(
        entry, spec=replace(entry.spec, steps=tuple(replace(each, input=given) for each in entry.spec.steps))
    )


def succeeded(index: int, action: Action = Action.EXECUTE) -> AttemptSucceeded:
    return AttemptSucceeded(START + 2, index, action, 1, pack_payload(SECRET), (SAID,), SECRET)


UNDONE: tuple[tuple[Entry, ...], ...] = (
    (started(0),),
    (succeeded(0), started(1), CancelRequested(START + 2, SECRET, "ann")),
    (
        AttemptFailed(START + 3, 1, Action.EXECUTE, 1, NO, stack=SECRET, traceback=SECRET),
        TurnedBack(START + 3, TurnCause(TurnReason.STEP_FAILED, 1, NO, SECRET)),
        started(0, Action.COMPENSATE),
    ),
    (succeeded(0, Action.COMPENSATE), SagaCompensated(START + 5)),
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A journal with three finished sagas of which somebody's data are everywhere: short ones and a long one."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with closing(ActorsJournal(home / "journal.db")) as journal:
        append(journal, "done", told("done"), started(0))
        append(journal, "done", succeeded(0), started(1))
        append(journal, "done", succeeded(1), SagaCompleted(START + 4))
        append(journal, "undone", told("undone"))
        for part in UNDONE:
            append(journal, "undone", *part)
        append(journal, "long", told("long", tuple(f"Step{number}" for number in range(40))), started(0))
        for number in range(39):
            append(journal, "long", succeeded(number), started(number + 1))
        append(journal, "long", succeeded(39), SagaCompleted(START + 4))
        run(journal, "other", *FORWARD)
        run(journal, "parked", *TURN_BACK, PARK)
        run(journal, "runs", FORWARD[0])
    return home / "journal.db"


@pytest.fixture
def journal(file: Path) -> Iterator[SqliteJournal]:
    with closing(SqliteJournal(file)) as opened:
        yield opened


def bytes_of(file: Path) -> bytes:
    """All that the journal's files hold."""
    return b"".join(each.read_bytes() for each in sorted(file.parent.glob("journal.db*")))


def course(saga: SagaMetadata | None) -> list[Any]:
    assert saga is not None
    return [
        (saga.id, saga.status, saga.steps_executed, saga.created_at, saga.updated_at),
        *((each.name, each.status, each.attempts, each.started_at, each.finished_at) for each in saga.steps),
    ]


def test_no_file_of_the_journal_has_the_data_any_more_and_the_course_stays(file: Path, journal: SqliteJournal) -> None:
    ids = ("done", "undone", "long")
    before = {each: course(journal.metadata(each)) for each in ids}
    kinds = {each: [entry.kind for entry in journal.timeline(each)] for each in ids}
    changes = len(journal.changes(0, 1000))
    other = journal.timeline("other")
    assert SECRET.encode() in bytes_of(file)
    for each in ids:
        assert erase(file, each)
        assert not erase(file, each), "once is enough"
    assert SECRET.encode() not in bytes_of(file)
    for each in ids:
        assert course(journal.metadata(each)) == before[each]
        assert [entry.kind for entry in journal.timeline(each)] == kinds[each]
        assert SECRET not in repr(journal.timeline(each))
    assert len(journal.changes(0, 1000)) == changes
    assert journal.timeline("other") == other
    journal.check()


def test_an_error_is_shown_as_erased(file: Path, journal: SqliteJournal) -> None:
    while journal.texts.add(100):
        pass
    assert [each.id for each in journal.list(text=SECRET).sagas] == ["undone"]
    assert journal.texts.candidates([SECRET], None, 1_000_000, 10)
    erase(file, "undone")
    assert journal.list(text=SECRET).sagas == ()
    assert not journal.texts.candidates([SECRET], None, 1_000_000, 10), "the index has forgotten it, too"
    saga = journal.metadata("undone")
    assert saga is not None
    assert saga.error is not None
    assert ERASED in saga.error
    assert saga.steps[1].error is not None
    assert ERASED in saga.steps[1].error
    assert [each.id for each in journal.list(text=ERASED).sagas] == ["undone"]


def test_the_same_steps_are_the_same_definition_and_others_are_not(file: Path, journal: SqliteJournal) -> None:
    erase(file, "done")
    first = journal.accepted("done")
    assert first is not None
    assert first.spec.same_definition(told("done").spec)
    assert first.spec.same_definition(accepted("done").spec), "the inputs are not known any more"
    assert not first.spec.same_definition(told("done", ("Debit",)).spec)
    assert not first.spec.same_definition(told("done", ("Debit", "Other")).spec)


@pytest.mark.parametrize(
    ("saga_id", "error", "says"),
    [
        ("parked", RequestError, "retry or resolve"),
        ("runs", RequestError, "wait for its end"),
        ("none", SagaNotFoundError, "no saga 'none'"),
        ("\ud800", SagaNotFoundError, "no saga"),
    ],
)
def test_a_saga_that_has_not_finished_is_not_erased(
    file: Path, saga_id: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        erase(file, saga_id)


def test_a_saga_that_was_purged_is_told_as_that(file: Path, journal: SqliteJournal) -> None:
    walk = journal.purge(Purgeable(2**62))
    while walk.step():
        pass
    with pytest.raises(SagaExistsError, match="has been purged") as caught:
        erase(file, "done")
    assert caught.value.status is SagaStatus.COMPLETED


def test_an_erasure_that_fails_on_its_way_has_erased_nothing(
    file: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = journal.timeline("long"), journal.metadata("long")
    execute = Database.execute

    def full(self: Database, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql.startswith("UPDATE sagas"):
            raise JournalError("the disk is full")
        return execute(self, sql, parameters)

    monkeypatch.setattr(Database, "execute", full)
    with pytest.raises(JournalError, match="full"):
        erase(file, "long")
    monkeypatch.undo()
    assert (journal.timeline("long"), journal.metadata("long")) == before
    assert erase(file, "long")


def test_while_somebody_reads_the_log_cannot_be_cut_and_that_is_said(file: Path) -> None:
    with closing(sqlite3.connect(file, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM journal").fetchall()
        with pytest.raises(JournalBusyError, match=r"is erased, but .* then erase the saga again"):
            erase(file, "done", log_patience_s=0.0)
        reader.execute("ROLLBACK")
    for each in ("done", "undone", "long"):
        erase(file, each)
    assert SECRET.encode() not in bytes_of(file)


def test_the_command_line_erases(file: Path, tmp_path: Path) -> None:
    home = Caller(file.parent, tmp_path)
    assert home.ask("erase", "undone").out == "undone is erased\n"
    assert home.ask("erase", "undone", "--json").json() == {"saga": "undone", "erased": False}
    for verb in ("show", "explain", "export"):
        said = home.ask(verb, "undone")
        assert said.code == 0
        assert SECRET not in said.out
    refused = home.ask("erase", "parked")
    assert refused.code == 2
    assert "only a saga that has finished" in refused.complaint
