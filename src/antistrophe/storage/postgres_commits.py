"""What became of a transaction whose commit was never answered.

The rows that it wrote are the proof: one of them is there, with all that it wrote into it, if it was committed. A row
at the same position may be another's, because a server that has crashed may give a position again. That the row is
missing proves the contrary only once the transaction is over, which its number tells. A server that took over from
another one by replication may use that number for another transaction; there the rows alone count, and they are what
this server will ever have.

A row that is there may be on this server alone: somebody has cancelled the wait of its commit for a standby, or the
server was started anew meanwhile. A standby follows one log in its order, so a later commit that it has confirms all
before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from antistrophe.errors import CommitUnknownError, JournalError

_LOOK_S = 0.02
CONFIRM = (
    "SELECT CASE WHEN current_setting('synchronous_standby_names') <> ''"
    " THEN pg_logical_emit_message(true, 'antistrophe', ''::text) END"
)
"""A statement whose commit waits for a standby, where others do. It takes no lock, and changes no row."""

_STATUS = "SELECT pg_xact_status(?::text::xid8)"


@dataclass(frozen=True, slots=True)
class Proof:
    """The number of a transaction, and a query that finds a row where it was committed."""

    xid: int
    sql: str
    parameters: tuple[Any, ...]


def what_became_of(proof: Proof, row: Callable[[str, Sequence[Any]], Any], within_s: float) -> bool | None:
    """Whether it was committed; None where nobody can say in that time. ``row`` asks on a new connection."""
    until = time.monotonic() + within_s
    while True:
        try:
            status = row(_STATUS, (str(proof.xid),))
            if row(proof.sql, proof.parameters) is not None:
                return True
            if status is not None and status[0] != "in progress":
                return False
        except JournalError:  # the server can't be reached (yet), or no longer knows the number
            pass
        if time.monotonic() > until:
            return None
        time.sleep(_LOOK_S)


def confirm(where: str, commit: Callable[[], object], is_same: Callable[[], bool]) -> None:
    """Make a commit that confirms what was read. ``is_same``: whether that was read on the connection which has
    committed. Another one may be to another server. Raises CommitUnknownError."""
    try:
        commit()
    except JournalError as error:
        raise CommitUnknownError(f"{error}; what was found there may be on this server alone") from error
    if not is_same():
        raise CommitUnknownError(f"{where}: the connection on which this was read is lost: read it again")
