"""The tables that are copied from a SQLite file into PostgreSQL, and the hash by which their rows are compared: in
Python for a row of the file, in SQL for a row in the database.

A row's hash is SHA-256 of its values one after the other, each with its length before it, so that two rows that differ
have different hashes; the hash of several rows is that of their hashes in the order of their keys.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from antistrophe.storage.portable_sql import SCHEMA

Kind: TypeAlias = Literal["number", "text", "bytes"]
Positions: TypeAlias = Literal["journal", "events"]

_TYPES: dict[Kind, type] = {"number": int, "text": str, "bytes": bytes}
_SQL_TYPES: dict[Kind, str] = {"number": "bigint", "text": 'text COLLATE "C"', "bytes": "bytea"}
_BINARY: dict[Kind, str] = {"number": "int8", "text": "text", "bytes": "bytea"}
_IN_SQL: dict[Kind, str] = {"number": "int8send({})", "text": "convert_to({}, 'UTF8')", "bytes": "{}"}
_NOTHING = b"\xff\xff\xff\xff"
_NUMBER = struct.Struct(">iq")
_LENGTH = struct.Struct(">i")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``null``: it may have no value. ``positions``: the sequence that its values are positions of, or
    None."""

    name: str
    kind: Kind
    null: bool = False
    positions: Positions | None = None
    read: str = ""
    """The SQL by which SQLite is asked for it, where that is not its name."""

    pictured: bool = False
    """A zero character has its picture in its place: see ``searchable`` in ``journal.postgres_statement``."""

    def check(self, value: Any) -> str | None:
        """What is wrong with a value of it, or None."""
        if value is None:
            return None if self.null else "has nothing there"
        if type(value) is not _TYPES[self.kind]:
            return f"has a {type(value).__name__} there"
        if self.kind == "text" and "\0" in str(value):
            return "has a zero character there, which PostgreSQL can't store"
        return None


@dataclass(frozen=True, slots=True)
class Table:
    """One table. ``key``: the columns by which its rows are ordered, and of which no two rows have the same. ``which``:
    SQL for the rows that are copied."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    which: str = "1"

    @property
    def names(self) -> list[str]:
        """The names of its columns."""
        return [column.name for column in self.columns]

    @property
    def types(self) -> list[str]:
        """The types of its columns, as COPY has to know them."""
        return [_BINARY[column.kind] for column in self.columns]

    @property
    def definition(self) -> str:
        """Its columns and its key, in SQL of PostgreSQL."""
        columns = [
            f"{column.name} {_SQL_TYPES[column.kind]}{'' if column.null else ' NOT NULL'}" for column in self.columns
        ]
        return ", ".join([*columns, f"PRIMARY KEY ({', '.join(self.key)})"])

    def row_hash_sql(self, grown: dict[Positions, int]) -> str:
        """SQL of PostgreSQL for the hash of a row, whose positions have grown by so much."""
        parts = []
        for column in self.columns:
            by = grown[column.positions] if column.positions else 0
            value = _IN_SQL[column.kind].format(f"{column.name} - {by}" if by else column.name)
            part = f"int4send(octet_length({value})) || {value}"
            parts.append(rf"coalesce({part}, '\xffffffff'::bytea)" if column.null else part)
        return f"sha256({' || '.join(parts)})"

    def row_hash(self, row: Sequence[Any]) -> bytes:
        """The hash of a row of the file."""
        parts = []
        for column, value in zip(self.columns, row, strict=True):
            if value is None:
                parts.append(_NOTHING)
            elif column.kind == "number":
                parts.append(_NUMBER.pack(8, value))
            else:
                data = value.encode() if column.kind == "text" else value
                parts += _LENGTH.pack(len(data)), data
        return hashlib.sha256(b"".join(parts)).digest()


def hash_of(hashes: Iterable[bytes]) -> bytes:
    """The hash of several rows, whose hashes these are."""
    return hashlib.sha256(b"".join(hashes)).digest()


def beside(copy_id: str, table: Table) -> str:
    """The name of the table beside, of one copy, with its schema."""
    return f"{SCHEMA}.copy_{copy_id}_{table.name}"


def _number(name: str, positions: Positions | None = None, *, null: bool = False, read: str = "") -> Column:
    return Column(name, "number", null, positions, read)


def _text(name: str) -> Column:
    return Column(name, "text")


def _bytes(name: str, *, null: bool = False) -> Column:
    return Column(name, "bytes", null)


def _searched(name: str, *, null: bool = False) -> Column:
    return Column(name, "text", null, pictured=True)


JOURNAL = Table(
    "journal",
    (
        _number("position", "journal"),
        _text("saga_id"),
        _number("seq"),
        _number("at", read="CAST(at AS INTEGER)"),
        _text("kind"),
        _bytes("entry"),
        _bytes("state", null=True),
    ),
    ("position",),
    which="saga_id <> x''",  # the row of a purged saga, which only keeps the last position
)
SAGAS = Table(
    "sagas",
    (
        _number("accepted", "journal"),
        _text("id"),
        _text("request_id"),
        _searched("name"),
        _text("status"),
        _number("seq", read="(SELECT max(seq) FROM journal WHERE journal.saga_id = sagas.id)"),
        _number("updated", "journal"),
        _number("finished", "journal", null=True),
        _searched("error", null=True),
        _searched("waiting", null=True),
    ),
    ("accepted",),
)
SHAPES = Table("shapes", (_bytes("hash"), _bytes("shape")), ("hash",))
PURGED = Table("purged", (_bytes("id_digest"), _text("status"), _number("finished_at")), ("id_digest",))
EVENTS = Table(
    "events",
    (
        _number("position", "events"),
        _text("stream"),
        _number("version"),
        _text("type"),
        _number("type_version"),
        _bytes("data"),
        _bytes("metadata", null=True),
        _number("recorded_at"),
        _bytes("event_id", null=True),
    ),
    ("position",),
    which="position NOT IN (SELECT position FROM purges WHERE what = 'events')",  # purged, but for the last position
)
SNAPSHOTS = Table(
    "snapshots",
    (_text("stream"), _number("version"), _bytes("state"), _number("recorded_at")),
    ("stream", "version"),
)
CLAIMS = Table(
    "claims",
    (
        _text("key"),
        _bytes("command_hash"),
        _text("command_type"),
        _text("token"),
        _number("owner_pid"),
        _number("owner_start_ticks"),
        _text("owner_boot_id"),
        _bytes("answer", null=True),
        _number("updated_at"),
        _bytes("command", null=True),
    ),
    ("key",),
)
PROJECTIONS = Table(
    "projections",
    (
        _text("name"),
        _number("generation"),
        _number("last_generation"),
        _number("position"),
        _number("updated_at"),
        _bytes("state", null=True),
    ),
    ("name",),
    which="state IS NOT NULL",  # the others keep tables of their own
)

TABLES = (JOURNAL, SAGAS, SHAPES, PURGED, EVENTS, SNAPSHOTS, CLAIMS, PROJECTIONS)
"""All of them, in the order in which they are copied."""

BY_POSITION = (JOURNAL, SAGAS, EVENTS)
"""Those that are compared piece by piece in the order of their positions."""
