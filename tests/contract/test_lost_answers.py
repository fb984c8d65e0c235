"""Appends whose answer is lost, on a server that is played here: what nobody can know is not told as known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError
from antistrophe.journal import EarlierTryError
from antistrophe.journal.postgres_append import PostgresAppends
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.storage.postgres_database import PostgresDatabase
from tests.contract.journal_sagas import accepted

CONFLICT = ("conflict", 7, None, 1, None, None)
ANOTHER = ((3, 1, "SagaAccepted", b"of another"),)
UNCONFIRMED = CommitUnknownError("no standby has it")


class Server:
    """Answers each statement with the next of these: an error, or what a function returns. ``there``: what stands in
    the place of the append.
    What can be read is confirmed once the answers are used up."""

    where = "played/db"
    lock_ms = 100
    answer_s = 30.0

    def __init__(self, *answers: JournalError | Sequence[Any], there: Sequence[Any] = ()) -> None:
        self.answers = list(answers)
        self.there = there

    def holds(self, _text: object) -> bool:
        return True

    def returning(self, _sql: str, _values: Sequence[Any]) -> list[Any]:
        answer = self.answers.pop(0)
        if isinstance(answer, JournalError):
            raise answer
        return [answer]

    def rows(self, _sql: str, _values: Sequence[Any]) -> Sequence[Any]:
        return self.there

    def confirm(self) -> None:
        if self.answers:
            raise UNCONFIRMED


def write(*answers: JournalError | Sequence[Any], there: Sequence[Any] = ()) -> None:
    server = Server(*answers, there=there)
    appends = PostgresAppends(cast("PostgresDatabase", server), None)
    entries = (accepted("s"),)
    append = appends.made("s", 0, entries, (), metadata_of(replay(entries)), 0.0)
    try:
        appends.write((append,))
    finally:
        assert not server.answers


def test_a_lock_after_a_lost_answer_may_be_held_by_the_earlier_try() -> None:
    busy = JournalBusyError("a lock is held, and nothing was written")
    with pytest.raises(CommitUnknownError, match="an earlier try may have been written"):
        write(CommitUnknownError("lost"), busy)
    with pytest.raises(JournalBusyError, match="nothing was written"):
        write(busy)


def test_a_conflict_with_an_earlier_try_is_told_once_what_stands_there_is_confirmed() -> None:
    lost = CommitUnknownError("lost")
    with pytest.raises(EarlierTryError):
        write(lost, CONFLICT, there=ANOTHER)
    with pytest.raises(EarlierTryError):
        write(lost, CONFLICT, CONFLICT, there=ANOTHER)
    with pytest.raises(JournalError, match="lost") as caught:
        write(lost, CONFLICT, lost, there=ANOTHER)
    assert caught.value is lost, "nobody could say, three times"
