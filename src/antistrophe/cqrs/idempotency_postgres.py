"""Idempotency keys in a PostgreSQL database, shared by processes on any hosts and committed together with the events.

A claim is a row, and not a lock or an open transaction: a handler may take long, and the row outlives the connection,
the server and a fail-over. Its owner renews it while the handler runs. What ends a claim whose owner has died:

- Its process is seen to be dead, by processes of the same host: at once.
- Its row has not been renewed for ``LEASE_S`` by the database's clock, and whoever wants it has watched that for
  ``WATCH_S`` without a pause. So where the database was away for long, its owners have time to renew first.

An owner that was only cut off may still run its handler then, beside the new owner's. It can't store what it did: only
the token in the row settles the key, so a key has one answer, and its events are stored once. A commit whose answer is
lost is told by the events that it stored or by the row of the key, which stays locked until its end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from antistrophe.cqrs.claim_owner import LEASE_S, RENEW_S, ClaimOwner, Renewals, this_owner
from antistrophe.cqrs.idempotency import (
    IN_A_TRANSACTION,
    Answer,
    Batch,
    Claim,
    Held,
    KeyedCommand,
    await_end_here,
    drop_token,
    runs_here,
)
from antistrophe.cqrs.idempotency_answers import PackedAnswers
from antistrophe.cqrs.same_command import Used, claimed, kept_fields
from antistrophe.errors import CqrsError, JournalBusyError
from antistrophe.eventstore.postgres import PostgresEvents
from antistrophe.eventstore.store import EventStore
from antistrophe.fast_dataclass import dataclass
from antistrophe.storage.connection import Questions, answered
from antistrophe.storage.postgres_commits import CONFIRM
from antistrophe.storage.postgres_database import PostgresDatabase

WATCH_S = RENEW_S + 4.0
"""How long a claim is watched at least before it is taken from an owner that can't be seen."""

_UNWATCHED_S = 2.0
"""A claim that was not looked at for so long was not watched."""

_RENEW_WITHIN_S = 3.0
_PURGE_EVERY_S = 10.0
_PURGED_AT_ONCE = 100
_MOST_KEY_BYTES = 2_000
_MOST_WATCHED = 10_000
_SHORTEST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.1

_NOW_US = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_OWNER = "token, owner_pid, owner_start_ticks, owner_boot_id"
_STATE = f"{_OWNER}, renewals, {_NOW_US} - updated_at"
_HELD = "WHERE key = ? AND token = ? AND answer IS NULL"
_USED = (
    f"SELECT {_STATE}, command_type, command_hash, answer, CASE WHEN command_hash <> ? THEN command END FROM claims"
    " WHERE key = ?"
)
_SETTLE = f"UPDATE claims SET answer = ?, updated_at = {_NOW_US} {_HELD} RETURNING pg_current_xact_id()::text::bigint"

_LOCKED = "55P03"
_WHATEVER, _SHORTLY = "(SELECT 1) AS one", "set_config('lock_timeout', '1000', true)"
_INSERT = (
    f"INSERT INTO claims(key, command_hash, command_type, {_OWNER}, updated_at, command) SELECT ?::text, ?::bytea,"
    f" ?::text, ?::text, ?::bigint, ?::bigint, ?::text, {_NOW_US}, ?::bytea FROM {_WHATEVER}"
    " ON CONFLICT (key) DO NOTHING RETURNING key"
)


@dataclass(frozen=True, slots=True)
class _Row:
    """The owner of a claim, how often it was renewed, and for how long it was not, by the database's clock."""

    token: str
    owner: ClaimOwner
    renewals: int
    unrenewed_us: int

    @staticmethod
    def of(found: Sequence[Any]) -> _Row:
        return _Row(found[0], ClaimOwner(found[1], found[2], found[3]), found[4], found[5])


class _Watch:
    """Since when this process has seen claims that were not renewed. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: dict[str, tuple[int, float, float]] = {}  # renewals, since when, and when looked at last

    def for_s(self, row: _Row) -> float:
        """For how long, up to now, the claim has been seen as it is."""
        now = time.monotonic()
        with self._lock:
            renewals, since, looked = self._seen.get(row.token, (row.renewals, now, now))
            if renewals != row.renewals or now - looked > _UNWATCHED_S:
                since = now
            if len(self._seen) > _MOST_WATCHED:
                self._seen.clear()
            self._seen[row.token] = (row.renewals, since, now)
        return now - since

    def forget(self, token: str) -> None:
        """The claim is over."""
        with self._lock:
            self._seen.pop(token, None)


class PostgresIdempotencyStore:
    """The PostgreSQL variant of ``IdempotencyStore``. No transaction is open while a handler runs, but the one that an
    application gives (``callers_dispatch``)."""

    def __init__(self, store: EventStore, backend: PostgresEvents, expire_s: float) -> None:
        self._store = store
        self._backend = backend
        self._answers = PackedAnswers(store.versions)
        self._expire_us = int(expire_s * 1e6)
        self._renewals = Renewals(self._renew)
        self._watch = _Watch()
        self._purge_at = 0.0

    @property
    def place(self) -> Hashable:
        """See ``IdempotencyStore``."""
        return self._backend.where

    def claim(self, command: KeyedCommand) -> Claim | Answer | Held:
        """See ``IdempotencyStore``. Raises ValueError for a key that PostgreSQL can't store."""
        check_key(command.key)
        self._purge_sometimes()
        taken = claimed(self._try, command)
        if isinstance(taken, Claim):
            self._renewals.begin(taken.token)
        return taken

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """See ``IdempotencyStore``."""
        questions = self.settling(claim, events)
        with self._store.transaction_on({batch.stream for batch in batches}) as transaction:
            database = transaction.database
            assert isinstance(database, PostgresDatabase)
            database.prove(
                answered(questions, database.returning),
                "SELECT 1 FROM claims WHERE key = ? AND token = ? AND answer IS NOT NULL",
                (claim.command.key, claim.token),
            )
            for batch in batches:
                transaction.append_encoded(batch.stream, batch.events, batch.expected_version)
        self._end(claim.token)
        drop_token(claim.token)

    def release(self, claim: Claim) -> None:
        """See ``IdempotencyStore``."""
        self._end(claim.token)
        with self._backend.connection() as database:
            database.execute(f"DELETE FROM claims {_HELD}", (claim.command.key, claim.token))

    def await_change(self, command: KeyedCommand, held: Held, timeout_s: float) -> None:
        """See ``IdempotencyStore``. A handler of this process signals its end. For a handler of another process the row
        is polled."""
        if runs_here(held.token):
            await_end_here(held.token, timeout_s)
            return
        deadline = time.monotonic() + timeout_s
        pause_s = _SHORTEST_PAUSE_S
        while (left_s := deadline - time.monotonic()) > 0:
            with self._backend.connection() as database:
                found = database.row(f"SELECT {_STATE}, answer IS NULL FROM claims WHERE key = ?", (command.key,))
            if found is None or found[0] != held.token or not found[6] or not self._runs(_Row.of(found)):
                return
            time.sleep(min(pause_s, left_s))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)

    # --- claiming -------------------------------------------------------------------------------------------------

    def _try(self, command: KeyedCommand, token: str) -> Claim | Answer | Held | Used:
        try:
            with self._backend.rows_transaction() as database:
                return answered(self.claiming(command, token), database.returning)
        except JournalBusyError as error:
            if getattr(error.__cause__, "sqlstate", None) == _LOCKED:
                return IN_A_TRANSACTION
            raise

    def claiming(
        self, command: KeyedCommand, token: str, *, goes_on: bool = False
    ) -> Questions[Claim | Answer | Held | Used]:
        """What it asks to claim a key within a transaction. Used: the key is in use with another fingerprint.

        ``goes_on``: the transaction is an application's. It waits for others as its own settings say, and must not keep
        them from what they do with their claims.
        """
        while True:
            if (yield _inserting(command, token, waits=goes_on)):
                return Claim(command, token)
            rows = yield _USED if goes_on else f"{_USED} FOR UPDATE", (command.fingerprint, command.key)
            if not rows:  # it was given up meanwhile
                continue
            found = self._beside(rows[0], command)
            if found is not None:
                if goes_on and isinstance(found, Answer):
                    yield CONFIRM, ()  # a lock would have done that
                return found
            row = _Row.of(rows[0])
            yield (
                "DELETE FROM claims WHERE key = ? AND token = ? AND renewals = ? RETURNING key",
                (
                    command.key,
                    row.token,
                    row.renewals,
                ),
            )
            self._watch.forget(row.token)

    def settling(self, claim: Claim, events: Sequence[Any]) -> Questions[int]:
        """What it asks to give the key its answer within a transaction. Returns the number of the transaction. Raises
        CqrsError where the claim is lost."""
        answer = self._answers.pack(claim.token, events)
        settled = yield _SETTLE, (answer, claim.command.key, claim.token)
        if not settled:
            raise CqrsError(f"the key {claim.command.key!r} is not held any more: nothing was stored")
        return int(settled[0][0])

    def _beside(self, found: Sequence[Any], command: KeyedCommand) -> Answer | Held | Used | None:
        """What the row of the key leaves to this caller; None: to claim it."""
        row = _Row.of(found)
        used_type, fingerprint, answer, kept = found[6:10]
        fresh = row.unrenewed_us < self._expire_us
        runs = answer is None and self._runs(row)
        if (fresh or runs) and fingerprint != command.fingerprint:
            return Used(used_type, fingerprint, kept)
        if fresh and answer is not None:
            return Answer(self._answers.unpack(answer))
        return Held(row.token, row.owner.pid) if runs else None

    def _runs(self, row: _Row) -> bool:
        """Whether the owner of a claim still runs its handler, as far as can be told from here."""
        seen = row.owner.seen_running(row.token)
        if seen is not None:
            return seen
        watched_s = self._watch.for_s(row)
        return row.unrenewed_us < LEASE_S * 1e6 or watched_s < WATCH_S

    # --- renewing and purging -------------------------------------------------------------------------------------

    def _renew(self, tokens: Collection[str]) -> None:
        """Renew claims on a connection of their own: whatever others wait for must not let them lapse."""
        if not tokens:
            return
        database = self._backend.connection_apart(_RENEW_WITHIN_S)
        try:
            database.execute(
                f"UPDATE claims SET updated_at = {_NOW_US}, renewals = renewals + 1"
                " WHERE token = ANY(?::text[]) AND answer IS NULL",
                (list(tokens),),
            )
        finally:
            database.close()

    def _end(self, token: str) -> None:
        self._renewals.end(token)
        self._watch.forget(token)

    def _purge_sometimes(self) -> None:
        """Forget a few of the keys that are too old: those with an answer, and the claims of processes that died."""
        if time.monotonic() < self._purge_at:
            return
        self._purge_at = time.monotonic() + _PURGE_EVERY_S
        with self._backend.rows_transaction() as database:
            old = database.rows(
                f"SELECT {_STATE}, key, answer IS NULL FROM claims WHERE updated_at < {_NOW_US} - ?::bigint"
                " ORDER BY updated_at LIMIT ?::bigint FOR UPDATE SKIP LOCKED",
                (self._expire_us, _PURGED_AT_ONCE),
            )
            gone = [found[6] for found in old if not (found[7] and self._runs(_Row.of(found)))]
            if gone:
                database.execute("DELETE FROM claims WHERE key = ANY(?::text[])", (gone,))


def _inserting(command: KeyedCommand, token: str, *, waits: bool) -> tuple[str, Sequence[Any]]:
    """The statement that makes the row of a claim, and returns it unless the key has a row; one that is being written
    is waited for, as long as the transaction ``waits``, or shortly."""
    me = this_owner()
    return (
        _INSERT if waits else _INSERT.replace(_WHATEVER, _SHORTLY),
        (
            *(command.key, command.fingerprint, command.command_type),
            *(token, me.pid, me.start_ticks, me.place, kept_fields(command)),
        ),
    )


def check_key(key: str) -> None:
    """Raise ValueError where PostgreSQL can't store the key."""
    if "\0" in key or len(key.encode()) > _MOST_KEY_BYTES:
        raise ValueError(
            f"an idempotency key in PostgreSQL is a text of at most {_MOST_KEY_BYTES} bytes without a zero character;"
            f" this one begins with {key[:40]!r}"
        )
