"""The command bus: it hands each command to its handler, stores the events, and remembers the answer of a key."""

from __future__ import annotations

import asyncio
import os
import threading
import uuid
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from contextvars import ContextVar
from typing import Any, TypeAlias, TypeVar

from antistrophe.cqrs.async_bridge import WaitOnLoop, in_thread, is_async, refuse_to_block_a_loop, wait_here
from antistrophe.cqrs.dispatching import Dispatch, batch_of, keys_within, opened_keys, transaction_on
from antistrophe.cqrs.idempotency import KEYS_EXPIRE_S, Answer, IdempotencyStore, KeyedCommand, claim_or_wait, holding
from antistrophe.cqrs.results import RunsSagas, Wait, refuse_sagas, result_of
from antistrophe.errors import (
    CqrsError,
    DuplicateHandlerError,
    FieldError,
    HandlerNotFoundError,
    ValidationError,
)
from antistrophe.eventstore.store import EventStore
from antistrophe.serialization.payload import pack_payload
from antistrophe.serialization.type_hints import short

Handler: TypeAlias = Callable[[Any], Any]
Check: TypeAlias = Callable[[Any], Iterable[FieldError] | None]
Next: TypeAlias = Callable[[Any], list[Any]]
Middleware: TypeAlias = Callable[[Any, Next], list[Any]]

_Handler = TypeVar("_Handler", bound=Callable[..., Any])

# The id that the events of a dispatch share with those of the dispatches that its handler makes.
_correlation: ContextVar[str | None] = ContextVar("antistrophe_correlation", default=None)
_connection: ContextVar[Any] = ContextVar("antistrophe_connection", default=None)


class CommandBus:
    """Dispatches commands (plain frozen dataclasses) to their handlers. Any thread may use it.

    ::

        bus = CommandBus(EventStore("events.db"))

        @bus.handles(OpenAccount)
        def open_account(command):
            return [AccountOpened(command.owner)]

        bus.dispatch(OpenAccount("Ada"), idempotency_key="request 7")

    A handler takes the command and returns events (their stream is the command's type name), ``Appends(stream, events,
    expected_version)`` or several of them, a ``SagaDefinition``, or None. It may be ``async``. With a ``store`` the
    events are appended, all or none; without a store they are only answered. ``sagas`` is the orchestrator that runs
    the sagas that handlers return; the system itself stores their events. ``keys_expire_s`` is how many seconds the
    answer of an idempotency key is remembered.

    The caller gets what a handler raises, unchanged.
    """

    def __init__(
        self,
        store: EventStore | None = None,
        *,
        sagas: RunsSagas | None = None,
        keys_expire_s: float = KEYS_EXPIRE_S,
    ) -> None:
        if not keys_expire_s > 0:
            raise ValueError(f"keys_expire_s must be a number over 0, not {keys_expire_s!r}")
        self._store = store
        self._sagas = sagas
        self._keys_expire_s = keys_expire_s
        self._keys: tuple[int, IdempotencyStore] | None = None  # with the process that opened it
        self._lock = threading.Lock()
        # Each is replaced and never changed, so a dispatch reads it without a lock. A handler may register another.
        self._handlers: dict[type, Handler] = {}
        self._checks: dict[type, tuple[Check, ...]] = {}
        self._middleware: tuple[Middleware, ...] = ()

    # --- registering -------------------------------------------------------------------------------------------

    def handles(self, command_type: type, *, replace: bool = False) -> Callable[[_Handler], _Handler]:
        """Decorate the handler of a type of command."""

        def register(handler: _Handler) -> _Handler:
            self.register(command_type, handler, replace)
            return handler

        return register

    def register(self, command_type: type, handler: Handler, replace: bool = False) -> None:
        """Let ``handler`` handle the commands of exactly this type.

        Raises DuplicateHandlerError if the type has a handler, unless ``replace``, and CqrsError if ``handler`` can't
        handle commands.
        """
        _check_type(command_type)
        if isinstance(handler, type) or not callable(handler):
            raise CqrsError(f"{short(handler)} can't handle commands: register a function or a callable object")
        with self._lock:
            if command_type in self._handlers and not replace:
                raise DuplicateHandlerError(
                    f"{command_type.__qualname__} has a handler already ({short(self._handlers[command_type])}): pass"
                    " replace=True to put another in its place"
                )
            self._handlers = {**self._handlers, command_type: handler}

    def validates(self, command_type: type) -> Callable[[_Handler], _Handler]:
        """Decorate a check that runs before the handler. It returns the FieldErrors of a command, or raises
        ValidationError. One ValidationError tells the caller what all checks have found."""

        def register(check: _Handler) -> _Handler:
            _check_type(command_type)
            _check_sync(check, "a check")
            with self._lock:
                self._checks = {**self._checks, command_type: (*self._checks.get(command_type, ()), check)}
            return check

        return register

    def add_middleware(self, middleware: _Handler) -> _Handler:
        """Let ``middleware(command, next)`` run around every later dispatch. This may decorate a function.

        ``next(command)`` checks and handles the command, stores its events and returns them. What the middleware
        returns is the answer. The middleware that was added first is the outermost. Events of a middleware that does
        not call ``next`` are not stored.
        """
        _check_sync(middleware, "middleware")
        with self._lock:
            self._middleware = (*self._middleware, middleware)
        return middleware

    @property
    def handlers_count(self) -> int:
        """How many types of command have a handler."""
        return len(self._handlers)

    # --- dispatching -------------------------------------------------------------------------------------------

    def dispatch(
        self,
        command: Any,
        idempotency_key: str | None = None,
        *,
        timeout_s: float | None = None,
        connection: Any = None,
    ) -> list[Any]:
        """Handle a command, store its events and return them.

        With a key the handler runs once. A later dispatch of the same command with the same key, from any thread or
        process, returns the same events. While the handler runs, such a dispatch waits, and raises TimeoutError after
        ``timeout_s`` seconds (None: no limit). A handler that failed, or whose process died before its events were
        stored, runs again. Another command with the key raises IdempotencyConflictError.

        Raises HandlerNotFoundError, ValidationError (with all wrong fields), ConcurrencyError, and what the handler
        raises. An async handler runs to its end here; inside a running event loop use ``dispatch_async``.

        ``connection``: one of psycopg to the database of a store in PostgreSQL. The events, and the key with its
        answer, are stored in the transaction that is open there, and never were where it is rolled back. After an error
        that transaction goes on, without anything that was written there since the call. The handler finds the
        connection as ``bus.connection``, and may return no saga.
        """
        if is_async(self._handler_of(command)):
            refuse_to_block_a_loop()
        return self._dispatch(command, idempotency_key, timeout_s, wait_here, connection)

    async def dispatch_async(
        self,
        command: Any,
        idempotency_key: str | None = None,
        *,
        timeout_s: float | None = None,
        connection: Any = None,
    ) -> list[Any]:
        """Dispatch without blocking the running event loop. An async handler runs on that loop, all else in a thread.

        Cancelling this call cancels an async handler. A synchronous handler goes on, and its events are stored. With a
        ``connection``, here a psycopg.AsyncConnection, the call ends after the handler, and nothing is stored.
        """
        wait = WaitOnLoop(asyncio.get_running_loop())
        return await in_thread(
            lambda: self._dispatch(command, idempotency_key, timeout_s, wait, connection),
            on_cancel=wait.cancel,
            stays=connection is not None,
        )

    @property
    def connection(self) -> Any:
        """Within a handler, a check or middleware: the ``connection`` of the dispatch. None: it has none."""
        return _connection.get()

    def _dispatch(
        self, command: Any, key: str | None, timeout_s: float | None, wait: Wait, connection: Any
    ) -> list[Any]:
        self._handler_of(command)  # before anything is claimed
        causation = uuid.uuid4().hex
        correlation = _correlation.get() or causation
        metadata = {"command": type(command).__name__, "causation": causation, "correlation": correlation}
        if key is not None:
            metadata["idempotency_key"] = key
        dispatch = Dispatch(pack_payload(metadata), wait, transaction_on(self._store, connection, wait))
        marks = _correlation.set(correlation), _connection.set(connection)
        try:
            with nullcontext() if dispatch.transaction is None else dispatch.transaction.dispatch():
                if key is None:
                    return self._around_all(dispatch)(command)
                return self._once(command, KeyedCommand.of(command, key), dispatch, timeout_s)
        finally:
            _correlation.reset(marks[0])
            _connection.reset(marks[1])

    def _once(self, command: Any, keyed: KeyedCommand, dispatch: Dispatch, timeout_s: float | None) -> list[Any]:
        keys = dispatch.keys = keys_within(dispatch.transaction, self._idempotency_store())
        taken = claim_or_wait(keys, keyed, timeout_s)
        if isinstance(taken, Answer):
            return taken.events
        dispatch.claim = taken
        with holding(keys, taken):
            events = self._around_all(dispatch)(command)
            if not dispatch.settled:  # a middleware has answered without calling next
                keys.settle(taken, (), events)
            return events

    def _idempotency_store(self) -> IdempotencyStore:
        """Where the keys are. It is opened when the first key comes. A bus without an event store has its keys in
        memory, and begins without keys in a fork."""
        keys = self._keys
        if keys is None or keys[0] != os.getpid():
            with self._lock:
                keys = self._keys
                if keys is None or keys[0] != os.getpid():
                    keys = self._keys = (os.getpid(), opened_keys(self._store, self._keys_expire_s))
        return keys[1]

    def _around_all(self, dispatch: Dispatch) -> Next:
        def handle(command: Any) -> list[Any]:
            return self._handle(command, dispatch)

        call: Next = handle
        for middleware in reversed(self._middleware):
            call = _wrapped(middleware, call)
        return call

    def _handle(self, command: Any, dispatch: Dispatch) -> list[Any]:
        handler = self._handler_of(command)
        self._check(command)
        returned = dispatch.wait(handler(command))
        if dispatch.transaction is not None:
            refuse_sagas(returned)
            if isinstance(dispatch.wait, WaitOnLoop) and dispatch.wait.cancelled:
                raise asyncio.CancelledError
        result = result_of(returned, stream=type(command).__name__, sagas=self._sagas, wait=dispatch.wait)
        batches = [] if self._store is None else [batch_of(each, dispatch.metadata) for each in result.appends]
        if dispatch.claim is not None:
            if dispatch.settled:
                raise CqrsError("a middleware called next again, although the events of the first call are stored")
            assert dispatch.keys is not None, "it has a claim"
            dispatch.keys.settle(dispatch.claim, batches, result.events)
            dispatch.settled = True
        elif dispatch.transaction is not None:
            dispatch.transaction.append(batches)
        elif batches and self._store is not None:
            with self._store.transaction_on({batch.stream for batch in batches}) as transaction:
                for batch in batches:
                    transaction.append_encoded(batch.stream, batch.events, batch.expected_version)
        return result.events

    def _handler_of(self, command: Any) -> Handler:
        handler = self._handlers.get(type(command))
        if handler is None:
            raise HandlerNotFoundError(
                f"no handler is registered for {type(command).__qualname__}: decorate one with"
                f" @bus.handles({type(command).__qualname__})"
            )
        return handler

    def _check(self, command: Any) -> None:
        errors: list[FieldError] = []
        for check in self._checks.get(type(command), ()):
            try:
                errors.extend(check(command) or ())
            except ValidationError as error:
                errors.extend(error.errors)
        if errors:
            raise ValidationError(errors)


def _wrapped(middleware: Middleware, call: Next) -> Next:
    return lambda command: middleware(command, call)


def _check_type(command_type: Any) -> None:
    if not isinstance(command_type, type):
        raise CqrsError(f"{short(command_type)} is not a class: pass the class of the commands")


def _check_sync(function: Any, what: str) -> None:
    if not callable(function) or is_async(function):
        raise CqrsError(f"{short(function)} can't be {what}: pass a function that is not async")
