"""What a supervisor that starts or takes over has to know of the sagas that go on: a few questions for all of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from antistrophe.actors.saga.open_sagas import OpenSaga, open_sagas, rank_in
from antistrophe.scheduling.admission import AdmissionRank
from antistrophe.storage.opening import open_in_memory
from tests.contract.journal_sagas import FORWARD, PARK, TURN_BACK, ActorsJournal, accepted, append, run

SAGAS = 120


def ranked(journal: Any, number: int) -> OpenSaga:
    """A saga that waits, whose rank differs from that of the next ones."""
    entry = accepted(f"s{number}", f"name {number % 3}")
    spec = replace(entry.spec, priority=number % 5, max_concurrent=None if number % 2 else 7)
    append(journal, spec.id, replace(entry, spec=spec))
    rank = AdmissionRank(spec.name, spec.max_concurrent, spec.priority)
    return OpenSaga(spec.id, entry.request_id, False, rank)


def test_all_that_go_on_are_told_in_the_order_of_their_acceptance(journal: Any) -> None:
    run(journal, "done", *FORWARD)
    expected = [ranked(journal, number) for number in range(3)]
    run(journal, "parked", *TURN_BACK, PARK)
    run(journal, "back", *TURN_BACK)
    expected += [OpenSaga("back", "request of back", True, AdmissionRank("transfer"))]
    assert open_sagas(journal, besides=()) == expected
    assert open_sagas(journal, besides={"s0", "s2", "back"}) == expected[1:2]
    assert [rank_in(journal, each.id) for each in expected] == [each.rank for each in expected]
    assert open_sagas(journal, besides={each.id for each in expected}) == []


def test_the_questions_do_not_grow_with_each_saga(journal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [ranked(journal, number) for number in range(SAGAS)]
    questions: list[str] = []
    database = journal._database
    for name in ("rows", "row"):
        asked = getattr(database, name)

        def count(sql: str, *values: Any, asked: Any = asked) -> Any:
            questions.append(sql)
            return asked(sql, *values)

        monkeypatch.setattr(database, name, count)
    assert open_sagas(journal, besides=()) == expected
    assert len(questions) <= 10, questions


def test_one_whose_acceptance_is_damaged_or_missing_goes_on_with_the_others() -> None:
    sqlite_journal = ActorsJournal(open_in_memory())
    expected = [ranked(sqlite_journal, number) for number in range(4)]
    database = sqlite_journal._database
    database.execute("UPDATE journal SET entry = x'00' WHERE saga_id = 's1'")
    database.execute("DELETE FROM journal WHERE saga_id = 's2'")
    for number in (1, 2):
        expected[number] = replace(expected[number], rank=AdmissionRank(f"s{number}"))
    assert open_sagas(sqlite_journal, besides=()) == expected
    sqlite_journal.close()
