"""Starts a saga within a transaction of the application, where the journal is in the same PostgreSQL database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from antistrophe.client.saga_entries import accepted_spec
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import RequestError, SagaExistsError
from antistrophe.journal import SeqConflictError

if TYPE_CHECKING:
    from antistrophe.client.call_threads import CallThreads
    from antistrophe.client.session import Session


def start_in(session: Session, saga: SagaDefinition, connection: Any, *, join: bool) -> None:
    """Accept a saga on that connection of psycopg. It is there once its transaction commits, and held by the session.
    Raises RequestError where the journal is not in PostgreSQL, or this is no such connection."""
    spec, name = _spec_for(session, saga, connection, "Connection"), uuid.uuid4().hex
    from antistrophe.hosts.stored_holders import hold_in
    from antistrophe.journal.postgres_acceptance import accept_in  # needs psycopg, which is an extra

    try:
        accept_in(connection, spec, name)
    except SeqConflictError:
        join_in(session, saga, join=join)
        return
    if host := session.requests.expect(spec.id):
        hold_in(connection, spec.id, host)


async def start_in_async(session: Session, saga: SagaDefinition, connection: Any, threads: CallThreads) -> bool:
    """``start_in`` on a connection of asyncio. False: there is such a saga already, and the caller is to ``join_in``
    it, where it may block."""
    spec, name = _spec_for(session, saga, connection, "AsyncConnection"), uuid.uuid4().hex
    from antistrophe.hosts.stored_holders import hold_in_async
    from antistrophe.journal.postgres_acceptance import accept_in_async  # needs psycopg, which is an extra

    try:
        await accept_in_async(connection, spec, name)
    except SeqConflictError:
        return False
    if host := await threads.call(session.requests.expect, spec.id):
        await hold_in_async(connection, spec.id, host)
    return True


def _spec_for(session: Session, saga: SagaDefinition, connection: Any, kind: str) -> SagaSpec:
    if session.journal.file is not None:
        raise RequestError(
            "a saga can be started in a transaction of the application only where the journal is in the same PostgreSQL"
            ' database (journal="postgresql://..."); here it is in a file: leave connection= out'
        )
    import psycopg  # the journal is in PostgreSQL, so it is there

    if not isinstance(connection, getattr(psycopg, kind)):
        raise RequestError(f"connection= takes an open psycopg.{kind}, not {type(connection).__name__}")
    return session.spec_of(saga)


def join_in(session: Session, saga: SagaDefinition, *, join: bool) -> None:
    """There is a saga of that id already: start it as without a connection. Raises SagaExistsError where it is of
    another definition, or was accepted in the caller's transaction, and AlreadyExecutingError where it is live, held,
    and not to be joined."""
    if accepted_spec(session.requests, saga.id, str(session.journal)) is None:
        raise SagaExistsError(f"saga {saga.id!r} was started in this transaction before; choose another id")
    session.start(saga, "join" if join else "raise")
