"""Starts a saga within a transaction of the application, where the journal is in the same PostgreSQL database."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from antistrophe.client.saga_entries import accepted_spec
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import SagaSpec
from antistrophe.errors import AlreadyExecutingError, RequestError, SagaExistsError
from antistrophe.journal import SeqConflictError

if TYPE_CHECKING:
    from antistrophe.client.session import Session


def start_in(session: Session, saga: SagaDefinition, connection: Any, *, join: bool) -> None:
    """Accept a saga on that connection of psycopg. It is there once its transaction commits. Raises RequestError where
    the journal is not in PostgreSQL, or this is no such connection."""
    spec, name = _spec_for(session, saga, connection, "Connection"), uuid.uuid4().hex
    from antistrophe.journal.postgres_acceptance import accept_in  # needs psycopg, which is an extra

    try:
        accept_in(connection, spec, name)
    except SeqConflictError:
        _join(session, spec, join=join)


async def start_in_async(session: Session, saga: SagaDefinition, connection: Any) -> bool:
    """``start_in`` on a connection of asyncio. False: there is such a saga already, and the caller is to ``join_in``
    it, where it may block."""
    spec, name = _spec_for(session, saga, connection, "AsyncConnection"), uuid.uuid4().hex
    from antistrophe.journal.postgres_acceptance import accept_in_async  # needs psycopg, which is an extra

    try:
        await accept_in_async(connection, spec, name)
    except SeqConflictError:
        return False
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
    """There is a saga of that id already. Raises SagaExistsError where it is of another definition, and
    AlreadyExecutingError where it is live and not to be joined."""
    _join(session, session.spec_of(saga), join=join)


def _join(session: Session, spec: SagaSpec, *, join: bool) -> None:
    found = accepted_spec(session.requests, spec.id, str(session.journal))
    if found is None or not found.same_definition(spec):
        raise SagaExistsError(f"there is a saga {spec.id!r} of another definition; choose another id")
    if not join and session.require(spec.id).status.running:
        raise AlreadyExecutingError(f'saga {spec.id!r} is live: join it, with if_live="join", or choose another id')
