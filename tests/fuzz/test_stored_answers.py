"""What lies in the tables of an event store is read, or refused as unreadable: answers of keys, snapshots, states."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.cqrs.idempotency import Answer, Claim, KeyedCommand
from antistrophe.cqrs.idempotency_sqlite import SqliteIdempotencyStore
from antistrophe.definition.spec import RetryPolicy
from antistrophe.errors import UnknownVersionError, UnreadableDataError
from antistrophe.eventstore.recorded import moment_of
from antistrophe.eventstore.store import EventStore
from antistrophe.serialization.payload import pack_payload
from tests.fuzz import samples
from tests.fuzz.conftest import count, inputs
from tests.fuzz.garbage import spoiled

pytestmark = pytest.mark.timeout(600)  # one hundred thousand inputs, when they are asked for


def test_a_spoilt_answer_or_snapshot_is_refused_as_unreadable_and_the_store_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with EventStore(path) as store:
        store.append("s", [samples.happened()])
        store.save_snapshot("s", 1, {"a": (1, 2)})
        keys = SqliteIdempotencyStore(store, 600.0)
        command = KeyedCommand("key", "Command", b"fingerprint")
        claim = keys.claim(command)
        assert isinstance(claim, Claim)
        keys.settle(claim, [], [samples.happened()])
        assert keys.claim(command) == Answer([samples.happened()])
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA synchronous = OFF")
        valid = [
            other.execute(sql).fetchone()[0] for sql in ("SELECT answer FROM claims", "SELECT state FROM snapshots")
        ]

        @inputs(1.0)
        @given(spoiled(valid))
        def check(data: bytes) -> None:
            count("answers and snapshots")
            other.execute("UPDATE claims SET answer = ?", (data,))
            other.execute("UPDATE snapshots SET state = ?", (data,))
            with contextlib.suppress(UnreadableDataError, UnknownVersionError):
                assert isinstance(keys.claim(command), Answer)
            with contextlib.suppress(UnreadableDataError):
                assert store.get_latest_snapshot("s") is not None

        check()
        other.close()
        assert store.get_events("s") == [samples.happened()], "what was not spoilt is there"


@pytest.mark.parametrize("version", [0, -1, 2**63, 2**20_000], ids=["none", "negative", "beyond-the-table", "endless"])
def test_an_answer_with_a_version_that_no_event_has_is_unreadable(tmp_path: Path, version: int) -> None:
    path = tmp_path / "store.db"
    with EventStore(path) as store:
        keys = SqliteIdempotencyStore(store, 600.0)
        command = KeyedCommand("key", "Command", b"fingerprint")
        claim = keys.claim(command)
        assert isinstance(claim, Claim)
        keys.settle(claim, [], [samples.happened()])
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("UPDATE claims SET answer = ?", (pack_payload([["fuzz.happened", version, b"\x80"]]),))
        with pytest.raises(UnreadableDataError, match="holds something that is no event"):
            keys.claim(command)


@inputs(0.5)
@given(st.integers(-(2**63), 2**63 - 1))
def test_any_number_of_a_row_is_a_time_or_none(microseconds: int) -> None:
    count("times")
    with contextlib.suppress(UnreadableDataError):
        assert moment_of(microseconds).tzinfo is not None


@inputs(0.5)
@given(
    st.floats(0, 1e308) | st.integers(0, 2**70),
    st.floats(0, 1e308) | st.integers(0, 2**70),
    st.floats(0, 1e308),
    st.integers(1, 10**9),
    st.floats(0, 1),
)
def test_any_policy_that_is_taken_knows_how_long_to_wait(
    initial_s: Any, multiplier: Any, max_s: float, made: int, share: float
) -> None:
    count("policies")
    delay_s = RetryPolicy(made, initial_s, multiplier, max_s).delay_s(made, share)
    assert 0 <= delay_s <= max_s
