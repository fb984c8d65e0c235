"""Who owns the copied sagas that go on: at first the host that the home was until now.

Its next life takes them as after a crash: it finds what attempts have left in the home. If it does not come, its lease
lapses, and any host takes them. What has not begun may be taken at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

from antistrophe.errors import JournalError
from antistrophe.hosts.description import HostDescription, HostLoad, new_description
from antistrophe.hosts.retained import Retained
from antistrophe.hosts.stored_hosts import StoredHosts
from antistrophe.journal.shapes import StoredShapes
from antistrophe.moving.source import Source
from antistrophe.saga.entries import SagaAccepted
from antistrophe.settings import Settings
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

OWN_S = 300.0
"""For so long the sagas of a copied home wait for it."""

_AT_ONCE = 500


def owner_of(settings: Settings) -> HostDescription:
    """The host that the home was until now, as those that share the journal will know it: it keeps no more of the
    finished sagas than the home does."""
    retained = Retained.of(settings)
    return new_description(settings.host, settings.labels, version("antistrophe"), OWN_S, retained)


def let_own(database: PostgresDatabase, source: Source, owner: HostDescription, journal_grown: int) -> None:
    """Have the host own those of the copied sagas that go on, in the open transaction."""
    first, last = journal_grown, journal_grown + source.head("journal")
    written = database.execute(
        f"UPDATE {SCHEMA}.sagas SET host = ?, token = 1 WHERE finished IS NULL AND accepted > ? AND accepted <= ?",
        (owner.id, first, last),
    )
    if written.rowcount:
        # It is told to be full, so that others take what has not begun.
        StoredHosts(database).register(owner, HostLoad(is_full=True))
    for some in _needs(source):
        database.execute_many(f"UPDATE {SCHEMA}.sagas SET needs = ?::text[] WHERE id = ?", some)


def _needs(source: Source) -> Iterator[list[tuple[list[str], str]]]:
    """The labels that sagas that go on need, and their ids, some at a time. Of a saga that can't be read its next host
    tells."""
    shapes = StoredShapes(source.file)
    sql = (
        "SELECT id, entry FROM sagas JOIN journal ON saga_id = id AND journal.seq = 1 WHERE finished IS NULL AND id > ?"
        " ORDER BY id LIMIT ?"
    )
    after = ""
    while rows := source.file.rows(sql, (after, _AT_ONCE)):
        after = rows[-1][0]
        some = []
        for saga_id, packed in rows:
            try:
                accepted = shapes.entry(packed, saga_id, source.where)
            except JournalError:
                continue
            needs = accepted.spec.runs_on if isinstance(accepted, SagaAccepted) else []
            if needs and saga_id not in source.left_out.sagas:
                some.append((needs, saga_id))
        if some:
            yield some
