"""Entries without the names of their fields: every field comes back, and what is no entry is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antistrophe.definition.events import EncodedEvent
from antistrophe.errors import JournalError
from antistrophe.journal.rows import pack_entry, unpack_entry
from antistrophe.journal.short_entries import pack_short
from antistrophe.saga.entries import (
    ENTRY_TYPES,
    Action,
    AttemptStarted,
    AttemptSucceeded,
    Entry,
    Lease,
    SagaCompleted,
)
from antistrophe.serialization.payload import pack_payload, unpack_payload

BOOT = "63ffcc10-0e77-4594-adc9-c8e885a9e306"
STARTED = AttemptStarted(1.5, 0, Action.EXECUTE, 1, 30.0, 31.5, Lease("lease", 7, 9, BOOT, attempt_file="fe00:1:2"))
SUCCEEDED = AttemptSucceeded(1.5, 0, Action.EXECUTE, 1, b"\xa2ok", (EncodedEvent("paid", 2, b"\x80"),), "late", True)
SHORT = (AttemptStarted, AttemptSucceeded, SagaCompleted)

_MASKED = st.lists(st.text(max_size=5), max_size=2).map(tuple)
_EVENTS = st.builds(EncodedEvent, st.text(max_size=5), st.integers(1, 9), st.binary(max_size=5), _MASKED)
_VALUES: dict[object, st.SearchStrategy[Any]] = {
    float: st.floats(allow_nan=False).map(lambda number: number + 0.0),  # no time is minus zero
    str: st.text(max_size=8) | st.just(BOOT) | st.just(BOOT.upper()),
    int: st.integers(-(2**40), 2**40),
    bool: st.booleans(),
    Action: st.sampled_from(Action),
    bytes | None: st.none() | st.binary(max_size=5),
    str | None: st.none() | st.text(max_size=5),
    tuple[EncodedEvent, ...]: st.lists(_EVENTS, max_size=3).map(tuple),
}


def made(cls: Any) -> st.SearchStrategy[Any]:
    """Records of a class, with any value in each field: also in one that a later release adds."""
    hints = get_type_hints(cls).items()
    return st.builds(cls, **{name: _VALUES[hint] if hint in _VALUES else made(hint) for name, hint in hints})


@settings(max_examples=200)
@given(st.one_of([made(cls) for cls in SHORT]))
def test_every_entry_comes_back_with_every_field(entry: Entry) -> None:
    packed = pack_short(entry)
    assert packed is not None
    read = unpack_entry(packed, "here")
    assert read == entry
    assert pack_entry(read) == pack_entry(entry), "the types are the same, too"


def test_what_is_usual_takes_no_bytes() -> None:
    for entry, most in ((STARTED, 70), (replace(SUCCEEDED, output=None, events=(), warning=None, adopted=False), 14)):
        packed = pack_short(entry)
        assert packed is not None
        assert len(packed) <= most
        assert unpack_entry(packed, "here") == entry


def test_a_deadline_of_its_own_comes_back() -> None:
    late = replace(STARTED, deadline=99.25)
    packed = pack_short(late)
    assert packed is not None
    assert unpack_entry(packed, "here") == late


def test_every_other_kind_keeps_its_names() -> None:
    assert {cls for cls in ENTRY_TYPES if issubclass(cls, SHORT)} == set(SHORT)
    for cls in SHORT:
        assert fields(cls)[0].name == "at"


@pytest.mark.parametrize("entry", [STARTED, SUCCEEDED])
def test_what_is_no_entry_is_refused(entry: Entry) -> None:
    packed = pack_short(entry)
    assert packed is not None
    own = unpack_payload(packed)
    strange: tuple[object, ...] = ({}, [None])
    bad = [own[:length] for length in range(1, 5)] + [[*own, None, None]]
    bad += [[*own[:place], wrong, *own[place + 1 :]] for place in range(1, len(own)) for wrong in strange]
    for values in bad:
        with pytest.raises(JournalError, match="here can't be read"):
            unpack_entry(pack_payload(values), "here")
    for garbage in (packed[:-1], packed[:2], b"\x91\x01", b"\x92\x04\x01", b"\x9f\x01", packed + b"\x00"):
        with pytest.raises(JournalError, match="here can't be read"):
            unpack_entry(garbage, "here")
