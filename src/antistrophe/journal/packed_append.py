"""Packs the entries of one append as rows of the table ``journal``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from antistrophe.journal.journal import Row
from antistrophe.journal.rows import pack_entry, pack_state
from antistrophe.journal.shapes import Shape, pack_accepted
from antistrophe.journal.short_entries import pack_short
from antistrophe.saga.entries import Entry, SagaAccepted


def pack_append(
    saga_id: str, expected_seq: int, entries: Sequence[Entry], row: Row, ahead_s: float
) -> tuple[list[list[Any]], Shape | None]:
    """The rows of these entries (saga_id, seq, at, kind, entry, state), and the shape that the first of them names."""
    shape: Shape | None = None
    rows: list[list[Any]] = []
    for seq, entry in enumerate(entries, start=expected_seq + 1):
        packed, named = pack_stored(entry)
        shape = named or shape
        rows.append([saga_id, seq, round((entry.at + ahead_s) * 1e6), type(entry).__name__, packed, None])
    rows[-1][-1] = pack_state(row)
    return rows, shape


def pack_stored(entry: Entry) -> tuple[bytes, Shape | None]:
    """An entry as it is stored, and the shape that it names."""
    if isinstance(entry, SagaAccepted):
        return pack_accepted(entry)
    return pack_short(entry) or pack_entry(entry), None
