"""A home as it is stored: its journal, opened for reading only. No system has to run, and none is started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from antistrophe.errors import JournalError, SagaNotFoundError, SystemUnavailableError
from antistrophe.journal import JournalPlace, StoredJournal, open_journal, refuse_elsewhere
from antistrophe.journal.tombstones import was_purged
from antistrophe.launcher.control_protocol import State
from antistrophe.launcher.home_lock import refuse_shared
from antistrophe.launcher.probe import probe
from antistrophe.linux.private_files import refuse_foreign
from antistrophe.linux.termination import HOME_VARIABLE
from antistrophe.records import SagaMetadata

ANSWER_S = 5.0
"""How long a launcher on a busy machine may take to answer. Where none runs, that is known at once."""


def existing_home(home: Path) -> Path:
    """The home, which has to exist: who only asks makes nothing. Raises JournalError."""
    refuse_foreign(home)  # this also refuses what can't be looked at, such as a name that is too long
    if not home.exists():
        raise JournalError(
            f"there is no home at {home}: nothing has run there yet, or it is elsewhere (--home DIR, or"
            f" ${HOME_VARIABLE})"
        )
    if not home.is_dir():
        raise JournalError(f"{home} is not a folder, so it can't be a home: choose another with --home DIR")
    return home


def stored_place(home: Path, url: str | None = None) -> JournalPlace:
    """The place of a journal that exists: the file of a home that is its owner's alone, or the database at a URL, which
    needs no home. Raises JournalError."""
    if url is not None:
        return JournalPlace.of_home(home, url)
    refuse_shared(existing_home(home))
    place = JournalPlace.of_home(home)
    refuse_elsewhere(place)
    if not place.exists():
        raise JournalError(f"{home} has no journal: nothing has run there yet, or the home is elsewhere")
    return place


@contextmanager
def stored_journal(place: JournalPlace) -> Iterator[StoredJournal]:
    """The journal at that place. A system that runs writes the same one, so it makes no difference.

    Raises JournalError where there is no journal, or it can't be read.
    """
    with closing(open_journal(place, read_only=True)) as journal:
        yield journal


def find_saga(journal: StoredJournal, saga_id: str, where: Path | JournalPlace) -> SagaMetadata:
    """The saga as monitoring shows it. Raises SagaNotFoundError, and SagaExistsError where it was purged."""
    saga = journal.metadata(saga_id)
    if saga is None and (purged := journal.purged(saga_id)) is not None:
        raise was_purged(saga_id, purged)
    if saga is None:
        raise SagaNotFoundError(f"there is no saga {saga_id!r} in {where}; `antistrophe list` shows all sagas")
    return saga


def system_state(home: Path) -> State | None:
    """The state that the launcher of the home tells; None where no launcher answers."""
    try:
        return probe(home, ANSWER_S)
    except SystemUnavailableError:
        return None
