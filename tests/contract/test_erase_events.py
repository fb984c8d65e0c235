"""The events of a saga that is erased with them: blanked in their places, skipped by projections, and in no file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from antistrophe import RawEvent
from antistrophe.client.erasing import erase
from antistrophe.cqrs import EventStore, ProjectionRegistry, VersionRegistry
from antistrophe.definition.events import encode_event
from antistrophe.errors import JournalError, RequestError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.journal import SqliteJournal
from antistrophe.storage.database import Database
from tests.acceptance.command import Caller
from tests.contract.journal_sagas import FORWARD, run
from tests.cqrs.totals import MemoryTotals, Paid, SavedTotals, SqlTotals

SECRET = "account-of-eva-4711"
OLD = "totals.paid.before"


def of_saga(number: int, account: str, kind: str = "totals.paid") -> NewEvent:
    encoded = encode_event(Paid(account, 5))
    return NewEvent(kind, encoded.type_version, encoded.data, None, bytes([number] * 16))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A journal in which two sagas have finished, and what they have put into the event store among other events."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with closing(SqliteJournal(home / "journal.db")) as journal:
        run(journal, "eva", *FORWARD)
        run(journal, "bob", *FORWARD)
        run(journal, "runs", FORWARD[0])
    with EventStore(home / "journal.db") as store:
        store.append("eva", [Paid("before", 1)])
        store.save_snapshot("eva", 1, {"paid": 1})
        with store.transaction() as transaction:
            transaction.append_encoded("eva", [of_saga(1, SECRET), of_saga(2, SECRET, OLD)])
            transaction.append_encoded("bob", [of_saga(3, "b")])
        store.append("eva", [Paid("after", 2)], metadata={"by": "hand"})
        store.save_snapshot("eva", 3, {"paid": SECRET})
    return home / "journal.db"


@pytest.fixture
def store(file: Path) -> Iterator[EventStore]:
    with EventStore(file) as opened:
        yield opened


def test_events_keep_their_places_and_lose_their_data(file: Path, store: EventStore) -> None:
    before = store.read()
    assert erase(file, "eva"), "its record alone"
    assert store.read() == before
    assert SECRET.encode() in b"".join(each.read_bytes() for each in file.parent.glob("journal.db*"))
    assert erase(file, "eva", events=True), "after an erasure without them"
    assert not erase(file, "eva", events=True)
    assert SECRET.encode() not in b"".join(each.read_bytes() for each in file.parent.glob("journal.db*"))
    after = store.read()
    places = [(each.position, each.stream, each.version, each.type, each.recorded_at, each.metadata) for each in before]
    assert places == [
        (each.position, each.stream, each.version, each.type, each.recorded_at, each.metadata) for each in after
    ]
    assert [each.erased for each in after] == [False, True, True, False, False]
    assert store.get_events("eva") == [
        Paid("before", 1),
        RawEvent("totals.paid", 1, {}),
        RawEvent(OLD, 1, {}),
        Paid("after", 2),
    ]
    assert after[1].data == {}
    assert store.get_events("bob") == [Paid("b", 5)]
    assert store.version("eva") == 4
    snapshot = store.get_latest_snapshot("eva")
    assert snapshot is not None
    assert (snapshot.version, snapshot.state) == (1, {"paid": 1}), "made of no erased event"


def test_no_upcaster_is_asked_about_what_is_not_there(file: Path) -> None:
    versions = VersionRegistry()

    @versions.upcaster(OLD, from_version=1, to_version=2)
    def in_cents(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "amount": data["amount"] * 100}

    erase(file, "eva", events=True)
    with EventStore(file, versions) as store:
        with store.transaction() as transaction:
            transaction.append_encoded("later", [of_saga(5, "c", OLD)])
        assert store.get_events("later") == [RawEvent(OLD, 2, {"account": "c", "amount": 500})]
        assert store.get_events("eva")[2] == RawEvent(OLD, 1, {})


@pytest.mark.parametrize("kind", [MemoryTotals, SavedTotals, SqlTotals])
def test_a_projection_that_is_rebuilt_has_none_of_them(
    kind: type[MemoryTotals | SavedTotals | SqlTotals], file: Path, store: EventStore
) -> None:
    with ProjectionRegistry(store) as registry:
        registry.register("totals", kind)
        registry.start_subscription()
        registry.wait_for("totals", store.head(), timeout_s=30)
        assert registry.get("totals").total(SECRET) == 5
        erase(file, "eva", events=True)
        registry.rebuild("totals")
        totals = registry.get("totals")
        assert (totals.total(SECRET), totals.total("b"), totals.total("after")) == (0, 5, 2)
        assert totals.positions() == [1, 4, 5]
        store.append("more", [Paid("b", 1)])
        registry.wait_for("totals", store.head(), timeout_s=30)
        assert totals.total("b") == 6


def test_it_is_all_or_nothing(file: Path, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.read()
    execute = Database.execute

    def full(self: Database, sql: str, parameters: object = ()) -> object:
        if sql.startswith("UPDATE sagas"):
            raise JournalError("the disk is full")
        return execute(self, sql, parameters)  # type: ignore[arg-type]

    monkeypatch.setattr(Database, "execute", full)
    with pytest.raises(JournalError, match="full"):
        erase(file, "eva", events=True)
    monkeypatch.undo()
    assert store.read() == before


def test_a_saga_that_has_not_finished_keeps_its_events(file: Path, store: EventStore) -> None:
    with store.transaction() as transaction:
        transaction.append_encoded("runs", [of_saga(4, "c")])
    with pytest.raises(RequestError, match="wait for its end"):
        erase(file, "runs", events=True)
    assert store.get_events("runs") == [Paid("c", 5)]


def test_the_command_line_erases_events_and_exports_what_is_left(file: Path, tmp_path: Path) -> None:
    home = Caller(file.parent, tmp_path)
    assert home.ask("erase", "eva", "--events").out == "eva is erased\n"
    assert home.ask("erase", "eva", "--events").out == "eva was erased before\n"
    data = [each["data"] for each in home.ask("export", "eva").json()["events"]]
    assert data == [{"account": "before", "amount": 1}, None, None, {"account": "after", "amount": 2}]
