"""What lists show of an ordinary saga is read without a fold: it is what the fold says, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.definition.events import EncodedEvent
from antistrophe.errors import JournalError
from antistrophe.journal import SqliteJournal
from antistrophe.journal.ordinary_course import ordinary_view
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import AttemptSucceeded, Entry, SagaCompleted
from antistrophe.saga.state import Saga, evolve
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import (
    FORWARD,
    LEASE,
    PARK,
    RESOLVED,
    RETRY,
    START,
    TURN_BACK,
    UNDONE,
    accepted,
    as_kept,
    started,
)

MOMENTS = st.floats(START, START + 1e6)
EVENTS = st.lists(st.builds(EncodedEvent, st.text(max_size=5), st.integers(1, 9), st.binary(max_size=5)), max_size=2)
LEASES = st.builds(
    replace,
    st.just(LEASE),
    pid=st.integers(1, 2**22),
    boot_id=st.sampled_from(["boot", "63ffcc10-0e77-4594-adc9-c8e885a9e306"]),
    shared=st.booleans(),
)


@st.composite
def ordinary(draw: st.DrawFn, name: str = "transfer") -> list[Entry]:
    """The entries of a saga of the ordinary course."""
    names = tuple(draw(st.lists(st.text(max_size=4).map(lambda text: f"s{text}"), max_size=4, unique=True)))
    first = replace(accepted("s", name, names), at=draw(MOMENTS), created_at=draw(st.none() | MOMENTS))
    entries: list[Entry] = [first]
    for index in range(len(names)):
        begun = replace(started(index), at=draw(MOMENTS), limit_s=draw(st.sampled_from([30.0, 0.25])))
        begun = replace(begun, lease=draw(LEASES), deadline=draw(st.sampled_from([begun.at + begun.limit_s, START])))
        entries.append(begun)
        output = draw(st.none() | st.binary(max_size=5))
        warning, adopted = draw(st.sampled_from([(None, False), ("late", False), (None, True)]))
        done = AttemptSucceeded(draw(MOMENTS), index, begun.action, 1, output, tuple(draw(EVENTS)), warning, adopted)
        entries.append(done)
    return [*entries, SagaCompleted(draw(MOMENTS))]


def kept(entries: Sequence[Entry], ahead_s: Sequence[float] = (0.0,)) -> SqliteJournal:
    """A journal in which each entry came with an append of its own."""
    journal = SqliteJournal(open_in_memory())
    saga: Saga | None = None
    for number, entry in enumerate(entries):
        row = as_kept(saga, (entry,))
        ahead = ahead_s[number % len(ahead_s)]
        journal.append("s", expected_seq=number, entries=(entry,), row=row, ahead_s=ahead)
        saga = evolve(saga, entry)
    return journal


def read(journal: SqliteJournal) -> SagaMetadata | None:
    return ordinary_view("s", journal._entries.packed(["s"])["s"], journal._entries.shapes.names)


def folded(journal: SqliteJournal) -> SagaMetadata:
    (last,) = journal._database.row("SELECT max(seq) FROM journal")
    return journal._states._folded("s", last, {})


@settings(max_examples=60)
@given(ordinary(), st.lists(st.sampled_from([0.0, 5.5, -60.0]), min_size=1, max_size=4))
def test_an_ordinary_saga_is_shown_as_its_fold_says(entries: list[Entry], ahead_s: list[float]) -> None:
    journal = kept(entries, ahead_s)
    assert read(journal) == folded(journal) == journal.metadata("s") == journal.list().sagas[0]
    journal.close()


@pytest.mark.parametrize(
    "parts",
    [
        FORWARD[:1],
        FORWARD[:2],
        (*TURN_BACK, UNDONE),
        (*TURN_BACK, PARK),
        (*TURN_BACK, PARK, RETRY, UNDONE),
        (*TURN_BACK, PARK, RESOLVED),
        ((started(0, attempt=2),), *FORWARD[1:]),
    ],
)
def test_any_other_course_is_folded(parts: tuple[tuple[Entry, ...], ...]) -> None:
    journal = kept([accepted("s"), *(entry for part in parts for entry in part)])
    assert read(journal) is None
    assert journal.list().sagas == (folded(journal),)
    journal.close()


@settings(max_examples=150)
@given(ordinary(), st.data())
def test_damage_is_what_the_fold_says_of_it(entries: list[Entry], data: st.DataObject) -> None:
    """What is read without a fold is never what the fold would refuse, or show otherwise."""
    journal = kept(entries)
    seq = data.draw(st.integers(1, len(entries)))
    (packed,) = journal._database.row("SELECT entry FROM journal WHERE seq = ?", (seq,))
    place = data.draw(st.integers(0, len(packed) - 1))
    damaged = bytearray(packed)
    damaged[place] = data.draw(st.integers(0, 255))
    journal._database.execute("UPDATE journal SET entry = ? WHERE seq = ?", (bytes(damaged), seq))
    shown = read(journal)
    if shown is not None:
        assert shown == folded(journal)
    journal.close()


def test_an_entry_that_is_missing_is_said_to_be() -> None:
    journal = kept([accepted("s"), *(entry for part in FORWARD for entry in part)])
    journal._database.execute("DELETE FROM journal WHERE seq = 3")
    with pytest.raises(JournalError, match=r"entry 3 of saga 's' is missing"):
        journal.metadata("s")
    journal.close()


def test_a_shape_that_is_missing_is_said_to_be() -> None:
    journal = kept([accepted("s"), *(entry for part in FORWARD for entry in part)])
    journal._database.execute("DELETE FROM shapes")
    with pytest.raises(JournalError, match="is missing in the table shapes"):
        SqliteJournal(journal._file).metadata("s")
    journal.close()
