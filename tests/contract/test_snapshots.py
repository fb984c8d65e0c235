"""A snapshot that can't be read costs the events since the one before, and is told."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from antistrophe.definition.events import event
from antistrophe.errors import UnreadableDataError
from antistrophe.eventstore.store import EventStore


@event("snapshots.counted")
@dataclass(frozen=True)
class Counted:
    number: int


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x82\xa1a", "text", 17], ids=repr)
@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_a_snapshot_that_can_not_be_read_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: object, damaged: int, caplog: pytest.LogCaptureFixture
) -> None:
    """``damaged``: so many of the newest."""
    with EventStore(tmp_path / "events.db") as store:
        store.append("a", [Counted(1), Counted(2), Counted(3)])
        for version in (1, 2, 3):
            store.save_snapshot("a", version, {"version": version})
        with contextlib.closing(sqlite3.connect(tmp_path / "events.db", isolation_level=None)) as other:
            other.execute("UPDATE snapshots SET state = ? WHERE version > ?", (damage, 3 - damaged))
        if damaged == 3:
            with pytest.raises(UnreadableDataError, match="the snapshot of stream 'a' at version 3"):
                store.get_latest_snapshot("a")
        else:
            snapshot = store.get_latest_snapshot("a")
            assert snapshot is not None
            assert (snapshot.version, snapshot.state) == (3 - damaged, {"version": 3 - damaged})
            assert len(store.get_events_after("a", snapshot.version)) == damaged
        told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert len(told) == damaged
        assert "at version 3" in told[0]
