"""The stored journal of a home, opened for reading only: no system has to run, and none is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from antistrophe.cli.invocation import Invocation
from antistrophe.errors import SagaNotFoundError, SystemUnavailableError
from antistrophe.journal import SqliteJournal
from antistrophe.journal.tombstones import was_purged
from antistrophe.launcher.control_protocol import State
from antistrophe.launcher.probe import probe
from antistrophe.records import SagaMetadata

ANSWER_S = 5.0
"""How long a launcher on a busy machine may take to answer. Where none runs, that is known at once."""


@contextmanager
def open_journal(invocation: Invocation) -> Iterator[SqliteJournal]:
    """The journal of the home. A system that runs there writes the same file, so it makes no difference.

    Raises JournalError where there is no journal, or it can't be read.
    """
    with closing(SqliteJournal(invocation.journal_file(), read_only=True)) as journal:
        yield journal


def find_saga(journal: SqliteJournal, saga_id: str, home: Path) -> SagaMetadata:
    """The saga as monitoring shows it. Raises SagaNotFoundError, and SagaExistsError where it was purged."""
    saga = journal.metadata(saga_id)
    if saga is None and (purged := journal.purged(saga_id)) is not None:
        raise was_purged(saga_id, purged)
    if saga is None:
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {home}; `antistrophe list` shows all sagas")
    return saga


def system_state(invocation: Invocation) -> State | None:
    """The state that the launcher of the home tells; None where no launcher answers."""
    try:
        return probe(invocation.home, ANSWER_S)
    except SystemUnavailableError:
        return None
