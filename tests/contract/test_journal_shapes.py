"""The shape of a definition is stored once, and everybody who reads a saga's acceptance gets it whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.definition.spec import RetryPolicy, SagaSpec
from antistrophe.errors import JournalError
from antistrophe.journal import SeqConflictError, SqliteJournal
from antistrophe.journal.rows import pack_entry, unpack_entry
from antistrophe.journal.shapes import MOST_BYTES, pack_accepted
from antistrophe.journal.stored_entries import PART_BYTES
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import FORWARD, START, ActorsJournal, accepted, append, as_kept, ids, run


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    made = ActorsJournal(open_in_memory())
    yield made
    made.close()


def shapes_in(journal: SqliteJournal) -> int:
    return int(journal._database.row("SELECT count(*) FROM shapes")[0])


def by_hand(journal: SqliteJournal, sql: str, *values: object) -> None:
    """Change the file behind the journal's back, and forget what was read of it."""
    journal._database.execute(sql, values)
    journal._entries.shapes._shape.cache_clear()


def changed(first: SagaAccepted, **changes: Any) -> SagaAccepted:
    return replace(first, spec=replace(first.spec, **changes))


def with_step(spec: SagaSpec, **changes: Any) -> dict[str, Any]:
    return {"steps": (replace(spec.steps[0], **changes), *spec.steps[1:])}


def test_what_a_saga_has_of_its_own_makes_no_other_shape(journal: SqliteJournal) -> None:
    first = accepted("a")
    own: list[SagaAccepted] = [
        first,
        changed(first, id="b", name="b"),
        changed(first, id="c", deadline_s=1.5, priority=7),
        changed(first, id="d", **with_step(first.spec, name="other", input=b"\x80", computed=b"\x81\xa1a\x01")),
        replace(changed(first, id="e"), at=7.25, request_id="another", created_at=8.5),
    ]
    for entry in own:
        append(journal, entry.spec.id, entry)
        assert journal.load(entry.spec.id) == (entry,)
        assert journal.accepted(entry.spec.id) == journal.entry(entry.spec.id, 1) == entry
    assert [record.entry for record in journal.records()] == own
    assert shapes_in(journal) == 1


def test_what_is_defined_makes_another_shape(journal: SqliteJournal) -> None:
    first = accepted("0")
    origin = replace(first.spec.origin, cwd="/elsewhere")
    different: list[dict[str, Any]] = [
        {},
        {"park_on_failure": False},
        {"max_concurrent": 3},
        {"origin": origin},
        with_step(first.spec, class_ref="shop:Other"),
        with_step(first.spec, retry=RetryPolicy(9)),
        with_step(first.spec, timeout_s=0.5),
        {"steps": first.spec.steps[:1]},
        {"steps": ()},
    ]
    for number, changes in enumerate(different):
        entry = changed(first, id=str(number), **changes)
        append(journal, entry.spec.id, entry)
        assert journal.load(entry.spec.id) == (entry,)
    assert shapes_in(journal) == len(different)


_TEXT = st.text(max_size=8)
_STEP = st.tuples(_TEXT, st.binary(max_size=8), st.binary(max_size=4))


@settings(max_examples=60, deadline=None)
@given(_TEXT, _TEXT, st.none() | st.floats(0, 1e9), st.integers(-5, 5), st.lists(_STEP, max_size=4))
def test_every_acceptance_is_read_as_it_was(
    saga_id: str, name: str, deadline_s: float | None, priority: int, steps: list[tuple[str, bytes, bytes]]
) -> None:
    first = accepted(saga_id, name, tuple(f"step {number}" for number in range(len(steps))))
    told = tuple(
        replace(step, name=its_name, input=given, computed=computed)
        for step, (its_name, given, computed) in zip(first.spec.steps, steps, strict=True)
    )
    entry = changed(first, deadline_s=deadline_s, priority=priority, steps=told)
    packed, shape = pack_accepted(entry)
    assert shape is not None
    journal = SqliteJournal(open_in_memory())
    journal._entries.shapes.keep(shape)
    assert journal._entries.shapes.entry(packed, saga_id, "here") == entry
    assert unpack_entry(journal._entries.shapes.whole(packed, saga_id, "here"), "here") == entry
    journal.close()


@pytest.mark.parametrize(
    "steps",
    [
        tuple(f"step {number}" for number in range(300)),
        ("x" * MOST_BYTES,),
    ],
)
def test_a_large_definition_is_stored_whole(journal: SqliteJournal, steps: tuple[str, ...]) -> None:
    first = accepted("s", steps=steps)
    large = changed(first, **with_step(first.spec, input=b"x" * MOST_BYTES)) if len(steps) == 1 else first
    append(journal, "s", large)
    assert shapes_in(journal) == 0
    assert journal.load("s") == (large,)
    assert journal.entries_after("s")[0][0][2] == pack_entry(large)
    assert 2 * MOST_BYTES < PART_BYTES, "what is put together fits into a message"


def test_the_time_of_the_last_entry_is_known_where_it_is_an_acceptance(journal: SqliteJournal) -> None:
    assert journal.last_at() == 0
    append(journal, "s", replace(accepted("s"), at=START + 9))
    assert journal.last_at() == START + 9


def test_clients_get_the_whole_acceptance(journal: SqliteJournal) -> None:
    run(journal, "s", *FORWARD)
    entries = journal.load("s")
    for kinds in ((), ("SagaAccepted",), ("SagaAccepted", "SagaCompleted")):
        found, more, rest = journal.entries_after("s", 0, kinds)
        wanted = [entry for entry in entries if not kinds or type(entry).__name__ in kinds]
        assert [unpack_entry(packed, "here") for _, _, packed, _ in found] == wanted
        assert (more, rest) == (False, 0)
    part, more = journal._entries.part("s", part_bytes=1)
    assert (len(part), more) == (1, True)
    assert unpack_entry(part[0][2], "here") == accepted("s")


def test_a_shape_is_durable_with_its_acceptance_or_not_at_all(journal: SqliteJournal) -> None:
    group = journal.group()
    group.open()
    append(journal, "a", accepted("a"))
    group.roll_back()
    assert shapes_in(journal) == 0
    append(journal, "a", accepted("a"))
    other = accepted("a", steps=("Other",))
    with pytest.raises(SeqConflictError):
        journal.append("a", expected_seq=0, entries=[other], row=as_kept(None, [other]))
    assert shapes_in(journal) == 1
    assert journal.load("a") == (accepted("a"),)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM shapes WHERE hash = ?", "is missing in the table shapes"),
        ("UPDATE shapes SET shape = x'c1' WHERE hash = ?", "is damaged"),
        ("UPDATE shapes SET shape = substr(shape, 2) WHERE hash = ?", "is damaged"),
        ("UPDATE shapes SET shape = 5 WHERE hash = ?", "is damaged"),
    ],
)
def test_a_shape_that_is_lost_hides_no_other_saga(journal: SqliteJournal, damage: str, says: str) -> None:
    run(journal, "s", *FORWARD)
    append(journal, "t", accepted("t", steps=("Other",)), *FORWARD[0])
    other = journal.metadata("t")
    shape = pack_accepted(accepted("s"))[1]
    assert shape is not None
    by_hand(journal, damage, shape.name)
    reads: list[Any] = [journal.load, journal.timeline, journal.accepted, journal.entries_after, journal.metadata]
    for read in reads:
        with pytest.raises(JournalError, match=f"entry 1 of saga 's' can't be read.*{says}.*restore it from a backup"):
            read("s")
        assert read("t")
    assert [(saga.id, saga.status) for saga in journal.history()] == [("s", "completed")]
    assert says in str(journal.history()[0].error)
    assert journal.list().sagas[0] == other
    assert ids([change.saga for change in journal.changes()]) == ["s"] * 4 + ["t"]
    assert journal.entry("s", 3) == FORWARD[1][0], "what does not need the shape goes on"
    append(journal, "u", accepted("u"))
    journal._entries.shapes._shape.cache_clear()
    assert journal.load("s")[0] == accepted("s"), "the next saga of this shape brings it back"


def read_by_a_client(journal: SqliteJournal) -> Callable[[str], list[Entry]]:
    def read(saga_id: str) -> list[Entry]:
        part, _, _ = journal.entries_after(saga_id)
        return [unpack_entry(packed, f"entry {seq} of saga {saga_id!r}") for _, seq, packed, _ in part]

    return read


_WRONG: tuple[Any, ...] = ({}, [1], [[1, 2, 3]])
_OWN = unpack_payload(pack_accepted(accepted("s"))[0])


@pytest.mark.parametrize(
    "own",
    [
        _OWN[:8],
        [*_OWN, None],
        *([*_OWN[:place], wrong, *_OWN[place + 1 :]] for place in range(1, 9) for wrong in _WRONG),
        [*_OWN[:8], _OWN[8][:1]],
        [*_OWN[:8], [["Debit"], ["Credit", b""]]],
    ],
)
def test_an_acceptance_that_can_not_be_read_is_named(journal: SqliteJournal, own: list[Any]) -> None:
    run(journal, "s", *FORWARD)
    run(journal, "t", *FORWARD)
    by_hand(journal, "UPDATE journal SET entry = ? WHERE seq = 1 AND saga_id = 's'", pack_payload(own))
    reads: list[Any] = [journal.load, journal.metadata, read_by_a_client(journal)]
    for read in reads:
        with pytest.raises(JournalError, match="entry 1 of saga 's' can't be read"):
            read("s")
        assert read("t")
