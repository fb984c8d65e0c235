"""What the modules above ask of an open database, whichever of the two it is: SQLite or PostgreSQL.

Their SQL has ``?`` for values and names tables without a schema. Where the two differ in what they understand, a module
asks for the ``kind``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Kind: TypeAlias = Literal["sqlite", "postgresql"]
Questions: TypeAlias = Generator[tuple[str, Sequence[Any]], list[Any], T]
"""What is asked of a database, one statement with its values after the other, where each may depend on the rows of the
ones before; and what comes of them. So the same questions can be asked on any connection, one of asyncio too."""


def answered(questions: Questions[T], ask: Callable[[str, Sequence[Any]], list[Any]]) -> T:
    """Ask them one by one, and return what comes of them. ``ask`` returns the rows of a statement."""
    try:
        question = next(questions)
        while True:
            question = questions.send(ask(*question))
    except StopIteration as ended:
        result: T = ended.value
        return result


def is_encodable(value: object) -> bool:
    """Whether the value is a text that can be written in UTF-8."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


class Written(Protocol):
    """What a statement without rows has done."""

    @property
    def rowcount(self) -> int:
        """How many rows it has written."""


class SqlDatabase(Protocol):
    """One open connection. Any number of threads may share it, and they wait for each other. A fork may not use it.

    Every method raises JournalError when the database fails. A violated constraint stays the driver's IntegrityError.
    """

    commits: int
    commits_s: float

    @property
    def kind(self) -> Kind:
        """Which of the two databases this is."""

    @property
    def where(self) -> str:
        """The place of the database, for messages. It tells no secret."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on this connection."""

    @property
    def in_own_transaction(self) -> bool:
        """Whether the transaction that is open on this connection is one of this thread or task."""

    def holds(self, text: object) -> bool:
        """Whether the database can store this value as a text. What a caller asks for may be anything."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Return all rows of one query, as tuples."""

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """Return the first row of one query, or None."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Written:
        """Run one statement that returns no rows. Outside a ``transaction`` the statement is committed by itself."""

    def execute_many(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        """Run one statement for each row. Call this within a ``transaction``."""

    def transaction(self) -> AbstractContextManager[Any]:
        """Open a transaction. The end commits everything, an exception nothing."""

    def share(self, transaction: AbstractContextManager[Any] | None) -> None:
        """Let every later ``transaction`` take part in this one. None gives each its own transaction again."""

    def begin(self) -> None:
        """Open a transaction. Other threads wait until it ends."""

    def end(self, *, commit: bool) -> None:
        """End the transaction."""

    def one_moment(self) -> AbstractContextManager[None]:
        """Have all queries within see the database as it is at the first of them."""

    def confirm(self) -> None:
        """Return once what could be read here before is as safe as what is committed."""

    def close(self) -> None:
        """Close the connection. A second call does nothing."""


class Transacts(Protocol):
    """The part of a database that opens and ends a transaction."""

    def begin(self) -> None:
        """Open a transaction."""

    def end(self, *, commit: bool) -> None:
        """End it."""


D = TypeVar("D", bound=Transacts)


class UnsharedTransaction(Generic[D]):
    """The context manager of ``transaction`` where it is shared with nobody. It holds no state, so one object serves
    every transaction of a database."""

    __slots__ = ("_database",)

    def __init__(self, database: D) -> None:
        self._database = database

    def __enter__(self) -> D:
        self._database.begin()
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._database.end(commit=kind is None)
