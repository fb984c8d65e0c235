"""Idempotency keys: at most one handler runs for a key at a time, and its answer is the answer for that key.

A key is claimed first, then its handler runs, then what is to be stored, the answer and the key are committed
together. A handler that fails gives its claim up; the claim of one that died is taken over.
"""

from __future__ import annotations

import hashlib
import logging
import time
import uuid
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Protocol

from antistrophe.errors import CqrsError, IdempotencyConflictError
from antistrophe.eventstore.backend import NewEvent
from antistrophe.serialization.payload import pack_fields

_log = logging.getLogger("antistrophe.cqrs")

KEYS_EXPIRE_S = 7 * 86_400.0
"""For how long an answer is remembered, unless the bus says otherwise."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Encoded events for one stream."""

    stream: str
    events: Sequence[NewEvent]
    expected_version: int | None


@dataclass(frozen=True, slots=True)
class Request:
    """A command that came with a key; ``fingerprint`` tells one command from another."""

    key: str
    command_type: str
    fingerprint: bytes

    @staticmethod
    def of(command: Any, key: str) -> Request:
        """Raises NotSerializableError for a command whose fields can't be told apart as bytes."""
        if not isinstance(key, str) or not key:
            raise ValueError(f"an idempotency key is a text that is not empty, not {key!r}")
        cls = type(command)
        name = cls.__name__
        fields = pack_fields(command, cls, what=f"command {name}")
        return Request(key, name, hashlib.sha256(name.encode() + b"\0" + fields).digest())


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run the handler of a key. ``token`` is unique for ever."""

    request: Request
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The events that the handler of a key has answered with."""

    events: list[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """Somebody else, who lives, has the key: the holder of ``token``, in process ``pid``."""

    token: str
    pid: int


class Claims(Protocol):
    """Where the keys are. Any thread may call anything at any time."""

    @property
    def place(self) -> Hashable:
        """Equal for all that share their keys."""

    def take(self, request: Request) -> Claim | Answer | Held:
        """Claim the key, or say why not. Raises IdempotencyConflictError where it belongs to another command."""

    def settle(self, claim: Claim, batches: Sequence[Batch], events: Sequence[Any]) -> None:
        """Store the batches and remember ``events`` as the key's answer, both or neither. Raises CqrsError where the
        claim is not held any more."""

    def release(self, claim: Claim) -> None:
        """Forget the claim, where it is still held and not settled."""

    def await_change(self, request: Request, held: Held, timeout_s: float) -> None:
        """Wait until the key may be had or has its answer; comes back early or after ``timeout_s`` as well."""


# --- what runs in this process ------------------------------------------------------------------------------------

_running: set[str] = set()
_own: ContextVar[tuple[tuple[Hashable, str, str], ...]] = ContextVar("antistrophe_own_keys", default=())


def new_token() -> str:
    """A token for a claim that is about to be made by this process."""
    token = uuid.uuid4().hex
    _running.add(token)
    return token


def runs_here(token: str) -> bool:
    """Whether a thread of this process holds the claim. One that could not be given up (the disk failed) is not held
    by anybody."""
    return token in _running


def drop_token(token: str) -> None:
    """The claim is settled, released, or never came to be."""
    _running.discard(token)


def check_command(request: Request, command_type: str, fingerprint: bytes) -> None:
    """Raise IdempotencyConflictError where the key was used for another command than the one that is asked for."""
    if fingerprint != request.fingerprint:
        what = f"another {command_type}" if command_type == request.command_type else f"a {command_type}"
        raise IdempotencyConflictError(
            f"the idempotency key {request.key!r} was used for {what}, not for this {request.command_type}: a key"
            " belongs to one command with all its fields"
        )


def obtain(claims: Claims, request: Request, timeout_s: float | None) -> Claim | Answer:
    """Claim the key or get its answer; where another handler of it runs, wait for that one.

    Raises TimeoutError where it takes longer than ``timeout_s`` seconds (None: no limit), and CqrsError where the
    wait would be for the caller itself.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        taken = claims.take(request)
        if not isinstance(taken, Held):
            return taken
        if any((claims.place, request.key, taken.token) == each for each in _own.get()):
            raise CqrsError(f"the handler of key {request.key!r} dispatched that key again, and would wait for itself")
        left_s = 60.0 if deadline is None else deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(
                f"the {request.command_type} with key {request.key!r} is still being handled by process {taken.pid}"
                f" after {timeout_s:g} s"
            )
        claims.await_change(request, taken, left_s)


@contextmanager
def holding(claims: Claims, claim: Claim) -> Iterator[None]:
    """While the handler runs: what it calls knows whose key that is. A handler that fails gives the claim up."""
    mark = _own.set((*_own.get(), (claims.place, claim.request.key, claim.token)))
    try:
        yield
    except BaseException:
        _give_up(claims, claim)
        raise
    finally:
        _own.reset(mark)
        drop_token(claim.token)


def _give_up(claims: Claims, claim: Claim) -> None:
    try:
        claims.release(claim)
    except Exception as error:
        # What the handler raised is what the caller has to see. Nobody holds the claim now, so it will be taken over:
        # by this process at once, by others when this one has ended.
        _log.warning("the idempotency key %r could not be given up: %s", claim.request.key, error)
