"""Starts a saga within a transaction of the application, where the journal is in the same PostgreSQL database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from antistrophe.client.saga_entries import accepted_spec
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import RequestError, SagaExistsError
from antistrophe.eventstore.store import is_postgres
from antistrophe.journal import SeqConflictError

if TYPE_CHECKING:
    from antistrophe.client.call_threads import CallThreads
    from antistrophe.client.session import Session
    from antistrophe.eventstore.callers_events import CallersPlaces


def start_in(session: Session, saga: SagaDefinition, connection: Any, *, join: bool) -> None:
    """Accept a saga on that connection of psycopg. It is there once its transaction commits, and held by the session.
    Raises RequestError where the journal is not in PostgreSQL, or this is no connection that can take a statement."""
    _refuse_files(session)
    # These need psycopg, which is an extra.
    from antistrophe.hosts.stored_holders import holding
    from antistrophe.journal.postgres_acceptance import accepting
    from antistrophe.storage.postgres_callers import ask

    _places(session).check(connection)
    spec = session.spec_of(saga)
    try:
        ask(connection, accepting(spec, uuid.uuid4().hex))
    except SeqConflictError:
        join_in(session, saga, join=join)
        return
    if host := session.requests.expect(spec.id):
        ask(connection, holding(spec.id, host))


async def start_in_async(session: Session, saga: SagaDefinition, connection: Any, threads: CallThreads) -> bool:
    """``start_in`` on a connection of asyncio. False: there is such a saga already, and the caller is to ``join_in``
    it, where it may block."""
    _refuse_files(session)
    from antistrophe.hosts.stored_holders import holding
    from antistrophe.journal.postgres_acceptance import accepting
    from antistrophe.storage.postgres_callers import ask_async

    await (await threads.call(_places, session)).check_async(connection)
    spec = session.spec_of(saga)
    try:
        await ask_async(connection, accepting(spec, uuid.uuid4().hex))
    except SeqConflictError:
        return False
    if host := await threads.call(session.requests.expect, spec.id):
        await ask_async(connection, holding(spec.id, host))
    return True


def _refuse_files(session: Session) -> None:
    if session.journal.file is not None:
        raise RequestError(
            "a saga can be started in a transaction of the application only where the journal is in the same PostgreSQL"
            ' database (journal="postgresql://..."); here it is in a file: leave connection= out'
        )


def _places(session: Session) -> CallersPlaces:
    """What knows the connections that lead to the journal's database: its event store, which is in the same one."""
    backend = session.event_store.backend
    assert is_postgres(backend), "the journal is no file"
    return backend.places


def join_in(session: Session, saga: SagaDefinition, *, join: bool) -> None:
    """There is a saga of that id already: start it as without a connection. Raises SagaExistsError where it is of
    another definition, or was accepted in the caller's transaction, and AlreadyExecutingError where it is live, held,
    and not to be joined."""
    if accepted_spec(session.requests, saga.id, str(session.journal)) is None:
        raise SagaExistsError(f"saga {saga.id!r} was started in this transaction before; choose another id")
    session.start(saga, "join" if join else "raise")
