"""The entries of a saga in parts: every entry once, in order, in parts of a bounded size."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.actors.registry import RegistryActor
from antistrophe.client.saga_entries import entries_of
from antistrophe.errors import JournalError, SagaNotFoundError
from antistrophe.journal import RESULTS, Journal, SqliteJournal, journal_path
from antistrophe.journal.rows import unpack_entry
from antistrophe.journal.stored_entries import PART_BYTES, StoredEntries
from antistrophe.messages import GetEntries, SagaEntries
from antistrophe.saga.entries import Action, AttemptSucceeded, Entry
from antistrophe.storage.opening import open_in_memory
from antistrophe.transport.codec import pack_message
from tests.contract.journal_sagas import FORWARD, START, accepted, append, run, started


def returned(step: int, size: int) -> AttemptSucceeded:
    return AttemptSucceeded(START + 2, step, Action.EXECUTE, 1, b"x" * size)


@settings(max_examples=50, deadline=None)
@given(sizes=st.lists(st.integers(0, 2_000), min_size=1, max_size=12), part_bytes=st.integers(1, 3_000))
def test_every_entry_comes_once_in_parts_that_are_bounded(sizes: list[int], part_bytes: int) -> None:
    database = open_in_memory()
    journal = SqliteJournal(database)
    append(journal, "s", accepted("s", steps=tuple(f"step-{number}" for number in range(len(sizes)))))
    run(journal, "other", *FORWARD)
    for step, size in enumerate(sizes):
        append(journal, "s", started(step), returned(step, size))
    stored = StoredEntries(database)
    entries = journal.load("s")
    for kinds, wanted in (((), entries), (RESULTS, tuple(e for e in entries if isinstance(e, AttemptSucceeded)))):
        found: list[Entry] = []
        after_seq, more = 0, True
        while more:
            part, more = stored.part("s", after_seq, kinds, part_bytes)
            assert part, "a part is empty where there are no entries, and nowhere else"
            assert sum(len(packed) for _, _, packed, _ in part[:-1]) < part_bytes
            after_seq = part[-1][1]
            found += [unpack_entry(packed, "here") for _, _, packed, _ in part]
        assert tuple(found) == wanted
    assert stored.part("s", len(entries)) == ((), False)
    assert [record.entry for record in journal.results("s", 3)] == [
        entry for entry in entries[3:] if isinstance(entry, AttemptSucceeded)
    ]
    journal.close()


def test_entries_are_found_by_their_place(journal: Journal) -> None:
    run(journal, "s", *FORWARD)
    entries = journal.load("s")
    assert [journal.entry("s", seq) for seq in range(1, len(entries) + 2)] == [*entries, None]
    assert journal.entry("nobody", 1) is None
    for strange in ("order-\udcff", "nobody"):
        assert journal.entries_after(strange) == ((), False, 0)
        assert journal.entry(strange, 1) is None
    assert journal.entries_after("s", 0, ("\udcff",)) == ((), False, 0)
    assert journal.entries_after("s", 0, ("Nothing",)) == ((), False, 0)
    part, more, rest = journal.entries_after("s", 2)
    assert ([seq for _, seq, _, _ in part], more, rest) == ([3, 4, 5, 6], False, 0)


def test_an_entry_that_is_missing_is_named(tmp_path: Path) -> None:
    path = journal_path(tmp_path)
    journal = SqliteJournal(path)
    run(journal, "s", *FORWARD)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DELETE FROM journal WHERE seq = 4")
    with pytest.raises(JournalError, match=r"journal\.db: entry 4 of saga 's' is missing"):
        journal.entries_after("s", 2)
    assert journal.entries_after("s", 2, RESULTS)[1] is False, "what does not need the entry goes on"
    journal.close()


def test_an_entry_that_fits_into_no_message_comes_in_pieces(journal: Journal) -> None:
    size = PART_BYTES + 1_000_000
    append(journal, "s", accepted("s"), started(0), returned(0, size), started(1), returned(1, 2 * PART_BYTES))
    entries = journal.load("s")
    registry = RegistryActor.__new__(RegistryActor)
    registry._read = journal
    sizes: list[int] = []

    class Requests:
        def ask(self, make: Callable[[str], GetEntries], _answer: type) -> SagaEntries:
            answer = registry._get_entries(make("c"))
            sizes.append(len(pack_message(answer)))
            return answer

    for kinds, wanted in (((), entries), (RESULTS, (entries[2], entries[4]))):
        found = [record.entry for record in entries_of(cast(Any, Requests()), "s", "here", kinds)]
        assert tuple(found) == wanted
    assert max(sizes) < 2 * PART_BYTES
    with pytest.raises(SagaNotFoundError):
        list(entries_of(cast(Any, Requests()), "nobody", "here"))
