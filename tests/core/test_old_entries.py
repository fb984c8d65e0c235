"""What was written before it had all of today's fields is read: what it lacks has its default."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from antistrophe.journal.rows import pack_entry, pack_state, unpack_entry, unpack_state
from antistrophe.journal.short_entries import pack_short, unpack_short
from antistrophe.saga.entries import (
    Action,
    AttemptFailed,
    AttemptStarted,
    CompensationRetried,
    Entry,
    Failure,
    FailureKind,
    Lease,
    SagaAccepted,
    Verdict,
    VerdictGiven,
)
from antistrophe.serialization.payload import pack_payload, unpack_payload
from tests.fuzz.samples import METADATA, SPEC

FAILED = AttemptFailed(
    1.0, 0, Action.EXECUTE, 1, Failure(FailureKind.TIMEOUT, "ended"), stack="here", no_stack="deaf", traceback="there"
)
VERDICT = VerdictGiven(1.0, 0, 1, Verdict.UNKNOWN, stack="here", no_stack="deaf", traceback="there")


@pytest.mark.parametrize(
    ("entry", "later"),
    [
        (FAILED, ["traceback"]),
        (FAILED, ["no_stack", "traceback"]),
        (FAILED, ["stack", "no_stack", "traceback"]),
        (VERDICT, ["traceback"]),
        (VERDICT, ["stack", "no_stack", "traceback"]),
        (CompensationRetried(1.0, "eva", "repaired"), ["note"]),
        (SagaAccepted(1.0, "request", SPEC, 2.0), ["created_at"]),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, list) else " ".join(value),
)
def test_an_entry_from_before_a_field_is_read(entry: Entry, later: list[str]) -> None:
    assert unpack_entry(pack_entry(entry), "it") == entry
    kind, written = unpack_payload(pack_entry(entry))
    lacking: dict[str, Any] = dict.fromkeys(later)
    for name in later:
        assert written.pop(name) is not None
    assert unpack_entry(pack_payload([kind, written]), "it") == replace(entry, **lacking)


def test_a_failure_from_before_lost_attempts_were_told_was_not_lost() -> None:
    entry = replace(FAILED, lost=True)
    assert unpack_entry(pack_entry(entry), "it") == entry
    kind, written = unpack_payload(pack_entry(entry))
    assert written.pop("lost") is True
    assert unpack_entry(pack_payload([kind, written]), "it") == FAILED


def test_a_lease_from_before_attempt_files_were_named_is_read() -> None:
    lease = Lease("p-1", 4711, 99, "boot", attempt_file="fe01:2a:0123456789abcdef")
    entry = AttemptStarted(1.0, 0, Action.EXECUTE, 1, 5.0, 6.0, lease)
    assert unpack_entry(pack_entry(entry), "it") == entry
    kind, written = unpack_payload(pack_entry(entry))
    assert written["lease"].pop("attempt_file") == lease.attempt_file
    assert unpack_entry(pack_payload([kind, written]), "it") == replace(entry, lease=replace(lease, attempt_file=""))


def test_an_attempt_and_a_row_from_before_hosts_were_told_are_read() -> None:
    lease = Lease("p-1", 4711, 99, "boot", shared=True, attempt_file="file", host="a1")
    entry = AttemptStarted(1.0, 0, Action.EXECUTE, 1, 5.0, 6.0, lease)
    assert unpack_entry(pack_entry(entry), "it") == entry
    packed = pack_short(entry)
    assert packed is not None
    written = unpack_payload(packed)
    assert unpack_short(packed) == entry
    assert written.pop() == "a1"
    assert unpack_short(pack_payload(written)) == replace(entry, lease=replace(lease, host=""))
    row = unpack_payload(pack_state(METADATA))
    assert [step.pop() for step in row["steps"]] == ["a1", "a1"]
    steps = tuple(replace(step, host=None) for step in METADATA.steps)
    assert unpack_state([pack_payload(row)], "it") == replace(METADATA, steps=steps)


def test_a_row_of_a_saga_from_before_failed_undos_were_counted_is_read() -> None:
    assert unpack_state([pack_state(METADATA)], "it") == METADATA
    written = unpack_payload(pack_state(METADATA))
    assert [(step.pop(), step.pop()) for step in written["steps"]] == [("a1", 12), ("a1", 12)]
    steps = tuple(replace(step, undo_failures=0, host=None) for step in METADATA.steps)
    assert unpack_state([pack_payload(written)], "it") == replace(METADATA, steps=steps)
