"""A journal append beside a bare commit of two rows, in one run.

    python tests/benchmarks/bench_journal.py [--sagas N]

The two take turns, append by append, so that both see the same machine. Both sync every commit.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec, StepSpec
from antistrophe.journal import SagaEvent, SqliteJournal
from antistrophe.saga.entries import Action, AttemptStarted, AttemptSucceeded, Entry, Lease, SagaAccepted, SagaCompleted
from antistrophe.saga.listed import row_after
from antistrophe.saga.state import Saga, evolve
from antistrophe.serialization.payload import pack_payload

WARM_UP = 200
"""Sagas after which the logs grow no more but are written over, which is quicker."""


def _spec(saga_id: str) -> SagaSpec:
    steps = tuple(
        StepSpec(
            name=f"Step{number}",
            class_ref="bank:Step",
            input=pack_payload({"account": "A-1", "amount": 100}),
            timeout_s=30.0,
            kill_grace_s=5.0,
            retry=RetryPolicy(1),
            retryable_attempts=3,
            compensation_timeout_s=30.0,
            compensation_retry=RetryPolicy(12, 1.0, 2.0, 60.0),
            idempotent=False,
            atomic=True,
            requires_compensation=True,
            fresh_process=False,
            has_verify=False,
        )
        for number in range(3)
    )
    return SagaSpec(saga_id, "bench", None, True, steps, Origin("/srv/app.py", ("/srv", "/usr/lib/python3.11"), "/srv"))


def saga_parts(saga_id: str) -> Iterator[tuple[Saga, list[Entry], list[SagaEvent]]]:
    """The appends of a saga of three steps: what is true after each, its entries and events."""
    now = time.time()
    lease = Lease("lease", 4242, 1, "boot")
    encoded = EncodedEvent("bench.debited", 1, pack_payload({"account": "A-1", "amount": 100}))
    parts: list[list[Entry]] = [
        [SagaAccepted(now, "request", _spec(saga_id)), AttemptStarted(now, 0, Action.EXECUTE, 1, 30, now + 30, lease)]
    ]
    for step in range(3):
        done = AttemptSucceeded(now, step, Action.EXECUTE, 1, None, (encoded,))
        last = step == 2
        following = AttemptStarted(now, step + 1, Action.EXECUTE, 1, 30, now + 30, lease)
        parts.append([done, SagaCompleted(now) if last else following])
    saga: Saga | None = None
    for number, part in enumerate(parts):
        for entry in part:
            saga = evolve(saga, entry)
        assert saga is not None
        metadata = {"saga_id": saga_id, "step": number, "attempt": 1}
        name = str(uuid.uuid5(uuid.NAMESPACE_OID, f"{saga_id}/{number}"))
        events = [SagaEvent(saga_id, encoded.type, 1, encoded.data, metadata, name)] if number else []
        yield saga, part, events


def compare(folder: Path, sagas: int) -> None:
    """The time of one append, in turns with a bare commit of two rows of about the same size."""
    journal = SqliteJournal(folder / "journal.db")
    bare = sqlite3.connect(folder / "bare.db", isolation_level=None)
    bare.execute("PRAGMA journal_mode = WAL")
    bare.execute("PRAGMA synchronous = FULL")
    bare.execute("CREATE TABLE rows(position INTEGER PRIMARY KEY, saga_id, seq, entry)")
    ours: list[float] = []
    theirs: list[float] = []
    for number in range(WARM_UP + sagas):
        before: Saga | None = None
        seq = 0
        for saga, entries, events in saga_parts(f"saga-{number}"):
            begun = time.perf_counter()
            row = row_after(before, saga, entries)
            journal.append(saga.id, expected_seq=seq, entries=entries, events=events, row=row)
            between = time.perf_counter()
            bare.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                bare.execute("INSERT INTO rows(saga_id, seq, entry) VALUES (?, ?, ?)", (saga.id, seq, b"x" * 200))
            bare.execute("COMMIT")
            if seq and number >= WARM_UP:  # the acceptance holds a whole definition
                ours.append(between - begun)
                theirs.append(time.perf_counter() - between)
            seq, before = saga.seq, saga
    journal.close()
    bare.close()
    size = (folder / "journal.db").stat().st_size / (WARM_UP + sagas)
    ours_us, theirs_us = statistics.median(ours) * 1e6, statistics.median(theirs) * 1e6
    print(
        f"journal append of 2 entries, 1 event and the saga's row: {ours_us:,.0f} us; bare commit of 2 rows:"
        f" {theirs_us:,.0f} us ({ours_us / theirs_us:.2f}x); p99 {_p99(ours):,.0f} and {_p99(theirs):,.0f} us;"
        f" {size:,.0f} bytes a saga with three events"
    )


def _p99(times: list[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)] * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sagas", type=int, default=500)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="antistrophe-bench-") as folder:
        compare(Path(folder), arguments.sagas)


if __name__ == "__main__":
    main()
