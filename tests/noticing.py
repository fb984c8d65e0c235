"""A check that is taken away on purpose has to be noticed by the test of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from antistrophe.storage.postgres_database import PostgresDatabase


@contextlib.contextmanager
def noticed() -> Iterator[None]:
    """What happens within fails as a test does; else the test around it fails."""
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        yield


@contextlib.contextmanager
def functions_without(database: PostgresDatabase, *conditions: str, instead: str = "") -> Iterator[None]:
    """The functions in the database have none of these conditions, until the end, and ``instead`` in their place."""
    found = database.rows(
        "SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'antistrophe'::regnamespace AND prokind = 'f'"
    )
    before = [text for (text,) in found if any(each in text for each in conditions)]
    assert before, "there is no such condition"
    for text in before:
        for each in conditions:
            text = text.replace(each, instead)
        database.run(text)
    try:
        yield
    finally:
        for text in before:
            database.run(text)
