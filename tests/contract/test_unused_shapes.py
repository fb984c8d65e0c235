"""Shapes that no saga names any more go with a purge, once in a while, and never one that a saga names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from antistrophe.journal import Purge, Purgeable, SqliteJournal, unused_shapes
from antistrophe.journal.erasing import erase
from antistrophe.journal.shapes import BEGINNING_BYTES, MOST_BYTES, pack_accepted, shape_named_in
from antistrophe.saga.entries import SagaAccepted, SagaCompleted
from antistrophe.saga.erased import without_data
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import START, ActorsJournal, accepted, append

FEWEST = 10
ALL = Purgeable(2**62, name="transfer")


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteJournal]:
    monkeypatch.setattr(unused_shapes, "FEWEST", FEWEST)
    monkeypatch.setattr(unused_shapes, "_LOOKED_AT_ONCE", 3)
    monkeypatch.setattr(unused_shapes, "_DELETED_AT_ONCE", 3)
    monkeypatch.setattr(unused_shapes, "_MOST_NAMES", 7)
    made = ActorsJournal(open_in_memory())
    yield made
    made.close()


def of_shape(saga_id: str, number: int, given: bytes = b"\x80", name: str = "transfer") -> SagaAccepted:
    """An acceptance of a saga whose policies differ from those of every other number."""
    entry = accepted(saga_id, name)
    steps = tuple(replace(each, timeout_s=1.0 + number, input=given) for each in entry.spec.steps)
    return replace(entry, spec=replace(entry.spec, steps=steps))


def accept(journal: SqliteJournal, saga_id: str, number: int, given: bytes = b"\x80") -> None:
    append(journal, saga_id, of_shape(saga_id, number, given))


def end(journal: SqliteJournal, saga_id: str) -> None:
    append(journal, saga_id, SagaCompleted(START + 9))


def stored(journal: SqliteJournal) -> int:
    return int(journal._database.row("SELECT count(*) FROM shapes")[0])


def purge(journal: SqliteJournal, amid: Callable[[], object] = lambda: None) -> int:
    """Purge what has finished, and call that between the parts. Returns how many parts there were."""
    walk: Purge = journal.purge(ALL)
    parts = 0
    while walk.step():
        amid()
        parts += 1
    return parts


def readable(journal: SqliteJournal) -> list[str]:
    """Every saga that is there, each read whole by a journal that remembers no shape."""
    journal._entries.shapes._shape.cache_clear()
    ids = [row[0] for row in journal._database.rows("SELECT id FROM sagas ORDER BY accepted")]
    assert all(journal.load(each) for each in ids)
    return ids


def test_shapes_of_purged_sagas_go_and_those_of_others_stay(journal: SqliteJournal) -> None:
    for number in range(40):
        accept(journal, f"s{number}", number // 2)
    for number in range(18):
        end(journal, f"s{number}")
    purge(journal)
    assert len(readable(journal)) == 22
    assert stored(journal) == 20, "fewer sagas were purged than there are"
    end(journal, "s18")
    end(journal, "s20")
    purge(journal)
    assert readable(journal)[0] == "s19"
    assert stored(journal) == 11, "two sagas of one shape have stayed apart"


def test_nothing_is_looked_at_again_before_as_many_were_purged(journal: SqliteJournal) -> None:
    for round_number in range(6):
        for number in range(20):
            accept(journal, f"{round_number}-{number}", 20 * round_number + number)
            end(journal, f"{round_number}-{number}")
        purge(journal)
        assert stored(journal) == 0
    for number in range(30):
        accept(journal, f"stays {number}", 1000 + number)
    seen: list[int] = []
    for number in range(30):
        accept(journal, f"goes {number}", 2000 + number)
        end(journal, f"goes {number}")
        purge(journal)
        seen.append(stored(journal))
    assert seen == [*range(31, 60), 30]


def test_a_saga_that_is_accepted_amid_the_look_keeps_its_shape(journal: SqliteJournal) -> None:
    for number in range(30):
        accept(journal, f"s{number}", number)
        end(journal, f"s{number}")
    taken = iter(range(30))

    def accept_another() -> None:
        if (number := next(taken, None)) is not None:
            accept(journal, f"new {number}", number)

    assert purge(journal, accept_another) > 10
    left = readable(journal)
    assert len(left) > 10
    assert stored(journal) == len(left)


def test_of_two_purges_at_once_neither_takes_a_shape_that_has_come_back(journal: SqliteJournal) -> None:
    for number in range(30):
        accept(journal, f"s{number}", number)
        end(journal, f"s{number}")
    one, other = journal.purge(ALL), journal.purge(ALL)
    accepted_now = 0
    while one.step() | other.step() | other.step():
        accept(journal, f"new {accepted_now}", accepted_now % 30)
        accepted_now += 1
    assert accepted_now > 10
    assert len(readable(journal)) == accepted_now
    assert stored(journal) == min(accepted_now, 30)


def test_an_acceptance_that_is_erased_amid_the_look_keeps_the_shape_that_it_names_then(journal: SqliteJournal) -> None:
    append(journal, "large", of_shape("large", 5, given=bytes(MOST_BYTES), name="stays"))
    end(journal, "large")
    assert stored(journal) == 0
    for number in range(30):
        accept(journal, f"s{number}", number)
        end(journal, f"s{number}")
    erased: list[str] = []

    def erase_once() -> None:
        if not erased and journal._database.row("SELECT count(*) FROM sagas")[0] == 1:
            erased.append("large")
            assert erase(journal._database, "large")

    purge(journal, erase_once)
    assert erased
    assert readable(journal) == ["large"]
    assert stored(journal) == 1


def test_where_an_acceptance_is_not_understood_all_shapes_stay(journal: SqliteJournal) -> None:
    accept(journal, "odd", 99)
    for number in range(30):
        accept(journal, f"s{number}", number)
        end(journal, f"s{number}")
    journal._database.execute(
        f"UPDATE journal SET entry = substr(entry, 1, {BEGINNING_BYTES - 1}) WHERE saga_id = 'odd'"
    )
    purge(journal)
    assert stored(journal) == 31


def test_where_many_acceptances_are_stored_whole_all_shapes_stay(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unused_shapes, "_MOST_WHOLE", 0)
    accept(journal, "large", 5, given=bytes(MOST_BYTES))
    for number in range(30):
        accept(journal, f"s{number}", number)
        end(journal, f"s{number}")
    purge(journal)
    assert stored(journal) == 30


def test_an_erased_saga_names_the_shape_that_it_named_before() -> None:
    entry = of_shape("one", 7, given=b"\x81\xa4name\xa3Eva")
    packed, shape = pack_accepted(entry)
    erased, same = pack_accepted(without_data(entry))
    assert shape is not None
    assert shape == same
    assert {shape_named_in(each[:BEGINNING_BYTES]) for each in (packed, erased)} == {shape.name}


def test_what_is_stored_whole_names_no_shape() -> None:
    packed, shape = pack_accepted(of_shape("one", 7, given=bytes(MOST_BYTES)))
    assert shape is None
    assert shape_named_in(packed[:BEGINNING_BYTES]) is None
    assert shape_named_in("text") is None
