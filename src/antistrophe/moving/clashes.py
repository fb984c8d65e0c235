"""Finds what the database has already of what is to be copied: what is the same is left out, the rest is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from antistrophe.errors import JournalError
from antistrophe.eventstore.postgres_rows import is_storable
from antistrophe.journal.tombstones import digest_of
from antistrophe.moving.source import LeftOut, Source
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres_database import PostgresDatabase

_AT_ONCE = 500
_NAMED = 5

_ENTRIES = "SELECT seq, at, kind, entry FROM journal WHERE saga_id = ? ORDER BY seq"
_EVENTS = "SELECT version, type, type_version, data, metadata, event_id FROM events WHERE stream = ? ORDER BY version"
_KEYS = "SELECT command_hash, command_type, answer FROM claims WHERE key = ?"


class _Found:
    """What clashes, by kind. A few of each are named."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._clashes: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        self._clashes.setdefault(kind, []).append(name)

    def refuse(self) -> None:
        """Raise JournalError where something clashes."""
        if not self._clashes:
            return
        kinds = []
        for kind, names in self._clashes.items():
            more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
            kinds.append(f"{kind} {', '.join(f'{name!a:.80}' for name in names[:_NAMED])}{more}")
        raise JournalError(
            f"{self._where} has something else by the same name, and nothing is overwritten: {'; '.join(kinds)}. Copy"
            " into another database; or purge there what has finished, if its ids may be forgotten. Nothing was"
            " changed there"
        )


def what_is_there(source: Source, database: PostgresDatabase) -> LeftOut:
    """What the database has with the same content. Raises JournalError where it has something else by the same name,
    or can't store a name."""
    found, left_out = _Found(database.where), LeftOut()
    with database.one_moment():
        _sagas(source, database, left_out, found)
        _purged(source, database, found)
        _streams(source, database, left_out, found)
        _keys(source, database, left_out, found)
    found.refuse()
    return left_out


def _sagas(source: Source, database: PostgresDatabase, left_out: LeftOut, found: _Found) -> None:
    for ids in _pieces(source.file, "SELECT id FROM sagas WHERE id > ? ORDER BY id LIMIT ?"):
        _check_names(source, "saga", ids, database.holds)
        for (saga_id,) in database.rows(f"SELECT id FROM {SCHEMA}.sagas WHERE id = ANY(?::text[])", (ids,)):
            if _same(source, database, _ENTRIES, saga_id):
                left_out.sagas.add(saga_id)
            else:
                found.add("the saga", saga_id)
        digests = {digest_of(saga_id): saga_id for saga_id in ids}
        sql = f"SELECT id_digest FROM {SCHEMA}.purged WHERE id_digest = ANY(?::bytea[])"
        for (digest,) in database.rows(sql, ([*digests],)):
            found.add("the purged saga", digests[digest])


def _purged(source: Source, database: PostgresDatabase, found: _Found) -> None:
    """Sagas there whose ids were purged here. The purged ids of both together are known there."""
    if source.file.row("SELECT 1 FROM purged LIMIT 1") is None:
        return
    for ids in _pieces(database, f"SELECT id FROM {SCHEMA}.sagas WHERE id > ? ORDER BY id LIMIT ?::bigint"):
        digests = {digest_of(saga_id): saga_id for saga_id in ids}
        marks = ", ".join("?" * len(digests))
        for (digest,) in source.file.rows(f"SELECT id_digest FROM purged WHERE id_digest IN ({marks})", [*digests]):
            found.add("the saga, which was purged here,", digests[digest])


def _streams(source: Source, database: PostgresDatabase, left_out: LeftOut, found: _Found) -> None:
    sql = "SELECT stream FROM events WHERE stream > ? GROUP BY stream ORDER BY stream LIMIT ?"
    for streams in _pieces(source.file, sql):
        _check_names(source, "stream", streams, is_storable)
        there = f"SELECT DISTINCT stream FROM {SCHEMA}.events WHERE stream = ANY(?::text[])"
        for (stream,) in database.rows(there, (streams,)):
            if _same(source, database, _EVENTS, stream):
                left_out.streams.add(stream)
            else:
                found.add("the stream", stream)


def _keys(source: Source, database: PostgresDatabase, left_out: LeftOut, found: _Found) -> None:
    for keys in _pieces(source.file, "SELECT key FROM claims WHERE key > ? ORDER BY key LIMIT ?"):
        _check_names(source, "idempotency key", keys, is_storable)
        for (key,) in database.rows(f"SELECT key FROM {SCHEMA}.claims WHERE key = ANY(?::text[])", (keys,)):
            if _same(source, database, _KEYS, key):
                left_out.keys.add(key)
            else:
                found.add("the idempotency key", key)


def _pieces(database: Any, sql: str) -> Iterator[list[str]]:
    """The names that a query finds behind another one, some at a time."""
    names = [""]
    while names := [name for (name,) in database.rows(sql, (names[-1], _AT_ONCE))]:
        yield names


def _same(source: Source, database: PostgresDatabase, sql: str, name: str) -> bool:
    return list(map(tuple, source.file.rows(sql, (name,)))) == list(map(tuple, database.rows(sql, (name,))))


def _check_names(source: Source, what: str, names: Sequence[str], is_possible: Callable[[object], bool]) -> None:
    impossible = [name for name in names if not is_possible(name)]
    if impossible:
        few = ", ".join(f"{name!a:.80}" for name in islice(impossible, _NAMED))
        raise JournalError(
            f"{source.where}: PostgreSQL can't store the name of this {what}, which has a zero character or is too"
            f" long: {few}. Nothing was copied"
        )
