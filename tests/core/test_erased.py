"""What is left of an entry whose saga is erased: a list of what stays, so that a new field has to be decided about."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from antistrophe.definition.events import EncodedEvent
from antistrophe.definition.spec import ResourceLimits, RetryPolicy
from antistrophe.saga.entries import ENTRY_TYPES, SagaAccepted
from antistrophe.saga.erased import ERASED, without_data
from tests.contract.journal_sagas import accepted

STAYS = {
    *("id", "name", "class_ref", "script", "sys_path", "cwd", "request_id", "masked"),  # what is run, and where
    "traceparent",  # whose trace it is a part of
    *("pid", "boot_id", "attempt_file", "host", "runs_on"),  # the process, where it runs, and where it may
    *("error_type", "by", "restore"),
}
"""The fields of texts and bytes that are part of the course."""

WHOLE: dict[type, Any] = {
    RetryPolicy: RetryPolicy(),
    ResourceLimits: ResourceLimits(),
    EncodedEvent: EncodedEvent("paid", 1, b"data"),
}


def filled(hint: Any, name: str) -> Any:
    """A value of a type in which each text and each byte is the name of its field."""
    origin, parts = get_origin(hint), get_args(hint)
    if hint in WHOLE:
        return WHOLE[hint]
    if isinstance(hint, types.UnionType):
        return filled(next(each for each in parts if each is not type(None)), name)
    if origin is tuple:
        return (filled(parts[0], name),)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    if is_dataclass(hint):
        hints: dict[str, Any] = get_type_hints(hint)
        return hint(**{field: filled(each, field) for field, each in hints.items()})  # type: ignore[operator]
    return {str: name, bytes: name.encode(), int: 1, float: 1.0, bool: True}[hint]


def told(value: Any) -> Iterator[str]:
    """Every text in a value, and every byte."""
    if isinstance(value, Enum):
        return
    if isinstance(value, str | bytes):
        yield value if isinstance(value, str) else value.decode()
    elif isinstance(value, tuple):
        for each in value:
            yield from told(each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from told(getattr(value, field.name))


@pytest.mark.parametrize("kind", ENTRY_TYPES, ids=lambda kind: kind.__name__)
def test_of_an_entry_only_its_course_is_left(kind: type) -> None:
    entry = filled(kind, "")
    left = without_data(entry)
    assert set(told(left)) - {ERASED, ""} <= STAYS
    assert set(told(entry)) & STAYS == set(told(left)) & STAYS, "the course is whole"
    assert without_data(left) == left, "a second time changes nothing"


def test_what_was_not_there_is_not_shown_as_erased() -> None:
    entry = accepted("s")
    left = without_data(entry)
    assert isinstance(left, SagaAccepted)
    assert left.spec.deadline_s is None
    assert [each.input for each in left.spec.steps] == [b"", b""]
    assert left.spec.erased
    assert not entry.spec.erased
