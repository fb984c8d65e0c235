"""The write lock of a database file: who holds it is named, and who must not wait for it does not."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from antistrophe.errors import JournalBusyError
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database
from antistrophe.storage.write_lock import LockPatience
from tests.core.database_kit import INSERT, opened
from tests.core.nursery import Nursery
from tests.waiting import until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_who_holds_the_lock_is_named(path: Path, nursery: Nursery) -> None:
    open_database(path).close()
    code = (
        "import sqlite3, sys, os, time\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: connection.execute(statement)\n"
        "print(os.getpid(), flush=True); time.sleep(600)"
    )
    for statements in (("BEGIN IMMEDIATE",), ("PRAGMA locking_mode = EXCLUSIVE", "BEGIN IMMEDIATE")):
        holder = nursery.start(code, str(path), *statements)
        pid = nursery.number(holder)
        named = rf"process {pid} \(\S*python\S* -S -c import sqlite3.* holds it"
        with pytest.raises(JournalBusyError, match=named):
            begin_and_end(path)
        holder.kill()
        holder.wait(10)
    own = rf"this process itself \({os.getpid()}\) holds it"
    with opened(path) as one, one.transaction(), pytest.raises(JournalBusyError, match=own):
        begin_and_end(path)


def begin_and_end(path: Path) -> None:
    with opened(path, busy_timeout_s=0.05) as database, database.transaction():
        pass


def test_who_must_not_wait_waits_once_and_then_looks_at_an_even_pace(path: Path) -> None:
    looks: list[float] = []

    def look() -> None:
        looks.append(time.monotonic())
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    def pauses() -> list[float]:
        return [after - before for before, after in itertools.pairwise(looks)]

    patience = LockPatience(0.1, pause_s=0.2)
    deadline = time.monotonic() + 30.0
    while sum(pause > 0.15 for pause in pauses()) < 3:
        assert time.monotonic() < deadline, "it is left alone between two looks"
        with pytest.raises(JournalBusyError, match="held"):
            patience.take(look, lambda _error: JournalBusyError("held"))
    refused_at = time.monotonic()  # a busy machine may refuse well after the last look
    until(lambda: time.monotonic() > refused_at + 0.2, "the next look")
    for _ in range(2):
        assert patience.take(lambda: "got it", lambda _error: JournalBusyError("held")) == "got it"


def test_a_patient_connection_gets_the_lock_as_soon_as_it_is_free(path: Path) -> None:
    with opened(path) as one, opened(path, patience=LockPatience(30.0)) as other:
        one.begin()
        results: list[int] = []
        thread = threading.Thread(target=lambda: results.append(insert_one(other)))
        thread.start()
        one.end(commit=True)
        thread.join(20)
        assert results == [1]


def insert_one(database: Database) -> int:
    with database.transaction():
        return database.execute(INSERT, ("s", 1, b"")).rowcount
