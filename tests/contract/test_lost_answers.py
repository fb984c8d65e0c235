"""Appends whose answer is lost, on a server that is played here: what nobody can know is not told as known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError
from antistrophe.journal.postgres_append import PostgresAppends
from antistrophe.saga.state import replay
from antistrophe.saga.view import metadata_of
from antistrophe.storage.postgres_database import PostgresDatabase
from tests.contract.journal_sagas import accepted


class Server:
    """Answers each statement with the next of these errors."""

    where = "played/db"
    lock_ms = 100
    answer_s = 30.0

    def __init__(self, *errors: JournalError) -> None:
        self.errors = list(errors)

    def holds(self, _text: object) -> bool:
        return True

    def returning(self, _sql: str, _values: Sequence[Any]) -> list[Any]:
        raise self.errors.pop(0)


def write(*errors: JournalError) -> None:
    server = Server(*errors)
    appends = PostgresAppends(cast("PostgresDatabase", server), None)
    entries = (accepted("s"),)
    append = appends.made("s", 0, entries, (), metadata_of(replay(entries)), 0.0)
    try:
        appends.write((append,))
    finally:
        assert not server.errors


def test_a_lock_after_a_lost_answer_may_be_held_by_the_earlier_try() -> None:
    busy = JournalBusyError("a lock is held, and nothing was written")
    with pytest.raises(CommitUnknownError, match="an earlier try may have been written"):
        write(CommitUnknownError("lost"), busy)
    with pytest.raises(JournalBusyError, match="nothing was written"):
        write(busy)
