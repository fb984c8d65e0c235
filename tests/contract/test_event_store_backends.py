"""The event store keeps the contract of backends in a file and in memory, and a backend that breaks it is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from antistrophe.eventstore.backend import EventBackend, StoredEvent, StoredSnapshot
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.storage.opening import open_in_memory
from antistrophe.testing.store_contract import CHECKS, Check
from tests.contract.listed_events import ListedEvents


@pytest.mark.parametrize("kind", ["memory", "sqlite", "lists", "postgres"])
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_backend_keeps_the_contract(check: Check, kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    backends: dict[str, Callable[[], EventBackend]] = {
        "memory": lambda: SqliteEvents(open_in_memory()),
        "sqlite": lambda: SqliteEvents(tmp_path / "events.db"),
        "lists": ListedEvents,
        "postgres": lambda: PostgresEvents(request.getfixturevalue("postgres_store_url")),
    }
    check(backends[kind]())


class Shuffled(SqliteEvents):
    """Answers with the newest first."""

    def read(self, after_position: int, limit: int | None) -> list[StoredEvent]:
        return super().read(after_position, limit)[::-1]


class Forgetful(SqliteEvents):
    """Has no snapshots."""

    def save_snapshot(self, snapshot: StoredSnapshot) -> None:
        pass


class Trusting(SqliteEvents):
    """Never looks at the expected version."""

    def transaction(self) -> _TrustingTransaction:  # type: ignore[override]
        return _TrustingTransaction(super().transaction())


class _TrustingTransaction:
    def __init__(self, inner: object) -> None:
        self._inner = inner

    def __enter__(self) -> Self:
        self._writer = self._inner.__enter__()  # type: ignore[attr-defined]
        return self

    def __exit__(self, *problem: object) -> None:
        self._inner.__exit__(*problem)  # type: ignore[attr-defined]

    def append(self, stream: str, events: Sequence[object], expected_version: int | None = None) -> int:
        del expected_version
        return int(self._writer.append(stream, events))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Shuffled, "positions_count_over_all_streams"),
        (Forgetful, "the_latest_snapshot_is_that_of_the_highest_version"),
        (Trusting, "an_expected_version_is_kept"),
        (Trusting, "a_transaction_is_all_or_nothing"),
    ],
)
def test_the_contract_finds_a_broken_backend(broken: type[SqliteEvents], check: str) -> None:
    (found,) = [each for each in CHECKS if getattr(each, "__name__", "") == check]
    with pytest.raises(AssertionError):
        found(broken(open_in_memory()))


@pytest.mark.parametrize("wrong", [None, 5, b"events.db", ["events.db"], object, ListedEvents])
def test_what_is_no_place_of_events_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match='EventStore takes the path of a file, ":memory:"'):
        EventStore(wrong)
