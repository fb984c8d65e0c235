"""The write transactions that the caller has open, so that nothing waits for a lock that it holds itself.

Two things show whose a transaction is. The thread: what blocks the thread that holds the lock waits for ever. And the
context: a task that awaits what another thread does, or hands its context to that thread (``asyncio.to_thread``), holds
the lock meanwhile just as well.
"""

from __future__ import annotations

import os
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import TypeAlias

from antistrophe.errors import RequestError

FileId: TypeAlias = tuple[int, int] | str
"""The device and inode of a file; of a database elsewhere how messages name it."""


class OwnTransaction:
    """A write transaction on a file, open until ``ended`` is called."""

    __slots__ = ("file", "is_open")

    def __init__(self, file: FileId) -> None:
        self.file = file
        self.is_open = True
        _of_thread.transactions = (*_in_thread(), self)
        _of_context.set((*_open(_of_context.get()), self))

    @property
    def is_own(self) -> bool:
        """Whether it is open, and the calling thread or task has opened it."""
        return self.is_open and (self in _in_thread() or self in _of_context.get())

    def ended(self) -> None:
        """The transaction is over. A copy of the context that still has it sees that, too."""
        self.is_open = False
        _of_thread.transactions = _open(_in_thread())
        _of_context.set(_open(_of_context.get()))


Transactions: TypeAlias = tuple[OwnTransaction, ...]

_of_thread = threading.local()
_of_context: ContextVar[Transactions] = ContextVar("antistrophe_own_transactions", default=())


def writes_to(path: Path) -> bool:
    """Whether the calling thread or task has a write transaction open on that file."""
    if not (held := (*_in_thread(), *_open(_of_context.get()))):
        return False
    return file_at(path) in {transaction.file for transaction in held}


def refuse_while_writing(path: Path, what: str) -> None:
    """Raise RequestError where the calling thread or task has a write transaction open on that file, because ``what``
    would have to wait for its end."""
    if writes_to(path):
        raise RequestError(
            f"{what} needs the write lock of {path}, but this thread or task has a transaction open there itself"
            " (`transaction()` of an event store, or `apply_in` of a projection): end the transaction first"
        )


def refuse_beside(place: str, what: str) -> None:
    """Raise RequestError where the calling thread or task has a transaction open on the database of that place, because
    ``what`` could wait for its end."""
    if place in {transaction.file for transaction in (*_in_thread(), *_open(_of_context.get()))}:
        raise RequestError(
            f"{what} on {place} could wait for ever: this thread or task has a transaction open there itself"
            " (`transaction()` of an event store, or `apply_in` of a projection); end that one first"
        )


def file_at(path: str | os.PathLike[str]) -> FileId | None:
    """The device and inode of the file with that name; None where there is none, or nobody can say."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _in_thread() -> Transactions:
    found: Transactions = getattr(_of_thread, "transactions", ())
    return found


def _open(transactions: Transactions) -> Transactions:
    return tuple(each for each in transactions if each.is_open)
