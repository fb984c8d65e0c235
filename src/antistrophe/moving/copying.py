"""Copies a SQLite file with a journal, an event store, or both into a database of PostgreSQL: what comes after what.

1. What the database has by the same names is looked at, before anything is changed.
2. The file is noted as moving, made one file without a log, and renamed: nobody else opens it from here on.
3. Its rows go into tables beside, a piece at a time. The next run goes on where one was killed.
4. One transaction brings them to where hosts look, compares them with the file, and marks the copy as complete.
5. The note says that it is done. Until 4 the copy can be called off; after that it is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from antistrophe.errors import CommitUnknownError, JournalBusyError, JournalError, RequestError
from antistrophe.hosts.description import HostDescription
from antistrophe.hosts.earlier_life import note_lease
from antistrophe.journal.place import JournalPlace
from antistrophe.journal.place_note import forget, note
from antistrophe.moving.beside import Progress, TablesBeside
from antistrophe.moving.clashes import what_is_there
from antistrophe.moving.mark import Copied, CopyMark
from antistrophe.moving.release import Release
from antistrophe.moving.source import Source
from antistrophe.moving.tables import CLAIMS, EVENTS, JOURNAL, PROJECTIONS, PURGED, SAGAS, SNAPSHOTS
from antistrophe.storage.moved_file import Move, forget_move, kept_file, read_move, sync_folder, write_move
from antistrophe.storage.opening import open_database
from antistrophe.storage.portable_sql import SCHEMA
from antistrophe.storage.postgres import ANSWER_S, open_postgres
from antistrophe.storage.postgres_address import read_address
from antistrophe.storage.postgres_database import PostgresDatabase

_ID_BYTES = 6
_RUN = "copy"
"""The run of the home's system that its sagas' lease is noted for: none, so that none goes on with that lease."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What was copied, or with ``dry_run`` would be: how many sagas, of which ``live`` are neither finished nor parked,
    entries of the journal, ids of ``purged`` sagas, events, snapshots and idempotency ``keys``; the names of
    projections that go on, and of those that are ``built_anew``. ``already_there``: so many sagas, streams and keys the
    database had with the same content. Positions of the journal and of events are larger there by ``journal_grown`` and
    ``events_grown``; None before it is known. ``before``: an earlier call has copied all of it."""

    database: str
    sagas: int
    live: int
    entries: int
    purged: int
    events: int
    snapshots: int
    keys: int
    projections: tuple[str, ...]
    built_anew: tuple[str, ...]
    already_there: int
    journal_grown: int | None
    events_grown: int | None
    dry_run: bool
    before: bool


class FileCopy:
    """The copy of one file into the database at a URL. ``home``: the home whose journal it is; None: it is an event
    store, which may have no sagas. Every method raises JournalError where file or database fails."""

    def __init__(self, file: Path, url: str, home: Path | None) -> None:
        self._file = file
        self._url = url
        self._home = home
        self._place = JournalPlace(url=url, home=home)

    # --- what there is to do -----------------------------------------------------------------------------------------

    def look(self) -> CopyReport:
        """Say what would be copied, and change nothing."""
        move = read_move(self._file)
        self._refuse_elsewhere(move)
        with self._database() as database, self._source(self._lying(move)) as source:
            if move is not None:
                copied = None if database is None else CopyMark(database, move.copy_id).copied()
                if copied is not None:
                    return _report(source, str(self._place), copied, before=True)
                self._refuse_lost(move)
            if database is not None:
                source.left_out = what_is_there(source, database)
            return replace(_report(source, str(self._place), None), dry_run=True)

    def make(self, owner: HostDescription, tell: Callable[[str], None], progress: Progress) -> CopyReport:
        """Copy all of it. ``owner``: the host that owns the sagas that go on. ``tell`` is told what is done next, and
        ``progress`` how many rows of a table are copied."""
        move = read_move(self._file)
        self._refuse_elsewhere(move)
        with closing(open_postgres(self._url)) as database, _run_again_if_unknown(database):
            if move is None:
                move = self._begin(database)
            kept = self._put_away(move)
            mark = CopyMark(database, move.copy_id)
            with self._source(kept) as source:
                before = mark.copied()
                if before is None:
                    self._refuse_lost(move)
                    self._copy(source, database, mark, owner, tell, progress)
                copied = mark.copied()
                assert copied is not None, "it was committed"
                database.confirm()  # from here on the file counts no more
                write_move(self._file, replace(move, done=True))
                return _report(source, str(self._place), copied, before=before is not None)

    def call_off(self) -> None:
        """Let the file be what it was. Raises RequestError where nothing has begun, or all of it is copied."""
        move = read_move(self._file)
        if move is None:
            raise RequestError(f"nothing of {self._file} is being copied, so there is nothing to call off")
        self._refuse_elsewhere(move)
        with closing(open_postgres(self._url)) as database, _run_again_if_unknown(database):
            mark = CopyMark(database, move.copy_id)
            with database.transaction():
                copied = mark.forget()
                if copied is None:
                    TablesBeside(database, mark).drop()
            if copied is not None or move.done:
                write_move(self._file, replace(move, done=True))
                raise RequestError(
                    f"what was in {self._file} is in {move.to}, where hosts may be at work on it: it can't be called"
                    " off"
                )
        self._put_back()
        if self._home is not None:
            forget(self._place)
        forget_move(self._file)

    # --- the file ----------------------------------------------------------------------------------------------------

    def _refuse_elsewhere(self, move: Move | None) -> None:
        if move is not None and move.to != str(self._place):
            done = "is in" if move.done else "is being copied to"
            raise RequestError(f"what was in {self._file} {done} {move.to}, and not {self._place}: name that one")

    def _refuse_lost(self, move: Move) -> None:
        if move.done:
            raise JournalError(
                f"{self._place} knows nothing of what was copied there from {self._file}: it is another database of"
                f" that name, or an older state of it. What was copied is kept in {kept_file(self._file)}"
            )

    def _begin(self, database: PostgresDatabase) -> Move:
        """Look whether all of it can be copied, and note that it is."""
        self._refuse_two(kept_file(self._file))
        with self._source(self._file) as source:
            what_is_there(source, database)
        move = Move(str(self._place), os.urandom(_ID_BYTES).hex())
        write_move(self._file, move)
        return move

    def _lying(self, move: Move | None) -> Path:
        """Where the file is now."""
        return self._file if move is None or self._file.exists() else kept_file(self._file)

    def _put_away(self, move: Move) -> Path:
        """Make it one file without a log, under a name that nobody opens. Returns that."""
        kept = kept_file(self._file)
        if self._file.exists():
            if move.done:
                raise JournalError(
                    f"{self._file} was made after what was there had been moved to {move.to}: move it away, and have"
                    " whoever made it open the database"
                )
            self._refuse_two(kept)
            self._rename(kept)
        if self._home is not None:
            note(self._place)
        return kept

    def _rename(self, kept: Path) -> None:
        with closing(open_database(self._file)) as file:
            try:
                file.row("PRAGMA journal_mode = DELETE")  # not possible while somebody else has it open
                file.rows("BEGIN EXCLUSIVE")
            except JournalBusyError as error:
                raise JournalBusyError(
                    f"{self._file} is open in another process, and can't be moved meanwhile (fuser names it): end that"
                    " process, and run the verb again; or call it off with --undo"
                ) from error
            try:
                self._file.rename(kept)
                sync_folder(kept.parent)
            except OSError as error:
                raise JournalError(f"{self._file} can't be renamed: {error.strerror}") from error

    def _put_back(self) -> None:
        kept = kept_file(self._file)
        try:
            if kept.exists():
                self._refuse_two(kept)
                kept.rename(self._file)
                sync_folder(kept.parent)
        except OSError as error:
            raise JournalError(f"{kept} can't be renamed: {error.strerror}") from error

    def _refuse_two(self, kept: Path) -> None:
        if kept.exists() and self._file.exists():
            raise JournalError(f"there are both {self._file} and {kept}: move away the one that is not to count")

    # --- the copy ----------------------------------------------------------------------------------------------------

    def _copy(
        self,
        source: Source,
        database: PostgresDatabase,
        mark: CopyMark,
        owner: HostDescription,
        tell: Callable[[str], None],
        progress: Progress,
    ) -> None:
        source.left_out = what_is_there(source, database)
        beside = TablesBeside(database, mark)
        mark.begin(source.where)
        beside.make()
        tell("rows are copied to where no host looks")
        beside.fill(source, progress)
        if self._home is not None:
            try:
                note_lease(self._home, owner.id, _RUN)
            except OSError as error:
                raise JournalError(f"the home can't note whose its sagas are: {error.strerror}") from error
        Release(database, mark, source, owner).make(tell)

    @contextmanager
    def _source(self, file: Path) -> Iterator[Source]:
        with closing(open_database(file, read_only=True)) as database:
            source = Source(database)
            if self._home is None and source.head("journal"):
                raise RequestError(f"{file} has a journal, and is no event store alone: name its home with --home")
            yield source

    @contextmanager
    def _database(self) -> Iterator[PostgresDatabase | None]:
        """The database, for questions; None where nothing was stored there yet."""
        address = read_address(self._url, answer_s=ANSWER_S)
        with closing(PostgresDatabase(address, read_only=True, patience_s=None, answer_s=ANSWER_S)) as database:
            (is_new,) = database.row("SELECT to_regclass(?) IS NULL", (f"{SCHEMA}.schema_version",))
        if is_new:
            yield None
            return
        with closing(open_postgres(self._url, read_only=True)) as database:
            yield database


@contextmanager
def _run_again_if_unknown(database: PostgresDatabase) -> Iterator[None]:
    try:
        yield
    except CommitUnknownError as error:
        raise CommitUnknownError(
            f"{database.where}: the connection was lost during a commit, and nobody can say yet whether that took"
            " effect: run the verb again, which finds out"
        ) from error


def _report(source: Source, database: str, copied: Copied | None, *, before: bool = False) -> CopyReport:
    going_on = source.file.rows("SELECT id FROM sagas WHERE finished IS NULL")
    names = [name for (name,) in source.file.rows("SELECT name FROM projections ORDER BY name")]
    kept = {name for (name,) in source.file.rows(f"SELECT name FROM projections WHERE {PROJECTIONS.which}")}
    go_on = kept if copied is None or copied.projections else set()
    left_out = source.left_out
    return CopyReport(
        database=database,
        sagas=source.count(SAGAS),
        live=sum(saga_id not in left_out.sagas for (saga_id,) in going_on),
        entries=source.count(JOURNAL),
        purged=source.count(PURGED),
        events=source.count(EVENTS),
        snapshots=source.count(SNAPSHOTS),
        keys=source.count(CLAIMS),
        projections=tuple(sorted(go_on)),
        built_anew=tuple(name for name in names if name not in go_on),
        already_there=len(left_out.sagas) + len(left_out.streams) + len(left_out.keys),
        journal_grown=None if copied is None else copied.journal_grown,
        events_grown=None if copied is None else copied.events_grown,
        dry_run=False,
        before=before,
    )
