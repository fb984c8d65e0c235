"""Stores the shape of definitions once: what the acceptances of many sagas have in common.

The shape of a definition is all of it but what each saga may have of its own: id, name, deadline, priority, and of each
step name, input and what it has computed. Most sagas of an application have one of a few shapes. A shape is named by a
hash of its bytes, so it can't change, and a damaged one is noticed.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import product
from types import NoneType
from typing import Any

from antistrophe.definition.spec import SagaSpec, StepSpec
from antistrophe.errors import UnreadableDataError, UnreadableEntryError
from antistrophe.journal.rows import ADVICE, pack_entry, unpack_entry
from antistrophe.journal.typed_values import NUMBER, is_a, may_be
from antistrophe.saga.entries import Entry, SagaAccepted
from antistrophe.serialization.fast_records import changed
from antistrophe.serialization.payload import pack_payload, pack_plain, pack_record, unpack_payload, unpack_record
from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.storage.connection import SqlDatabase

HASH_BYTES = 16
MOST_BYTES = 256 * 1024
"""A larger acceptance is stored whole, and comes to its readers in pieces. This is less than a part."""

_MOST_STEPS = 256
_MARK = "shaped"
_FIELDS = 9
_BEGINNINGS = tuple([pack_payload([_MARK, *[None] * more])[:-more] for more in (_FIELDS - 1, _FIELDS)])
"""Of an acceptance, and of one whose caller was in a trace: that has the traceparent at its end."""

_NAME_MARK = pack_payload(bytes(HASH_BYTES))[:-HASH_BYTES]
BEGINNING_BYTES = len(_BEGINNINGS[0]) + len(_NAME_MARK) + HASH_BYTES
"""An acceptance, as it is stored, has the name of its shape within so many bytes."""

_SHAPES_KEPT = 64
_KEEP = (
    "INSERT INTO shapes(hash, shape) VALUES (?, ?)"
    " ON CONFLICT(hash) DO UPDATE SET shape = excluded.shape WHERE shape <> excluded.shape"
)
_KEEP_BESIDE = (
    "INSERT INTO shapes(hash, shape) SELECT ?::bytea, ?::bytea"
    " WHERE NOT EXISTS (SELECT 1 FROM shapes WHERE hash = ? AND shape = ?)"
)
_OWN_TYPES = {
    (str, bytes, float, str, created_at, name, deadline_s, int, list)
    for created_at, name, deadline_s in product((NoneType, float), (NoneType, str), (NoneType, float, int))
}
_STEP_TYPES = {(str, bytes), (str, bytes, bytes)}


@dataclass(frozen=True, slots=True)
class Shape:
    """A packed shape, and the hash that names it."""

    name: bytes
    packed: bytes


def pack_accepted(entry: SagaAccepted) -> tuple[bytes, Shape | None]:
    """Pack an acceptance: as it is stored with its saga, and the shape that this names. There is no shape where the
    acceptance is stored whole."""
    spec = entry.spec
    own = sum(len(step.input) + len(step.computed) for step in spec.steps)
    if len(spec.steps) <= _MOST_STEPS and own <= MOST_BYTES:
        shape = _packed_shape(_shape_of(spec))
        if own + len(shape.packed) <= MOST_BYTES:
            return pack_plain(_own(entry, shape.name)), shape
    return pack_entry(entry), None


def _own(entry: SagaAccepted, name: bytes) -> list[Any]:
    spec = entry.spec
    steps = [
        [each.name, each.input, each.computed] if each.computed else [each.name, each.input] for each in spec.steps
    ]
    traced = [spec.traceparent] if spec.traceparent else []
    its_name = None if spec.name == spec.id else spec.name
    return [
        _MARK,
        name,
        entry.at,
        entry.request_id,
        entry.created_at,
        its_name,
        spec.deadline_s,
        spec.priority,
        steps,
        *traced,
    ]


def _shape_of(spec: SagaSpec) -> SagaSpec:
    steps = tuple([changed(step, name="", input=b"", computed=b"") for step in spec.steps])
    return changed(spec, id="", name="", deadline_s=None, priority=0, traceparent="", steps=steps)


@lru_cache(maxsize=_SHAPES_KEPT)
def _packed_shape(shape: SagaSpec) -> Shape:
    packed = pack_record(shape)
    return Shape(_hash(packed), packed)


def _hash(packed: bytes) -> bytes:
    return hashlib.sha256(packed).digest()[:HASH_BYTES]


def _step(shape: StepSpec, own: list[Any]) -> StepSpec:
    name, given, *computed = own
    later = {"computed": is_a(bytes, computed[0])} if computed else {}
    return changed(shape, name=is_a(str, name), input=is_a(bytes, given), **later)


def _is_shaped(data: object) -> bool:
    return isinstance(data, bytes) and data.startswith(_BEGINNINGS)


def shape_named_in(beginning: object) -> bytes | None:
    """The name of the shape in the first ``BEGINNING_BYTES`` of an acceptance, as it is stored; None where that is
    stored whole. Raises UnreadableDataError."""
    if not isinstance(beginning, bytes) or not _is_shaped(beginning):
        return None
    named = beginning[len(_BEGINNINGS[0]) : BEGINNING_BYTES]
    if len(named) != BEGINNING_BYTES - len(_BEGINNINGS[0]) or not named.startswith(_NAME_MARK):
        raise UnreadableDataError("the acceptance names no shape where it should")
    return named[len(_NAME_MARK) :]


class StoredShapes:
    """The shapes in one database."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database
        self._shape = lru_cache(maxsize=_SHAPES_KEPT)(self._read)

    def keep(self, shape: Shape) -> None:
        """Store a shape, within the transaction of an acceptance that names it. A damaged one is mended, or a sound one
        is stored beside it."""
        values = (shape.name, shape.packed)
        if self._database.kind == "sqlite":
            self._database.execute(_KEEP, values)
        else:
            self._database.execute(_KEEP_BESIDE, (*values, *values))

    def entry(self, data: bytes, saga_id: str, where: str) -> Entry:
        """Read the first entry of a saga, as it is stored. Raises JournalError, which says ``where`` the entry is."""
        return self._accepted(data, saga_id, where) if _is_shaped(data) else unpack_entry(data, where)

    def whole(self, data: bytes, saga_id: str, where: str) -> bytes:
        """The first entry of a saga, as it is stored, packed whole. Raises JournalError as ``entry`` does."""
        return pack_entry(self._accepted(data, saga_id, where)) if _is_shaped(data) else data

    def names(self, data: bytes, saga_id: str) -> tuple[float, float | None, str, list[str]]:
        """Of the first entry of a saga what lists show: its time, the moment of creation that it has, and the names of
        the saga and of its steps. Raises an error where it is stored whole, or is not exactly as it is packed here."""
        own: Any = unpack_payload(data) if _is_shaped(data) else ()
        if tuple(map(type, own[:_FIELDS])) not in _OWN_TYPES or {*map(type, own[_FIELDS:])} - {str}:
            raise UnreadableDataError("other types of values than usual")
        _, shape, at, _, created_at, name, _, _, steps = own[:_FIELDS]
        if {tuple(map(type, step)) for step in steps} - _STEP_TYPES or len(steps) != len(self._shape(shape).steps):
            raise UnreadableDataError("other steps than those of its shape")
        return at, created_at, saga_id if name is None else name, [step[0] for step in steps]

    def _accepted(self, data: bytes, saga_id: str, where: str) -> SagaAccepted:
        try:
            own = is_a(list, unpack_payload(data))
            _, name, at, request_id, created_at, its_name, deadline_s, priority, steps, *traced = own
            shape = self._shape(is_a(bytes, name))
            spec = changed(
                shape,
                id=saga_id,
                name=saga_id if its_name is None else is_a(str, its_name),
                deadline_s=may_be(NUMBER, deadline_s),
                priority=is_a(int, priority),
                traceparent=is_a(str, traced[0]) if traced else "",
                steps=tuple([_step(*parts) for parts in zip(shape.steps, is_a(list, steps), strict=True)]),
            )
            return SagaAccepted(is_a(NUMBER, at), is_a(str, request_id), spec, may_be(NUMBER, created_at))
        except (UnreadableEntryError, UnreadableDataError, TypeError, ValueError) as error:
            raise UnreadableEntryError(f"{where} can't be read ({error}): {ADVICE}") from error

    def _read(self, name: bytes) -> SagaSpec:
        found = self._database.rows("SELECT shape FROM shapes WHERE hash = ?", (name,))
        if not found:
            raise UnreadableEntryError(f"the shape {name.hex()} of its definition is missing in the table shapes")
        try:
            sound = next((shape for (shape,) in found if _hash(shape) == name), None)
            if sound is None:
                raise UnreadableDataError("its bytes are not those that were stored")
            return unpack_record(sound, (SagaSpec,))
        except (UnreadableDataError, TypeError) as error:
            raise UnreadableEntryError(f"the shape {name.hex()} of its definition is damaged ({error})") from error
