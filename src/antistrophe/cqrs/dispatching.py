"""What one dispatch carries, and where its events and its key go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from antistrophe.cqrs.async_bridge import WaitOnLoop
from antistrophe.cqrs.idempotency import Batch, Claim, IdempotencyStore
from antistrophe.cqrs.idempotency_sqlite import SqliteIdempotencyStore
from antistrophe.cqrs.results import Appends, Wait
from antistrophe.definition.events import encode_event
from antistrophe.errors import RequestError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.eventstore.store import EventStore, is_postgres

if TYPE_CHECKING:
    from antistrophe.cqrs.callers_dispatch import CallersTransaction


@dataclass(slots=True)
class Dispatch:
    """One call of ``dispatch``.

    ``metadata`` is what its events carry, packed, and ``wait`` runs its async code. With a key it has a ``claim`` in
    ``keys``, and ``settled`` says whether the claim is settled. ``transaction``: the application's own, if it is a part
    of one.
    """

    metadata: bytes
    wait: Wait
    transaction: CallersTransaction | None = None
    keys: IdempotencyStore | None = None
    claim: Claim | None = None
    settled: bool = False


def opened_keys(store: EventStore | None, expire_s: float) -> IdempotencyStore:
    """Where the keys of a bus with that event store are."""
    if store is not None and is_postgres(store.backend):
        from antistrophe.cqrs.idempotency_postgres import PostgresIdempotencyStore  # needs psycopg, an extra

        return PostgresIdempotencyStore(store, store.backend, expire_s)
    return SqliteIdempotencyStore(store, expire_s)


def transaction_on(store: EventStore | None, connection: Any, wait: Wait) -> CallersTransaction | None:
    """The open transaction of an application's connection; None where it gives none. Raises RequestError for what is no
    connection to the store's database."""
    if connection is None:
        return None
    if store is None:
        raise RequestError("a bus without an event store stores nothing, in no transaction: leave connection= out")
    places = store.postgres().places
    from antistrophe.cqrs.callers_dispatch import CallersTransaction  # needs psycopg, which is an extra

    # What is asked on the loop is not cancelled with the handler, because it has to be undone there.
    return CallersTransaction(connection, places, WaitOnLoop(wait.loop) if isinstance(wait, WaitOnLoop) else None)


def keys_within(transaction: CallersTransaction | None, keys: IdempotencyStore) -> IdempotencyStore:
    """The keys as a dispatch in that transaction uses them."""
    if transaction is None:
        return keys
    from antistrophe.cqrs.callers_dispatch import CallersKeys
    from antistrophe.cqrs.idempotency_postgres import PostgresIdempotencyStore

    assert isinstance(keys, PostgresIdempotencyStore), "the store of its bus is in PostgreSQL"
    return CallersKeys(keys, transaction)


def batch_of(appends: Appends, metadata: bytes) -> Batch:
    """The encoded events of a handler for one stream."""
    events = [encode_event(event) for event in appends.events]
    rows = [NewEvent(each.type, each.type_version, each.data, metadata) for each in events]
    return Batch(appends.stream, rows, appends.expected_version)
