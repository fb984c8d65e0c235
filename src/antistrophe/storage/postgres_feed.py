"""How far a reader may go by positions: up to where no transaction can add a row any more.

Positions come from a sequence, and transactions end in another order than they draw them in. A reader that took all it
sees would pass a position whose transaction is still open, and never look there again. So it goes no further than the
*safe head*, below which every transaction is over.

A safe head is found in two steps. First the sequence is read: its last position is H, and whoever drew a position up to
H had a transaction number before it did. Then the next number that the server will give is read: it is X, so all of
those have a smaller one. H is safe once every transaction below X is over. That is usually so at once.

Other programs' transactions on the same server count in this, a long one of another database, too. So where H is not
safe at once, the locks are read: whoever has drawn a position holds a lock on its table until its transaction is over.

The rules for writers: a transaction first takes its number (``pg_current_xact_id``), and draws positions within the
``INSERT`` into the table alone. Transaction numbers are kept in memory only, so positions survive dump and restore. On
a standby none of this holds, because draws are not replicated one by one: there nothing is read in order.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from antistrophe.errors import JournalError
from antistrophe.storage.portable_sql import SCHEMA

_LOOK_S = 0.05
"""How long it takes at least from one look at the locks to the next: a look costs about a millisecond."""

_MOST_CANDIDATES = 64

# ``age`` counts from a number to the next one that the server gives, and takes no number itself: so the next one is
# known modulo 2**32, and the snapshot says the rest.
_NUMBERS = (
    "SELECT age('3'::xid)::bigint, pg_snapshot_xmin(seen)::text::bigint, pg_snapshot_xmax(seen)::text::bigint,"
    " pg_is_in_recovery(), pg_postmaster_start_time() FROM pg_current_snapshot() AS seen"
)
_WRITERS = (
    "FROM pg_locks AS held WHERE held.locktype = 'relation' AND held.mode = 'RowExclusiveLock' AND held.granted"
    " AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND held.relation = to_regclass(?::text)"
)
_SESSIONS = (
    " AS held LEFT JOIN pg_stat_activity AS session ON session.pid = held.pid"
    # A prepared transaction has no session. Its lock on its own number says which it is.
    " LEFT JOIN pg_locks AS own ON held.pid IS NULL AND own.virtualtransaction = held.virtualtransaction"
    " AND own.locktype = 'transactionid' LEFT JOIN pg_prepared_xacts AS prepared"
    " ON prepared.transaction = own.transactionid "
)
_FIRST_NORMAL = 3
_NUMBERS_OF_AN_EPOCH = 2**32


class Asked(Protocol):
    """A connection to the database."""

    @property
    def where(self) -> str:
        """The place of the database, for messages."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on it."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query."""


@dataclass(slots=True)
class _Candidate:
    """A head that is safe once all transactions below ``next_number`` are over, or all of ``writers`` (None: not looked
    at yet)."""

    head: int
    next_number: int
    writers: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that has written to a table and is still open. ``pid`` is that of its session on the server; None
    for a prepared one, whose name is in ``application``. ``since`` is when it began and ``query_since`` when its last
    statement did; None where the server does not let this user see it."""

    pid: int | None
    application: str
    user: str
    state: str
    since: datetime | None
    query_since: datetime | None


class OrderedFeed:
    """The safe head of one table with positions from a sequence. Any thread may use it, on a connection of its own."""

    def __init__(self, table: str, sequence: str) -> None:
        self._table = f"{SCHEMA}.{table}"
        self._last_drawn = (
            "SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END, pg_postmaster_start_time()"
            f" FROM {SCHEMA}.{sequence}"
        )
        self._lock = threading.Lock()
        self._safe = 0
        self._server_start: datetime | None = None
        self._candidates: deque[_Candidate] = deque()
        self._look_at = 0.0

    def reached(self, position: int) -> None:
        """Another reader has been at that position, which shows that it is safe."""
        with self._lock:
            self._safe = max(self._safe, position)

    def safe_head(self, database: Asked) -> int:
        """The last position up to which every transaction is over. Rows up to there are seen by the next statement.
        Within a transaction it is the one that was found last: there the server's answers may be older than they look,
        and its own number is the next, although others may have greater ones. Raises JournalError on a standby.
        """
        with self._lock:
            if database.in_transaction:
                return self._safe
            ((drawn, server_start),) = database.rows(self._last_drawn)
            # A server that was started anew may draw positions again that nothing was committed at, and an older state
            # of the database, put in its place, all that came later.
            known_start, self._server_start = self._server_start, server_start
            if drawn < self._safe or known_start not in (None, server_start):
                self._candidates.clear()
                self._safe = 0
            if drawn > self._safe:
                self._look(database, drawn)
            return self._safe

    def _look(self, database: Asked, drawn: int) -> None:
        ((age, oldest, snapshot_end, standby, server_start),) = database.rows(_NUMBERS)
        if standby:
            raise JournalError(
                f"{database.where} is a standby, where nobody can say which positions are still to come: read in order"
                " from the primary (target_session_attrs=read-write in the URL)"
            )
        if server_start != self._server_start:  # it was started anew since it was asked for the positions
            return
        self._add(drawn, _next_number(age, snapshot_end))
        self._take(lambda candidate: candidate.next_number <= oldest)
        now = time.monotonic()
        if self._candidates and now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._look_at_locks(database)

    def _add(self, drawn: int, next_number: int) -> None:
        if self._candidates and next_number < self._candidates[-1].next_number:
            self._candidates.clear()  # the server has gone back: it crashed, or another took over
        if self._candidates and drawn <= self._candidates[-1].head:
            return
        if len(self._candidates) == _MOST_CANDIDATES:
            self._candidates.pop()
        self._candidates.append(_Candidate(drawn, next_number))

    def _look_at_locks(self, database: Asked) -> None:
        found = database.rows(f"SELECT DISTINCT held.virtualtransaction {_WRITERS}", (self._table,))
        writers = frozenset(row[0] for row in found)
        for candidate in self._candidates:
            candidate.writers = writers if candidate.writers is None else candidate.writers & writers
        self._take(lambda candidate: not candidate.writers)

    def _take(self, is_safe: Callable[[_Candidate], bool]) -> None:
        """Go to the last candidate that is safe: then all before it are safe as well."""
        for candidate in reversed(self._candidates):
            if is_safe(candidate):
                self._safe = max(self._safe, candidate.head)
                while self._candidates and self._candidates[0].head <= candidate.head:
                    self._candidates.popleft()
                return


def open_transactions(database: Asked, table: str) -> list[OpenTransaction]:
    """The transactions that have written to a table of the schema and are still open, the oldest first: readers by
    position wait for them. What they do is not told, because it may be secret."""
    rows = database.rows(
        "SELECT DISTINCT session.pid, coalesce(session.application_name, prepared.gid, ''),"
        " coalesce(session.usename, prepared.owner, ''),"
        " CASE WHEN prepared.gid IS NULL THEN coalesce(session.state, '') ELSE 'prepared' END,"
        " coalesce(session.xact_start, prepared.prepared) AS begun, session.query_start"
        f" {_WRITERS.replace(' AS held ', _SESSIONS)} ORDER BY begun NULLS LAST",
        (f"{SCHEMA}.{table}",),
    )
    return [OpenTransaction(*row) for row in rows]


def _next_number(age: int, snapshot_end: int) -> int:
    """The next number that the server gives. It is not before the end of the snapshot, and less than one epoch behind
    it."""
    next_in_epoch = age + _FIRST_NORMAL
    return snapshot_end + (next_in_epoch - snapshot_end) % _NUMBERS_OF_AN_EPOCH
