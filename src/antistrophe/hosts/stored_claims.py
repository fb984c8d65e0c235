"""Which host owns which saga: rows of sagas in PostgreSQL change their owner here, and nowhere else.

Each change of the owner makes the saga's token grow. An append is conditional on both, so whoever has lost a saga can't
write any more. A saga is free where it has no owner, or its owner's lease has ended or is unknown. Hosts that claim at
the same time skip each other's rows, so each saga is claimed once.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeAlias

from antistrophe.hosts.ownership import ClaimedSaga, Owners
from antistrophe.hosts.stored_holders import HELD_BY
from antistrophe.hosts.stored_hosts import DURABLY
from antistrophe.records import SagaStatus
from antistrophe.storage.portable_sql import NOT_BEGUN
from antistrophe.storage.postgres_database import PostgresDatabase

_COMPENSATING = SagaStatus.COMPENSATING.value

_OWNERS_AT_ONCE = 50

_FIT = "needs <@ ?::text[] AND ? <> ALL (unfit)"
# Where it fits no host that takes sagas, any may have it: there it waits where people see it, and can turn back.
_FIT_OR_FITS_NOBODY = f"""(({_FIT}) OR NOT EXISTS (
            SELECT FROM antistrophe.hosts WHERE ended IS NULL AND NOT draining
            AND sagas.needs <@ hosts.labels AND hosts.id <> ALL (sagas.unfit)))"""
_ALIVE = "EXISTS (SELECT FROM antistrophe.hosts WHERE id = ? AND ended IS NULL AND NOT draining)"
# The rows of a host that holds its lease are never free, whatever a caller believes. Counted, for PostgreSQL makes a
# join of NOT EXISTS, and does not join again when it has waited for a row that another host has just claimed.
_FREE = "(SELECT count(*) FROM antistrophe.hosts WHERE hosts.id = sagas.host AND ended IS NULL) = 0"
_TAKE = f"""
    UPDATE antistrophe.sagas SET host = ?, token = token + 1, needs = '{{}}', owned_since = clock_timestamp(),
        held_by = {HELD_BY}
    FROM free WHERE sagas.accepted = free.accepted RETURNING sagas.accepted, sagas.id, sagas.token, sagas.status"""


def _take(which: str, order: str, fit: str = f"{_FREE} AND {_FIT_OR_FITS_NOBODY}") -> str:
    return f"""
    WITH free AS (
        SELECT accepted FROM antistrophe.sagas WHERE {which} AND finished IS NULL AND {fit} AND {_ALIVE}
        ORDER BY {order} LIMIT ? FOR NO KEY UPDATE SKIP LOCKED
    ) {_TAKE}"""


# Each of them walks an index in the order in which it takes, so its cost grows with what it takes. With ``=`` for the
# owner PostgreSQL would look through all sagas in the order of acceptance, finished ones too.
_OF_OWNER = "host BETWEEN ? AND ?"
_CLAIM_COMPENSATING = _take(
    f"(host = ANY (?::text[]) OR (?::boolean AND host IS NULL)) AND status = '{_COMPENSATING}'", "accepted"
)
_CLAIM_OF = _take(_OF_OWNER, "host, accepted")
_CLAIM_OF_NOBODY = _take("host IS NULL", "host, accepted")
_STEAL_OF = _take(
    f"{_OF_OWNER} AND {NOT_BEGUN} AND owned_since < clock_timestamp() - ? * interval '1 second'",
    "host, accepted",
    _FIT,
)

_CLAIM_ONE = f"""
    WITH durably AS (SELECT {DURABLY}), free AS (
        SELECT accepted FROM antistrophe.sagas, durably
        WHERE sagas.id = ? AND {_ALIVE} AND {_FREE}
        FOR NO KEY UPDATE OF sagas
    ) {_TAKE}"""

_MOVE_ON = f"""
    WITH durably AS (SELECT {DURABLY}), given AS (SELECT ?::text AS host, ?::text[] AS unfit, ?::text[] AS needs)
    UPDATE antistrophe.sagas SET host = NULL, token = token + 1, unfit = sagas.unfit || given.unfit,
        needs = given.needs, owned_since = clock_timestamp(), held_by = {HELD_BY}
    FROM durably, given WHERE sagas.id = ? AND sagas.host = given.host AND token = ? AND seq = ?
    AND finished IS NULL
    AND EXISTS (SELECT FROM antistrophe.hosts WHERE ended IS NULL AND NOT draining AND hosts.id <> given.host
        AND hosts.id <> ALL (sagas.unfit) AND given.needs <@ hosts.labels)
    RETURNING sagas.id"""

_OWNED = """
    SELECT accepted, id, token, status FROM antistrophe.sagas WHERE host = ? AND finished IS NULL
    ORDER BY (status = ?) DESC, accepted"""


_Source: TypeAlias = tuple[str, tuple[Any, ...]]
"""A statement that takes, and the values that say whose sagas."""


class StoredClaims:
    """Changes the owners of sagas for one host. Every method raises JournalError where the database fails.

    Whose sagas may be claimed tells ``StoredHosts.look``. After a CommitUnknownError sagas may have been claimed:
    ``owned`` tells.
    """

    def __init__(self, database: PostgresDatabase, host_id: str, labels: Iterable[str]) -> None:
        self._database = database
        self._host = host_id
        self._labels = sorted(labels)

    def claim(self, owners: Owners, limit: int) -> list[ClaimedSaga]:
        """Take sagas of owners without a lease, and of nobody: at most ``limit``, compensating ones first, then those
        that an owner has accepted first. Those that another host fits better are left to it. None where this host's own
        lease has ended, or it drains."""
        sources: list[_Source] = [(_CLAIM_COMPENSATING, (list(owners.free), owners.nobody))]
        # Drawn, so that owners whose sagas fit nobody here don't stand in the way of the others for ever.
        drawn = random.sample(owners.free, min(len(owners.free), _OWNERS_AT_ONCE))
        sources += [(_CLAIM_OF, (owner, owner)) for owner in drawn]
        sources += [(_CLAIM_OF_NOBODY, ())] * owners.nobody
        return self._take(sources, limit)

    def steal(self, owners: Owners, limit: int, waited_s: float) -> list[ClaimedSaga]:
        """Take sagas that have not begun and have waited at a full host for so long."""
        others = [owner for owner in owners.full if owner != self._host]
        return self._take([(_STEAL_OF, (owner, owner, waited_s)) for owner in others], limit)

    def claim_one(self, saga_id: str) -> ClaimedSaga | None:
        """Take one saga, a parked one too, for an order to it. None where a host holds it, or there is no such saga."""
        rows = self._database.returning(_CLAIM_ONE, (saga_id, self._host, self._host))
        return next(iter(_claimed(rows)), None)

    def move_on(self, saga_id: str, token: int, seq: int, needs: Collection[str] = ()) -> bool:
        """Give a saga up that can't go on here, so that a host takes it that can: one with the labels that its next
        step ``needs``, or without any, one that has not yet tried to load its code. False where there is none, this
        host no longer owns it, or it has gone on here after all, and is no longer at ``seq``."""
        unfit = [] if needs else [self._host]
        values = (self._host, unfit, sorted(needs), saga_id, token, seq)
        return bool(self._database.returning(_MOVE_ON, values))

    def _take(self, sources: Sequence[_Source], limit: int) -> list[ClaimedSaga]:
        fit = (self._labels, self._host, self._host)
        rows: list[Any] = []
        with self._database.transaction():
            self._database.row(f"SELECT {DURABLY}")
            for sql, which in sources:
                if len(rows) < limit:
                    rows += self._database.returning(sql, (*which, *fit, limit - len(rows), self._host))
        return _claimed(rows)

    def owned(self) -> list[ClaimedSaga]:
        """All unfinished sagas of this host, compensating ones first."""
        rows = self._database.rows(_OWNED, (self._host, _COMPENSATING))
        return [_saga(row) for row in rows]


def _claimed(rows: Sequence[Any]) -> list[ClaimedSaga]:
    """In the order in which they are to be worked on: what an update returns is in none."""
    return [_saga(row) for row in sorted(rows, key=lambda row: (row[3] != _COMPENSATING, row[0]))]


def _saga(row: Sequence[Any]) -> ClaimedSaga:
    _, saga_id, token, status = row
    return ClaimedSaga(saga_id, token, SagaStatus(status))
