"""Journals in PostgreSQL as the tests use them."""

from __future__ import annotations

from collections.abc import Sequence

from antistrophe.journal import SagaEvent
from antistrophe.journal.journal import Row
from antistrophe.journal.postgres import PostgresJournal
from antistrophe.saga.entries import Entry
from tests.contract.journal_sagas import row_of_actors


class ActorsPostgresJournal(PostgresJournal):
    """What the actors keep, in PostgreSQL."""

    def append(
        self,
        saga_id: str,
        *,
        expected_seq: int,
        entries: Sequence[Entry],
        events: Sequence[SagaEvent] = (),
        row: Row,
        ahead_s: float = 0.0,
    ) -> int:
        """See ``Journal``."""
        row = row_of_actors(self, saga_id, expected_seq, entries, row)
        return super().append(
            saga_id, expected_seq=expected_seq, entries=entries, events=events, row=row, ahead_s=ahead_s
        )
