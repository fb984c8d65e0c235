"""What stays of a purged saga: its tombstone, by which its id is known for ever.

A tombstone has a digest in the place of the id, so that it is small however long the id is, and tells nobody the id.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b

from antistrophe.errors import JournalError, SagaExistsError
from antistrophe.records import PurgedSaga, SagaStatus
from antistrophe.storage.connection import SqlDatabase

_DIGEST_BYTES = 16


class Tombstones:
    """The tombstones in one database, and how many sagas of each status were purged. What changes them is called
    within the transaction that deletes the saga."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    def find(self, saga_id: str) -> PurgedSaga | None:
        """The tombstone of a saga, or None where no saga of that id was purged."""
        if not self._database.holds(saga_id):
            return None
        found = self._database.row("SELECT status, finished_at FROM purged WHERE id_digest = ?", (digest_of(saga_id),))
        if found is None:
            return None
        return purged_in(found, f"{self._database.where}: what is left of the purged saga {saga_id!r}")

    def add(self, saga_id: str, status: str, finished_at_us: int) -> None:
        """Remember a saga that is deleted."""
        self._database.execute(
            "INSERT INTO purged(id_digest, status, finished_at) VALUES (?, ?, ?) ON CONFLICT(id_digest) DO UPDATE SET"
            " status = excluded.status, finished_at = excluded.finished_at",
            (digest_of(saga_id), status, finished_at_us),
        )

    def count(self, numbers: Mapping[str, int], finished: int) -> None:
        """So many more sagas of each status are deleted, all of which had finished at that position or before."""
        for status, number in sorted(numbers.items()):  # in one order: two purges at once never wait for each other
            self._database.execute(
                "INSERT INTO purges(what, number, position) VALUES (?, ?, ?) ON CONFLICT(what) DO UPDATE SET"
                " number = purges.number + excluded.number, position = CASE WHEN purges.position > excluded.position"
                " THEN purges.position ELSE excluded.position END",
                (status, number, finished),
            )


def was_purged(saga_id: str, purged: PurgedSaga) -> SagaExistsError:
    """The error for an id whose saga was purged."""
    at = purged.finished_at.isoformat(timespec="seconds")
    return SagaExistsError(
        f"saga {saga_id!r} was {purged.status.value} at {at} and has been purged since: its record is gone, and nothing"
        " runs again under its id; choose another id",
        status=purged.status,
        finished_at=purged.finished_at,
    )


def purged_in(tombstone: tuple[str, int], where: str) -> PurgedSaga:
    """What a tombstone, as it is stored, says. Raises JournalError, which says ``where`` it is."""
    try:
        status, finished_at_us = tombstone
        return PurgedSaga(SagaStatus(status), datetime.fromtimestamp(finished_at_us / 1e6, UTC))
    except (TypeError, ValueError, OverflowError, OSError) as error:
        raise JournalError(
            f"{where} can't be read ({error}): the file is damaged; restore it from a backup (it was left as it is)"
        ) from error


def digest_of(saga_id: str) -> bytes:
    """What stands in a tombstone in the place of the id."""
    return blake2b(saga_id.encode(), digest_size=_DIGEST_BYTES).digest()
