"""Lists of sagas with many steps, in parts that fit into messages: each saga once, in the order of the list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from antistrophe.actors.registry import RegistryActor
from antistrophe.client.saga_lists import listed
from antistrophe.journal import SqliteJournal, journal_path
from antistrophe.journal.paging import shown_bytes
from antistrophe.journal.stored_entries import PART_BYTES
from antistrophe.messages import ListHistory, ListRunning, ListSagas, SagaList
from antistrophe.records import SagaMetadata
from antistrophe.saga.entries import CancelRequested, Entry, SagaCompensated, TurnCause, TurnedBack, TurnReason
from antistrophe.storage.opening import open_in_memory
from antistrophe.transport.codec import pack_message
from tests.contract.journal_sagas import FORWARD, START, accepted, append, run

STEPS = tuple(f"{number:04} {'x' * 190}" for number in range(1_500))
FINISHED, RUNNING, BACK = 14, 14, 2
SMALL = 230
WITHIN_BYTES = PART_BYTES + 1_500 * 400
"""A part ends with the saga that brings it over the bound."""

CANCELLED: tuple[Entry, ...] = (
    CancelRequested(START + 1, "too dear", "ann"),
    TurnedBack(START + 1, TurnCause(TurnReason.CANCELLED, 0, None, "too dear")),
)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SqliteJournal]:
    made = SqliteJournal(journal_path(tmp_path_factory.mktemp("home")), synchronous="NORMAL")
    for number in range(FINISHED):
        append(made, f"done-{number}", accepted(f"done-{number}", steps=STEPS), *CANCELLED, SagaCompensated(START + 2))
    for number in range(RUNNING):
        append(made, f"runs-{number}", accepted(f"runs-{number}", steps=STEPS), *(CANCELLED if number < BACK else ()))
    yield made
    made.close()


@pytest.fixture(scope="module")
def small() -> Iterator[SqliteJournal]:
    made = SqliteJournal(open_in_memory())
    for number in range(SMALL):
        run(made, f"s{number}", *FORWARD)
    yield made
    made.close()


class Requests:
    """Has the registry's own handlers answer, and measures the answers."""

    def __init__(self, journal: SqliteJournal) -> None:
        self.registry = RegistryActor.__new__(RegistryActor)
        self.registry._read = journal
        self.sizes: list[int] = []

    def ask(self, make: Callable[[str], Any], _answer: type) -> SagaList:
        query = make("c")
        answers: dict[type, Callable[[Any], SagaList]] = {
            ListSagas: self.registry._list_sagas,
            ListHistory: self.registry._list_history,
            ListRunning: self.registry._list_running,
        }
        answer = answers[type(query)](query)
        self.sizes.append(len(pack_message(answer)))
        return answer


def found(
    journal: SqliteJournal, query: Callable[[str, str | None, int], Any], limit: int = 1_000, cursor: str | None = None
) -> tuple[list[str], str | None]:
    requests = Requests(journal)
    page = listed(cast(Any, requests), query, limit, cursor)
    assert max(requests.sizes) < WITHIN_BYTES
    assert len(requests.sizes) > 1
    return [saga.id for saga in page], page.cursor


def test_a_history_comes_in_parts(journal: SqliteJournal) -> None:
    ids, cursor = found(journal, lambda c, cursor, left: ListHistory(c, left, cursor))
    assert ids == [f"done-{number}" for number in reversed(range(FINISHED))]
    assert cursor is None
    ids, _ = found(journal, lambda c, cursor, left: ListHistory(c, left, cursor), FINISHED - 1)
    assert ids == [f"done-{number}" for number in reversed(range(1, FINISHED))]


def test_a_list_comes_in_parts_up_to_its_limit(journal: SqliteJournal) -> None:
    everything = [
        *(f"runs-{number}" for number in reversed(range(RUNNING))),
        *(f"done-{number}" for number in reversed(range(FINISHED))),
    ]

    def query(correlation: str, cursor: str | None, left: int) -> ListSagas:
        return ListSagas(correlation, None, None, None, left, cursor)

    ids, cursor = found(journal, query, 14)
    assert ids == everything[:14]
    rest, last = found(journal, query, 14, cursor)
    assert ids + rest == everything
    assert last is None


def test_the_running_sagas_come_in_parts(journal: SqliteJournal) -> None:
    ids, _ = found(journal, lambda c, cursor, _left: ListRunning(c, cursor))
    assert sorted(ids) == sorted(f"runs-{number}" for number in range(RUNNING))
    assert ids[-BACK:] == ["runs-1", "runs-0"], "those that turn back come last"


def test_changes_come_in_parts(journal: SqliteJournal) -> None:
    position, ids = 0, []
    while changes := journal.changes(position, 1_000):
        assert sum(shown_bytes(change.saga) for change in changes[:-1]) < PART_BYTES
        ids += [change.saga.id for change in changes]
        position = changes[-1].position
    assert ids == [*(f"done-{number}" for number in range(FINISHED)), *(f"runs-{number}" for number in range(RUNNING))]


def test_what_a_saga_takes_in_a_message_is_known_well_enough(journal: SqliteJournal, small: SqliteJournal) -> None:
    for found_journal in (journal, small):
        saga = found_journal.list(limit=1).sagas[0]
        packed = len(pack_message(SagaList("c", (saga,), None)))
        assert packed < shown_bytes(saga) < 4 * packed + 1_000


@pytest.mark.parametrize("part_bytes", [1, 5_000, 10**9, None])
@pytest.mark.parametrize("limit", [1, 7, 100, 1_000])
def test_any_part_is_the_beginning_of_the_rest(small: SqliteJournal, part_bytes: int | None, limit: int) -> None:
    everything = small.list(limit=1_000).sagas
    assert len(everything) == SMALL
    for page_of in (small.list, small.history_page):
        seen: list[SagaMetadata] = []
        cursor: str | None = None
        while True:
            page = page_of(limit=limit, cursor=cursor, part_bytes=part_bytes)
            assert 1 <= len(page.sagas) <= limit
            assert part_bytes is None or sum(map(shown_bytes, page.sagas[:-1])) < part_bytes
            seen += page.sagas
            cursor = page.cursor
            if cursor is None:
                break
        assert tuple(seen) == everything
