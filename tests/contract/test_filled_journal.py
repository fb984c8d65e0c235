"""The journals of the benchmarks, which are filled with copies of rows: they are those that appends write."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from antistrophe.journal import SqliteJournal
from antistrophe.records import SagaStatus
from tests.benchmarks.filled_journal import EACH_COMPENSATED, EACH_PARKED, fill, kind, saga_id
from tests.benchmarks.made_sagas import appends

NOW = 1_700_000_000.25
SAGAS = 120
"""Some of each course and name."""

TABLES = {
    "journal": "position, saga_id, seq, at, kind, entry, state",
    "sagas": "accepted, id, request_id, name, status, updated, finished, error, waiting",
    "events": "position, stream, version, type, type_version, data, metadata, event_id",
    "shapes": "hash, shape",
}


def test_copied_sagas_are_those_that_appends_write(tmp_path: Path) -> None:
    assert fill(tmp_path / "copied", SAGAS, 60.0, NOW) == SAGAS
    (tmp_path / "appended").mkdir()
    with (
        closing(SqliteJournal(tmp_path / "appended" / "journal.db", synchronous="NORMAL")) as appended,
        closing(SqliteJournal(tmp_path / "copied" / "journal.db")) as copied,
    ):
        for number in range(SAGAS):
            for each in appends(saga_id(number), NOW, *kind(number)):
                each.write(appended)
        for table, columns in TABLES.items():
            sql = f"SELECT {columns} FROM {table} ORDER BY 1"
            assert copied._database.rows(sql) == appended._database.rows(sql), table
        assert copied.counts()[SagaStatus.COMPENSATED] == len(range(3, SAGAS, EACH_COMPENSATED))
        assert copied.counts()[SagaStatus.FAILED] == len(range(7, SAGAS, EACH_PARKED))
        assert copied.history() == appended.history()
