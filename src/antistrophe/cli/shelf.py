"""The journal of a home, opened only for reading: no verb that asks starts, keeps up or makes anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from antistrophe.cli.invocation import Invocation
from antistrophe.errors import SagaNotFoundError, SystemUnavailableError
from antistrophe.journal import SqliteJournal
from antistrophe.launcher.control_protocol import State
from antistrophe.launcher.probe import probe
from antistrophe.records import SagaMetadata

ANSWER_S = 5.0
"""A launcher on a busy machine is given that long; where there is none, it is known at once."""


@contextmanager
def opened(invocation: Invocation) -> Iterator[SqliteJournal]:
    """The journal of the home. Whether a system runs there makes no difference: it answers from the same file.

    Raises JournalError where there is none, or it can't be read.
    """
    journal = SqliteJournal(invocation.journal_file(), read_only=True)
    try:
        yield journal
    finally:
        journal.close()


def find(journal: SqliteJournal, saga_id: str, home: Path) -> SagaMetadata:
    """What is true of that saga. Raises SagaNotFoundError."""
    saga = journal.metadata(saga_id)
    if saga is None:
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {home}; `antistrophe list` names those there are")
    return saga


def state_of_system(invocation: Invocation) -> State | None:
    """What the launcher of the home says of the actor system; None where there is none, or it does not answer."""
    try:
        return probe(invocation.home, ANSWER_S)
    except SystemUnavailableError:
        return None
