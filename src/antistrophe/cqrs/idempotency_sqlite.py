"""Idempotency keys in a SQLite database: in an event store's file, which all processes share, or in memory."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from antistrophe.cqrs.claim_owner import ClaimOwner, Renewals, this_owner
from antistrophe.cqrs.idempotency import (
    Answer,
    Batch,
    Claim,
    Held,
    KeyedCommand,
    await_end_here,
    drop_token,
    runs_here,
)
from antistrophe.cqrs.idempotency_answers import Answers, LiveAnswers, PackedAnswers
from antistrophe.cqrs.same_command import Used, claimed, kept_fields
from antistrophe.errors import CqrsError
from antistrophe.eventstore.sqlite import SqliteEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.eventstore.store_transaction import database_of
from antistrophe.storage.connection import SqlDatabase
from antistrophe.storage.database import now_us
from antistrophe.storage.opening import open_database

_PURGED_AT_ONCE = 100
_SHORTEST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05

_OWNER = "token, owner_pid, owner_start_ticks, owner_boot_id"

_keys_beside: weakref.WeakKeyDictionary[EventStore, EventStore] = weakref.WeakKeyDictionary()
_keys_beside_lock = threading.Lock()


class SqliteIdempotencyStore:
    """The SQLite variant of ``IdempotencyStore``. No transaction is open while a handler runs.

    The keys are in the database of ``store``, together with its events. If there is no such database (no store, or a
    store with a backend of its own) the keys are in a database in memory, which all buses of one store share.
    """

    def __init__(self, store: EventStore | None, expire_s: float) -> None:
        self._store = store
        self._keys = _keys_of(store)
        backend = self._keys.backend
        self._path = backend.path if isinstance(backend, SqliteEvents) else None
        self._answers: Answers = LiveAnswers() if store is None else PackedAnswers(store.versions)
        self._expire_us = int(expire_s * 1e6)
        self._renewals = Renewals(self._renew)

    @property
    def place(self) -> Hashable:
        """See ``IdempotencyStore``."""
        return self._path or self._keys

    def claim(self, command: KeyedCommand) -> Claim | Answer | Held:
        """See ``IdempotencyStore``."""
        taken = claimed(self._try, command)
        if isinstance(taken, Claim) and self._path is not None:
            self._renewals.begin(taken.token)
        return taken

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """See ``IdempotencyStore``."""
        answer = self._answers.pack(claim.token, events)
        try:
            if self._store is self._keys:
                self._settle_within(claim, batches, answer)
            else:
                self._settle_beside(claim, batches, answer)
        except BaseException:
            self._answers.forget(answer)
            raise
        self._renewals.end(claim.token)
        drop_token(claim.token)

    def release(self, claim: Claim) -> None:
        """See ``IdempotencyStore``."""
        self._renewals.end(claim.token)
        with self._transaction() as database:
            database.execute(
                "DELETE FROM claims WHERE key = ? AND token = ? AND answer IS NULL", (claim.command.key, claim.token)
            )

    def await_change(self, command: KeyedCommand, held: Held, timeout_s: float) -> None:
        """See ``IdempotencyStore``. A handler of this process signals its end. For a handler of another process the row
        is polled, on a connection that only reads."""
        if runs_here(held.token):
            await_end_here(held.token, timeout_s)
        elif self._path is not None:
            database = open_database(self._path, read_only=True)
            try:
                _poll(database, command.key, held.token, timeout_s)
            finally:
                database.close()

    def _renew(self, tokens: Collection[str]) -> None:
        with self._transaction() as database:
            for token in tokens:
                database.execute(
                    "UPDATE claims SET updated_at = ? WHERE token = ? AND answer IS NULL", (now_us(), token)
                )

    @contextmanager
    def _transaction(self) -> Iterator[SqlDatabase]:
        with self._keys.transaction() as transaction:
            yield database_of(transaction)

    def _settle_within(self, claim: Claim, batches: Sequence[Batch], answer: bytes) -> None:
        """Settle a claim whose key is where the events go, in one transaction."""
        with self._keys.transaction() as transaction:
            _settle(database_of(transaction), claim, answer)
            for batch in batches:
                transaction.append_encoded(batch.stream, batch.events, batch.expected_version)

    def _settle_beside(self, claim: Claim, batches: Sequence[Batch], answer: bytes) -> None:
        """Settle a claim whose key is not where the events go. The events come first. If this process ends in between,
        the keys end with it, and while it lives nobody else can take the claim."""
        if batches and self._store is not None:
            with self._store.transaction() as transaction:
                with self._transaction() as database:
                    _check_held(database, claim)
                for batch in batches:
                    transaction.append_encoded(batch.stream, batch.events, batch.expected_version)
        with self._transaction() as database:
            _settle(database, claim, answer)

    def _try(self, command: KeyedCommand, token: str) -> Claim | Answer | Held | Used:
        """Claim the key. Used: it is in use with another fingerprint."""
        with self._transaction() as database:
            self._purge(database)
            row = database.row(
                f"SELECT {_OWNER}, command_type, command_hash, answer, updated_at FROM claims WHERE key = ?",
                (command.key,),
            )
            if row is not None:
                fresh = row[7] >= self._oldest_us()
                runs = row[6] is None and _runs(row, row[7])
                if (fresh or runs) and row[5] != command.fingerprint:
                    kept = database.row("SELECT command FROM claims WHERE key = ?", (command.key,))
                    return Used(row[4], row[5], None if kept is None else kept[0])
                if fresh and row[6] is not None:
                    return Answer(self._answers.unpack(row[6]))
                if runs:
                    return Held(row[0], row[1])
                self._answers.forget(row[6])
            _insert(database, command, token)
        return Claim(command, token)

    def _purge(self, database: SqlDatabase) -> None:
        """Forget a few of the keys that are too old: those with an answer, and the claims of processes that died."""
        old = database.rows(
            f"SELECT {_OWNER}, answer, key, updated_at FROM claims WHERE updated_at < ? ORDER BY updated_at LIMIT ?",
            (self._oldest_us(), _PURGED_AT_ONCE),
        )
        for row in old:
            if row[4] is not None or not _runs(row, row[6]):
                database.execute("DELETE FROM claims WHERE key = ?", (row[5],))
                self._answers.forget(row[4])

    def _oldest_us(self) -> int:
        return now_us() - self._expire_us


def _keys_of(store: EventStore | None) -> EventStore:
    """The event store whose database has the keys: the store itself where it has a database."""
    if store is None:
        return EventStore(":memory:")
    if isinstance(store.backend, SqliteEvents):
        return store
    with _keys_beside_lock:
        if store not in _keys_beside:
            _keys_beside[store] = EventStore(":memory:")
        return _keys_beside[store]


def _insert(database: SqlDatabase, command: KeyedCommand, token: str) -> None:
    me = this_owner()
    owner = (token, me.pid, me.start_ticks, me.place)
    database.execute(
        f"INSERT OR REPLACE INTO claims(key, command_hash, command_type, {_OWNER}, answer, updated_at, command)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?)",
        (command.key, command.fingerprint, command.command_type, *owner, now_us(), kept_fields(command)),
    )


def _settle(database: SqlDatabase, claim: Claim, answer: bytes) -> None:
    updated = database.execute(
        "UPDATE claims SET answer = ?, updated_at = ? WHERE key = ? AND token = ? AND answer IS NULL",
        (answer, now_us(), claim.command.key, claim.token),
    )
    if updated.rowcount != 1:
        raise _lost(claim)


def _check_held(database: SqlDatabase, claim: Claim) -> None:
    held = "SELECT 1 FROM claims WHERE key = ? AND token = ? AND answer IS NULL"
    if database.row(held, (claim.command.key, claim.token)) is None:
        raise _lost(claim)


def _lost(claim: Claim) -> CqrsError:
    return CqrsError(f"the key {claim.command.key!r} is not held any more: nothing was stored")


def _poll(database: SqlDatabase, key: str, token: str, timeout_s: float) -> None:
    """Read the row of a key until its claim has ended, at most ``timeout_s`` seconds long."""
    deadline = time.monotonic() + timeout_s
    pause_s = _SHORTEST_PAUSE_S
    while (left_s := deadline - time.monotonic()) > 0:
        row = database.row(f"SELECT {_OWNER}, answer IS NULL, updated_at FROM claims WHERE key = ?", (key,))
        if row is None or row[0] != token or not row[4] or not _runs(row, row[5]):
            return
        time.sleep(min(pause_s, left_s))
        pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


def _runs(row: Sequence[Any], renewed_us: int) -> bool:
    """Whether the owner of a claim still runs its handler."""
    return ClaimOwner(row[1], row[2], row[3]).runs(row[0], renewed_us)
