"""Idempotency keys: one handler at a time runs for a key, and its answer is the answer for that key.

A key is claimed first, then its handler runs. Then the events, the answer and the key are committed together. A handler
that fails gives its claim up. The claim of a process that died is taken over; `claim_owner` says how that is known.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
import uuid
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

from antistrophe.definition.validation import is_text
from antistrophe.errors import CqrsError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.payload import pack_fields

_log = logging.getLogger("antistrophe.cqrs")

KEYS_EXPIRE_S = 7 * 86_400.0
"""How long an answer is remembered, unless the bus says otherwise."""

_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded events for one stream."""

    stream: str
    events: Sequence[NewEvent]
    expected_version: int | None


@dataclass(frozen=True, slots=True)
class KeyedCommand:
    """A command that came with an idempotency key.

    ``fingerprint`` is the same for the same bytes of fields, and may differ where only the values are the same. Then
    the packed ``fields`` are compared, with the command's class.
    """

    key: str
    command_type: str
    fingerprint: bytes
    fields: bytes = b""
    cls: type | None = None

    @staticmethod
    def of(command: Any, key: str) -> KeyedCommand:
        """Raises ValueError for a key that is no text, is empty or can't be stored, and NotSerializableError for a
        command whose fields can't be stored."""
        if not isinstance(key, str) or not key:
            raise ValueError(f"an idempotency key must be a text of at least one character, not {key!r}")
        if not is_text(key):
            raise ValueError(f"an idempotency key with a lone surrogate can't be stored: {key!a}")
        cls = type(command)
        name = cls.__name__
        fields = pack_fields(command, cls, what=f"command {name}")
        return KeyedCommand(key, name, fingerprint_of(name, fields), fields, cls)


def fingerprint_of(command_type: str, fields: bytes) -> bytes:
    """The fingerprint of a command of this type with these packed fields."""
    return hashlib.sha256(command_type.encode() + b"\0" + fields).digest()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the handler of a key. No two claims have the same ``token``."""

    command: KeyedCommand
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The events that the handler of a key has answered with."""

    events: list[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """Another handler that still runs has the key: the claim is ``token``, its process ``pid``. None: an open
    transaction has the key, and nobody can see more of it."""

    token: str
    pid: int | None


IN_A_TRANSACTION = Held("", None)
"""A transaction of some application has the key, with a claim or an answer that is not committed."""


class IdempotencyStore(Protocol):
    """Where the keys and their answers are. Any thread may call any method at any time."""

    @property
    def place(self) -> Hashable:
        """A value that is equal for all buses that share their keys."""

    def claim(self, command: KeyedCommand) -> Claim | Answer | Held:
        """Claim the key, or say why not. Raises IdempotencyConflictError if the key was used for another command."""

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """Store the batches, and remember ``events`` as the answer of the key. Both happen or neither. Raises CqrsError
        if the claim is lost."""

    def release(self, claim: Claim) -> None:
        """Forget the claim, unless it is lost or settled."""

    def await_change(self, command: KeyedCommand, held: Held, timeout_s: float) -> None:
        """Wait until the key is free or has its answer. Returns after ``timeout_s`` seconds at the latest, and may
        return early."""


# --- the claims of this process -----------------------------------------------------------------------------------

# By token. The event is set when the claim ends. No lock guards the dict: a fork would copy it locked.
_running: dict[str, threading.Event] = {}
_own: ContextVar[tuple[tuple[Hashable, str, str], ...]] = ContextVar("antistrophe_own_keys", default=())


def new_token() -> str:
    """Make the token of a claim that this process is about to make."""
    token = uuid.uuid4().hex
    _running[token] = threading.Event()
    return token


def runs_here(token: str) -> bool:
    """Whether a handler in this process still runs under the claim.

    A claim that the disk did not let its handler give up does not run any more, and may be taken over.
    """
    return token in _running


def await_end_here(token: str, timeout_s: float) -> None:
    """Wait until the claim has ended, if it is one of this process."""
    running = _running.get(token)
    if running is not None:
        running.wait(timeout_s)


def drop_token(token: str) -> None:
    """End a claim: it is settled or released, or was never made. A second call does nothing."""
    running = _running.pop(token, None)
    if running is not None:
        running.set()


def claim_or_wait(store: IdempotencyStore, command: KeyedCommand, timeout_s: float | None) -> Claim | Answer:
    """Claim the key or get its answer. While another handler of the key runs, wait for that handler.

    Raises TimeoutError after ``timeout_s`` seconds (None: no limit), and CqrsError if the caller is inside the handler
    that it would wait for.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        taken = store.claim(command)
        if not isinstance(taken, Held):
            return taken
        if _is_own(store, command.key, taken):
            raise CqrsError(f"the handler of key {command.key!r} dispatched that key again, and would wait for itself")
        left_s = _LONGEST_WAIT_S if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            whose = "in a transaction that is open" if taken.pid is None else f"by process {taken.pid}"
            raise TimeoutError(
                f"the {command.command_type} with key {command.key!r} is still being handled {whose} after"
                f" {timeout_s:g} s"
            )
        store.await_change(command, taken, left_s)


def _is_own(store: IdempotencyStore, key: str, held: Held) -> bool:
    """Whether the caller is inside the handler of that claim. Where nobody can see which claim it is, it is one of the
    caller's as soon as there is one of that key."""
    return any(
        (place, own_key) == (store.place, key) and held.token in ("", token) for place, own_key, token in _own.get()
    )


@contextmanager
def holding(store: IdempotencyStore, claim: Claim) -> Iterator[None]:
    """Hold the claim while its handler runs. What the handler calls knows whose key it is. A handler that fails gives
    the claim up."""
    mark = _own.set((*_own.get(), (store.place, claim.command.key, claim.token)))
    try:
        yield
    except BaseException:
        _give_up(store, claim)
        raise
    finally:
        _own.reset(mark)
        drop_token(claim.token)


def _give_up(store: IdempotencyStore, claim: Claim) -> None:
    try:
        store.release(claim)
    except Exception as error:
        # The caller has to see what the handler raised, not this. The claim does not run any more, so it is taken over:
        # by this process at once, by other processes when this one has ended.
        _log.warning("the idempotency key %r could not be given up: %s", claim.command.key, error)
