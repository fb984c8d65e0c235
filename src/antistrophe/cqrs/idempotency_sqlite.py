"""Idempotency keys in the SQLite file of an event store: they outlive their process, and all processes share them."""

from __future__ import annotations

import os
import time
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from antistrophe.cqrs.idempotency import (
    Answer,
    Batch,
    Claim,
    Held,
    Request,
    check_command,
    drop_token,
    new_token,
    runs_here,
)
from antistrophe.definition.events import RawEvent, encode_event, is_version
from antistrophe.errors import CqrsError, UnreadableDataError
from antistrophe.eventstore.recorded import recorded
from antistrophe.eventstore.store import EventStore
from antistrophe.linux.process import ProcessIdentity, identity_of, is_alive
from antistrophe.serialization.payload import pack_payload, unpack_payload
from antistrophe.storage.database import Database
from antistrophe.storage.opening import open_database

_PURGED_AT_ONCE = 100
_SHORTEST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.05

_ANSWER = "the answer that was stored for the key"
_OWNER = "token, owner_pid, owner_start_ticks, owner_boot_id"


class SqliteClaims:
    """The SQLite variant of ``Claims``. No transaction is open while a handler runs."""

    def __init__(self, store: EventStore, path: Path, expire_s: float) -> None:
        self._store = store
        self._path = path
        self._expire_us = int(expire_s * 1e6)

    @property
    def place(self) -> Hashable:
        """See ``Claims``."""
        return self._path

    def take(self, request: Request) -> Claim | Answer | Held:
        """See ``Claims``."""
        token = new_token()  # known to run here before the row can be seen
        try:
            with self._store.transaction() as transaction:
                taken = self._take(_of(transaction.database), request, token)
        except BaseException:
            drop_token(token)
            raise
        if isinstance(taken, bytes):
            drop_token(token)
            return Answer(self._decoded(taken))
        if isinstance(taken, Held):
            drop_token(token)
        return taken

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """See ``Claims``."""
        answer = pack_payload([_encoded(event) for event in events], what=_ANSWER)
        with self._store.transaction() as transaction:
            updated = _of(transaction.database).execute(
                "UPDATE claims SET answer = ?, updated_at = ? WHERE key = ? AND token = ? AND answer IS NULL",
                (answer, _now_us(), claim.request.key, claim.token),
            )
            if updated.rowcount != 1:
                raise CqrsError(f"the key {claim.request.key!r} is not held any more: nothing was stored")
            for batch in batches:
                transaction.append_encoded(batch.stream, batch.events, batch.expected_version)

    def release(self, claim: Claim) -> None:
        """See ``Claims``."""
        with self._store.transaction() as transaction:
            _of(transaction.database).execute(
                "DELETE FROM claims WHERE key = ? AND token = ? AND answer IS NULL", (claim.request.key, claim.token)
            )

    def await_change(self, request: Request, held: Held, timeout_s: float) -> None:
        """See ``Claims``. Looks again and again, on a connection that only reads."""
        deadline = time.monotonic() + timeout_s
        pause_s = _SHORTEST_PAUSE_S
        database = open_database(self._path, read_only=True)
        try:
            while (left_s := deadline - time.monotonic()) > 0:
                row = database.row(f"SELECT {_OWNER}, answer IS NULL FROM claims WHERE key = ?", (request.key,))
                if row is None or row[0] != held.token or not row[4] or not _holds(row):
                    return
                time.sleep(min(pause_s, left_s))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        finally:
            database.close()

    def _take(self, database: Database, request: Request, token: str) -> Claim | bytes | Held:
        self._purge(database)
        row = database.row(
            f"SELECT {_OWNER}, command_type, command_hash, answer, updated_at FROM claims WHERE key = ?",
            (request.key,),
        )
        if row is not None and row[7] >= self._oldest_us():
            check_command(request, row[4], row[5])
            if row[6] is not None:
                answer: bytes = row[6]
                return answer
        if row is not None and row[6] is None and _holds(row):
            check_command(request, row[4], row[5])
            return Held(row[0], row[1])
        me = _myself()
        database.execute(
            "INSERT OR REPLACE INTO claims(key, command_hash, command_type, token, owner_pid, owner_start_ticks,"
            " owner_boot_id, answer, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
            (
                request.key,
                request.fingerprint,
                request.command_type,
                token,
                me.pid,
                me.start_ticks,
                me.boot_id,
                _now_us(),
            ),
        )
        return Claim(request, token)

    def _purge(self, database: Database) -> None:
        """Forget keys that are too old, a few at a time: answers, and the claims of the dead."""
        old = database.rows(
            f"SELECT {_OWNER}, answer IS NULL, key FROM claims WHERE updated_at < ? ORDER BY updated_at LIMIT ?",
            (self._oldest_us(), _PURGED_AT_ONCE),
        )
        for row in old:
            if not (row[4] and _holds(row)):
                database.execute("DELETE FROM claims WHERE key = ?", (row[5],))

    def _oldest_us(self) -> int:
        return _now_us() - self._expire_us

    def _decoded(self, answer: bytes) -> list[Any]:
        rows = [(0, "", 0, *_event_in(each), None, 0) for each in _list_in(unpack_payload(answer, what=_ANSWER))]
        return [each.event for each in recorded(rows, self._store.versions)]


def _holds(row: Sequence[Any]) -> bool:
    """Whether the owner of a claim still runs its handler."""
    owner = ProcessIdentity(row[1], row[2], row[3])
    return runs_here(row[0]) if owner == _myself() else is_alive(owner)


def _myself() -> ProcessIdentity:
    me = identity_of(os.getpid())
    assert me is not None  # this process lives
    return me


def _encoded(event: Any) -> list[Any]:
    if isinstance(event, RawEvent):  # of a saga whose event classes this program does not have
        return [event.type, event.type_version, pack_payload(event.data, what=f"event {event.type}")]
    encoded = encode_event(event)
    return [encoded.type, encoded.type_version, encoded.data]


def _list_in(answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return answer
    raise UnreadableDataError(f"{_ANSWER} is no list of events")


def _event_in(encoded: Any) -> tuple[str, int, bytes]:
    match encoded:
        case [str(type_name), int(version), bytes(data)] if is_version(version):
            return type_name, version, data
    raise UnreadableDataError(f"{_ANSWER} holds something that is no event")


def _of(database: Database | None) -> Database:
    assert database is not None  # these claims are made for stores in a SQLite file only
    return database


def _now_us() -> int:
    return time.time_ns() // 1000
