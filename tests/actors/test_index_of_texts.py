"""A running system adds finished sagas to the index of texts, also those that were there before it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from antistrophe import SagaOrchestrator
from antistrophe.actors.text_indexing import SAGAS_AT_ONCE
from antistrophe.journal import SqliteJournal
from tests.benchmarks.filled_journal import fill, saga_id
from tests.waiting import until

SAGAS = 2 * SAGAS_AT_ONCE + 20


def test_the_registry_adds_what_has_finished(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fill(home, SAGAS, 60.0)
    with closing(SqliteJournal(home / "journal.db")) as journal:
        for table in ("saga_texts", "texts_indexed"):
            journal._database.execute(f"DROP TABLE {table}")
        with SagaOrchestrator(home) as orchestrator:
            assert [saga.id for saga in orchestrator.list_sagas(text="0000042")] == [saga_id(42)]
            until(lambda: 0 < journal.texts.behind(SAGAS) < SAGAS_AT_ONCE, "the sagas are in the index")
            assert [saga.id for saga in orchestrator.list_sagas(text="0000042")] == [saga_id(42)]
            assert not orchestrator.list_sagas(text="none has this")
        assert journal.texts.candidates([saga_id(42)], None, 10 * SAGAS, 10)
