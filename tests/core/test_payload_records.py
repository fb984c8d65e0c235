"""The runtime's own records: small, quick, and readable by older and newer programs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antistrophe.errors import NotSerializableError, UnreadableDataError
from antistrophe.records import SagaMetadata, SagaStatus, StepRecord, StepStatus
from antistrophe.serialization.payload import pack_payload, pack_record, unpack_payload, unpack_record


class Direction(str, Enum):
    FORWARD = "forward"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Lease:
    name: str
    pid: int


@dataclass(frozen=True, slots=True)
class Started:
    at: float
    direction: Direction
    lease: Lease | None
    data: bytes = b""
    notes: tuple[str, ...] = ()
    leases: tuple[Lease, ...] = ()
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Ended:
    at: float


TYPES = (Started, Ended)
LEASES = st.builds(Lease, st.text(), st.integers())


@given(
    st.builds(
        Started,
        st.floats(allow_nan=False),
        st.sampled_from(Direction),
        st.none() | LEASES,
        st.binary(),
        st.lists(st.text(st.characters())).map(tuple),
        st.lists(LEASES).map(tuple),
        st.booleans(),
    )
)
def test_records_come_back(record: Started) -> None:
    assert unpack_record(pack_record(record), TYPES) == record


def test_records_of_monitoring_come_back() -> None:
    now = datetime.now(UTC)
    step = StepRecord("pay", 0, StepStatus.RUNNING, 1, False, now, None, None, 77)
    saga = SagaMetadata("s", "s", SagaStatus.EXECUTING, 0, 1, now, now, steps=(step,))
    assert unpack_record(pack_record(saga), (SagaMetadata,)) == saga


def test_only_the_given_classes_can_be_named() -> None:
    with pytest.raises(UnreadableDataError, match="'Ended' is missing"):
        unpack_record(pack_record(Ended(1.0)), (Started,))


def test_a_wrong_value_is_refused_before_it_is_written() -> None:
    with pytest.raises(NotSerializableError, match="Started: field lease"):
        pack_record(Started(1.0, Direction.BACK, Ended(1.0)))  # type: ignore[arg-type]


def test_an_older_program_ignores_what_a_newer_one_added() -> None:
    data = pack_payload(["Ended", {"at": 2.0, "why": "later idea"}])
    assert unpack_record(data, TYPES) == Ended(2.0)
    nested = pack_payload(
        ["Started", {"at": 1.0, "direction": "BACK", "lease": {"name": "a", "pid": 1, "host": "later idea"}}]
    )
    assert unpack_record(nested, TYPES) == Started(1.0, Direction.BACK, Lease("a", 1))


def test_a_newer_program_takes_its_defaults_for_what_an_older_one_did_not_know() -> None:
    data = pack_payload(["Started", {"at": 1.0, "direction": "FORWARD", "lease": None}])
    assert unpack_record(data, TYPES) == Started(1.0, Direction.FORWARD, None)
    with pytest.raises(UnreadableDataError, match="a Started can't be read: 'lease' is missing"):
        unpack_record(pack_payload(["Started", {"at": 1.0, "direction": "FORWARD"}]), TYPES)


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        [],
        ["Ended"],
        ["Ended", None],
        ["Ended", []],
        ["Ended", {}],
        ["Ended", {"at": "1.0"}],
        ["Ended", {"at": None}],
        ["Ended", {"at": 1.0}, 3],
        [["Ended"], {"at": 1.0}],
        [None, {"at": 1.0}],
        ["os.system", {"at": 1.0}],
        ["Lease", {"name": "a", "pid": 1}],
        ["Started", {"at": 1.0, "direction": "sideways", "lease": None}],
        ["Started", {"at": 1.0, "direction": 1, "lease": None}],
        ["Started", {"at": 1.0, "direction": "BACK", "lease": None, "notes": "abc"}],
        ["Started", {"at": 1.0, "direction": "BACK", "lease": None, "notes": ("a", 1)}],
        ["Started", {"at": 1.0, "direction": "BACK", "lease": ["a", 1]}],
        ["Started", {"at": 1.0, "direction": "BACK", "lease": {"name": "a", "pid": "1"}}],
    ],
    ids=repr,
)
def test_what_is_no_record_is_unreadable(value: object) -> None:
    with pytest.raises(UnreadableDataError):
        unpack_record(pack_payload(value), TYPES)


@given(st.binary(max_size=100))
def test_garbage_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableDataError):
        unpack_record(data, TYPES)


@given(st.data())
def test_a_damaged_record_is_unreadable_or_another_record(draw: st.DataObject) -> None:
    data = bytearray(pack_record(Started(1.5, Direction.BACK, Lease("a", 1), b"x", ("n",), (Lease("b", 2),))))
    for _ in range(draw.draw(st.integers(1, 3))):
        data[draw.draw(st.integers(0, len(data) - 1))] = draw.draw(st.integers(0, 255))
    try:
        back = unpack_record(bytes(data), TYPES)
    except UnreadableDataError:
        return
    assert type(back) in TYPES
    assert unpack_payload(pack_record(back))[0] == type(back).__name__
