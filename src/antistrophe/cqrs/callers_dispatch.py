"""A dispatch within a transaction of the application's own: its events and the answer of its key are there once that
transaction commits, and never were where it rolls back.

So the claim of the key, too, is a row of that transaction, and nobody sees it before the end. Who wants the key
meanwhile waits for the transaction. What a dispatch that fails has written is undone, and the transaction goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from antistrophe.cqrs.idempotency import Answer, Batch, Claim, Held, KeyedCommand, drop_token
from antistrophe.cqrs.idempotency_postgres import PostgresIdempotencyStore, check_key
from antistrophe.cqrs.results import Wait
from antistrophe.cqrs.same_command import claimed
from antistrophe.errors import RequestError
from antistrophe.eventstore.callers_events import CallersPlaces, CallersWriter
from antistrophe.eventstore.postgres_rows import locking
from antistrophe.eventstore.store_transaction import StoreTransaction, check_name
from antistrophe.storage.connection import Questions
from antistrophe.storage.postgres_callers import (
    ask,
    ask_async,
    block,
    block_async,
)

T = TypeVar("T")


class CallersTransaction:
    """The open transaction of an application's connection, for the thread of a dispatch. ``wait``: runs what a
    connection of asyncio returns on its loop; None: the connection is not of asyncio.

    Raises RequestError where it is no connection that can take a statement, and JournalError where it leads to another
    database.
    """

    def __init__(self, connection: Any, places: CallersPlaces, wait: Wait | None) -> None:
        self._connection = connection
        self._wait = wait
        if wait is None:
            places.check(connection)
        else:
            wait(places.check_async(connection))

    def ask(self, questions: Questions[T]) -> T:
        """Ask these questions there, and return what comes of them."""
        if self._wait is None:
            return ask(self._connection, questions)
        result: T = self._wait(ask_async(self._connection, questions))
        return result

    @contextmanager
    def block(self) -> Iterator[None]:
        """A part of the transaction, which an exception undoes."""
        if self._wait is None:
            with block(self._connection):
                yield
            return
        part = block_async(self._connection)
        self._wait(part.__aenter__())
        try:
            yield
        except BaseException as error:
            self._wait(part.__aexit__(type(error), error, error.__traceback__))
            raise
        self._wait(part.__aexit__(None, None, None))

    @contextmanager
    def dispatch(self) -> Iterator[None]:
        """The part of one dispatch. Raises RequestError where another one is under way on this connection which the
        caller is not a handler of: parts of a transaction can only end in the reverse of the order they began in."""
        inside = next((each for each in reversed(_around.get()) if each._connection is self._connection), None)
        innermost = _innermost.get(self._connection)
        if innermost is not inside:
            raise RequestError(
                "another dispatch is under way in the transaction of this connection, which takes one at a time: wait"
                " for its end, or give each a connection of its own"
            )
        _innermost[self._connection] = self
        mark = _around.set((*_around.get(), self))
        try:
            with self.block():
                yield
        finally:
            _around.reset(mark)
            if inside is None:
                _innermost.pop(self._connection, None)
            else:
                _innermost[self._connection] = inside

    def append(self, batches: Sequence[Batch]) -> None:
        """Append all of these batches, or none: a middleware may go on after a conflict."""
        streams: Collection[str] = {batch.stream for batch in batches}
        for stream in streams:
            check_name(stream)
        transaction = StoreTransaction(CallersWriter(self.ask, streams))
        with nullcontext() if len(batches) < 2 else self.block():
            if len(streams) > 1:
                self.ask(locking(streams))
            for batch in batches:
                transaction.append_encoded(batch.stream, batch.events, batch.expected_version)


# Of each connection with a dispatch under way the innermost one, and those that the running code is a handler of.
_innermost: WeakKeyDictionary[Any, CallersTransaction] = WeakKeyDictionary()
_around: ContextVar[tuple[CallersTransaction, ...]] = ContextVar("antistrophe_callers_transactions", default=())


class CallersKeys:
    """The ``IdempotencyStore`` of one dispatch in an application's transaction. ``keys``: that of its bus."""

    def __init__(self, keys: PostgresIdempotencyStore, transaction: CallersTransaction) -> None:
        self._keys = keys
        self._transaction = transaction

    @property
    def place(self) -> Hashable:
        """See ``IdempotencyStore``."""
        return self._keys.place

    def claim(self, command: KeyedCommand) -> Claim | Answer | Held:
        """See ``IdempotencyStore``. A key that another open transaction has is waited for here."""
        check_key(command.key)
        return claimed(self._try, command)

    def _try(self, command: KeyedCommand, token: str) -> Any:
        return self._transaction.ask(self._keys.claiming(command, token, goes_on=True))

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """See ``IdempotencyStore``."""
        self._transaction.append(batches)  # first, because it may be refused
        self._transaction.ask(self._keys.settling(claim, events))
        drop_token(claim.token)

    def release(self, claim: Claim) -> None:
        """See ``IdempotencyStore``. The claim is undone with all of the dispatch."""

    def await_change(self, command: KeyedCommand, held: Held, timeout_s: float) -> None:
        """See ``IdempotencyStore``."""
        self._keys.await_change(command, held, timeout_s)
