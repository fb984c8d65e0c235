"""A home whose journal is copied into PostgreSQL, and what both sides tell: for the tests of copying."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from antistrophe.client.copying import Copying
from antistrophe.client.purging import purge, purgeable
from antistrophe.journal import SagaEvent, SqliteJournal, StoredJournal, open_journal
from antistrophe.linux.home_identity import renew_identity
from antistrophe.moving.copying import CopyReport
from antistrophe.settings import Settings
from tests.contract.journal_sagas import FORWARD, PARK, TURN_BACK, UNDONE, accepted, append, run, waits

EVENT = SagaEvent("two", "paid", 1, b"\x80", {"saga_id": "two"}, "00000000-0000-0000-0000-000000000001")


def filled_home(folder: Path) -> Path:
    """A home whose system is not running, with sagas of every status, one that was purged, and events."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    renew_identity(home)
    with closing(SqliteJournal(home / "journal.db", synchronous="NORMAL")) as journal:
        run(journal, "purged", *FORWARD)
    purge(home / "journal.db", purgeable(timedelta(0)), dry_run=False, synchronous="NORMAL")
    with closing(SqliteJournal(home / "journal.db", synchronous="NORMAL")) as journal:
        run(journal, "one", *FORWARD)
        run(journal, "back", *TURN_BACK, UNDONE)
        run(journal, "parked", *TURN_BACK, PARK)
        append(journal, "two", accepted("two"), events=(EVENT,))
        append(journal, "waiting", accepted("waiting"), waits("its turn"))
        run(journal, "running", FORWARD[0])
    return home


def copied(home: Path, url: str, events: Path | None = None, **settings: Any) -> CopyReport:
    profile = Settings(host_name="desk", **settings)
    return Copying(home, url, events).make(profile, lambda _: None, lambda _, __: None)


def told(journal: StoredJournal) -> dict[str, Any]:
    """All that a journal tells of its sagas."""
    sagas = [replace(saga, host=None) for saga in journal.list(limit=1000).sagas]
    return {
        "sagas": sagas,
        "timelines": {saga.id: journal.timeline(saga.id) for saga in sagas},
        "records": journal.records(),
        "changes": journal.changes(),
        "history": journal.history(),
        "counts": journal.counts(),
        "purged": journal.purged("purged"),
        "requests": {saga.id: journal.request_id(saga.id) for saga in sagas},
    }


def without_positions(found: dict[str, Any]) -> dict[str, Any]:
    """The same, where positions may have grown."""
    timelines = {saga: [replace(each, position=0) for each in each_of] for saga, each_of in found["timelines"].items()}
    records = [replace(each, position=0) for each in found["records"]]
    return found | {"timelines": timelines, "records": records, "changes": [each.saga for each in found["changes"]]}


def of_file(home: Path) -> dict[str, Any]:
    with closing(SqliteJournal(home / "journal.db", read_only=True)) as journal:
        return told(journal)


def of(url: str) -> dict[str, Any]:
    with closing(open_journal(url)) as journal:
        return told(journal)
