"""The journal in a PostgreSQL database, which several hosts may share.

Positions come from a sequence. They have gaps, and are not committed in their order: whoever reads by positions reads
no further than the safe head. Questions about sagas see everything that is committed.
"""

from __future__ import annotations

import builtins
from collections.abc import Sequence

from antistrophe.journal.gathering_group import GatheringGroup
from antistrophe.journal.group import GroupCommit
from antistrophe.journal.journal import Row, SagaEvent, check_append
from antistrophe.journal.journal_questions import LIVE, JournalQuestions
from antistrophe.journal.last_entry import digest_of_entry
from antistrophe.journal.postgres_append import PostgresAppends
from antistrophe.journal.postgres_last_append import LastAppend
from antistrophe.journal.saga_owner import Ownership, SagaOwner
from antistrophe.journal.texts import NoTexts
from antistrophe.records import SagaStatus
from antistrophe.saga.entries import Entry
from antistrophe.storage.portable_sql import NOT_BEGUN
from antistrophe.storage.postgres import open_postgres
from antistrophe.storage.postgres_database import PostgresDatabase
from antistrophe.storage.postgres_feed import OrderedFeed

_HEAD = (
    "SELECT greatest(0, (SELECT max(position) FROM journal WHERE position <= ?), (SELECT max(position) FROM purges))"
)


class PostgresJournal(JournalQuestions):
    """The PostgreSQL variant of ``Journal``. Any number of hosts may open one database; a fork opens it again.

    ``place`` is the URL of the database, or one that is open already. ``owner``: the host that writes, which may write
    to its own sagas alone: an append to another host's raises SagaTakenError, and a new saga is its own, by token 1.
    None, for tools: nobody is asked whose a saga is, and a new one has no owner. ``read_only`` and ``patience_s`` mean
    what they mean in ``open_postgres``.

    An append is one statement and one round trip, and so is the commit of a ``gathering_group``. In a ``group`` a
    transaction is around the appends.
    """

    def __init__(
        self,
        place: str | PostgresDatabase,
        *,
        owner: SagaOwner | None = None,
        read_only: bool = False,
        patience_s: float | None = None,
    ) -> None:
        if isinstance(place, str):
            place = open_postgres(place, read_only=read_only, patience_s=patience_s)
        self._server = place
        self._owner = owner
        self._appends = PostgresAppends(place, owner)
        self._feed = OrderedFeed("journal", "journal_positions")
        self.texts = NoTexts()
        self._read_from(place, self.texts)

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
        """See ``Journal``. Raises SagaTakenError where the saga belongs to another host, and CommitUnknownError where
        the answer was lost and the server can't be asked; the same append, made again, tells what became of it."""
        check_append(saga_id, expected_seq, entries, row)
        append = self._appends.made(saga_id, expected_seq, entries, events, row, ahead_s)
        if self._appends.gathered is not None:
            self._appends.gathered.append(append)
            return 0
        if not self._server.is_shared:
            return self._appends.write((append,))
        with self._server.transaction():
            return self._appends.write_in(append)

    @property
    def last_append(self) -> LastAppend:
        """The last append that was confirmed."""
        return self._appends.last

    def group(self) -> GroupCommit:
        """Make a group for appends that share one transaction."""
        return GroupCommit(self._server, self._appends.are_unknown)

    def gathering_group(self) -> GatheringGroup:
        """See ``StoredJournal``."""
        return GatheringGroup(self._appends)

    def head(self) -> int:
        """See ``Journal``. It is the last entry that a reader by positions may read now, also where it is purged."""
        return int(self._server.row(_HEAD, (self._last_in_order(),))[0])

    def clock(self) -> float:
        """See ``StoredJournal``: the server's."""
        return float(self._server.row("SELECT extract(epoch FROM clock_timestamp())::float8")[0])

    def ownership(self, saga_id: str) -> Ownership | None:
        """Who owns a saga, or None if there is no such saga."""
        if not self._server.holds(saga_id):
            return None
        found = self._server.row("SELECT host, token, seq FROM sagas WHERE id = ?", (saga_id,))
        return None if found is None else Ownership(*found)

    def load_to_append(self, saga_id: str) -> tuple[tuple[Entry, ...], bytes | None]:
        """See ``StoredJournal``."""
        entries, last = self._entries.with_last(saga_id)
        return entries, None if last is None else digest_of_entry(last)

    def live(self) -> builtins.list[tuple[str, bool]]:
        """See ``Journal``. With an owner: those that it owns."""
        if self._owner is None:
            return super().live()
        rows = self._server.rows(
            f"SELECT id, status FROM sagas WHERE status IN {LIVE} AND host = ? ORDER BY accepted", (self._owner.host,)
        )
        return [(saga_id, status == SagaStatus.COMPENSATING.value) for saga_id, status in rows]

    def begun(self) -> dict[str, bool]:
        """See ``StoredJournal``."""
        sql = f"SELECT id, NOT {NOT_BEGUN} FROM sagas WHERE status IN {LIVE}"
        if self._owner is None:
            return dict(self._server.rows(sql))
        return dict(self._server.rows(f"{sql} AND host = ?", (self._owner.host,)))

    def cut_log(self) -> bool:
        """The server keeps its log as long as it, its standbys and its archive need it: nothing is to be done here."""
        return True

    def give_back(self, *, keep: float = 0.0) -> bool:  # noqa: ARG002 - the server's vacuum decides
        """The server's vacuum gives room back by itself: nothing is to be done here."""
        return False

    def empty_log(self) -> bool:
        """See ``cut_log``."""
        return True

    def check(self) -> None:
        """Read every row of the journal. Raises JournalError where the server finds damage. This takes time in
        proportion to the journal's size."""
        for table in ("journal", "sagas", "shapes", "purged", "events"):
            self._server.row(f"SELECT count(each), sum(length(each::text)) FROM {table} AS each")

    def _last_in_order(self) -> int:
        return self._feed.safe_head(self._server)

    def _safe_to_count(self) -> int | None:
        return self._last_in_order()
