"""What a command handler may return, and which events the bus then answers and stores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from antistrophe.definition.events import event_key
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.errors import CqrsError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.type_hints import short

Wait: TypeAlias = Callable[[Any], Any]
"""Runs an awaitable to its end and returns its result. Returns any other value as it is."""


@dataclass(frozen=True, slots=True)
class Appends:
    """Events for one stream, in order, which a handler returns.

    With ``expected_version`` they are appended only if the stream is at that version (0: empty)::

        return Appends("cart-7", [ItemAdded("book")], expected_version=3)
    """

    stream: str
    events: Sequence[Any]
    expected_version: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.events, Iterable):
            raise TypeError(f"Appends takes its events in a list: [{self.events!a:.200}]")
        object.__setattr__(self, "events", tuple(self.events))


class RunsSagas(Protocol):
    """The part of an orchestrator that the bus uses."""

    def execute(self, saga: SagaDefinition, /, *, if_live: Any) -> Any:
        """Run the saga. With ``if_live="join"``, join the run of it that is on its way. Returns its events, or raises
        its SagaError."""


@runtime_checkable
class StartedSaga(Protocol):
    """The handle of a saga that the handler has started itself."""

    @property
    def id(self) -> str:
        """The saga's id."""

    def result(self) -> Any:
        """Wait for the end of the saga. Returns its events, or raises its SagaError."""


@dataclass(frozen=True, slots=True)
class Result:
    """``events`` are the answer of the dispatch, and ``appends`` is what the bus has to store. That is nothing for a
    saga: its events are in the store before it ends."""

    events: list[Any]
    appends: tuple[Appends, ...] = ()


def result_of(returned: object, *, stream: str, sagas: RunsSagas | None, wait: Wait) -> Result:
    """Read what a handler returned: None, an event or several (for ``stream``), one ``Appends`` or several, the
    definition of a saga, or the handle of a started one. Raises CqrsError for anything else."""
    if returned is None:
        return Result([])
    if isinstance(returned, SagaDefinition):
        return Result(_run(returned, sagas, wait))
    if isinstance(returned, Appends):
        return _to_store((returned,))
    if event_key(type(returned)) is not None:
        return _to_store((Appends(stream, (returned,)),))
    if isinstance(returned, Iterator) or type(returned) in (list, tuple):
        return _of_many(list(returned), stream)  # type: ignore[call-overload]
    if isinstance(returned, StartedSaga):
        return Result(list(wait(returned.result())))
    raise CqrsError(
        f"the handler returned {short(returned)}: return a list of events, Appends(stream, events), a SagaDefinition,"
        " or None"
    )


def refuse_sagas(returned: object) -> None:
    """Raise CqrsError where a handler returned a saga, which would have to end before the transaction around it."""
    if isinstance(returned, SagaDefinition) or (
        event_key(type(returned)) is None and not isinstance(returned, Appends) and isinstance(returned, StartedSaga)
    ):
        raise CqrsError(
            f"the handler returned the saga {returned.id!r}, which can't run before the transaction of connection= has"
            " committed: start it there, with orchestrator.start(saga, connection=connection), and return None or"
            " events"
        )


def _of_many(items: list[Any], stream: str) -> Result:
    appends = tuple(item for item in items if isinstance(item, Appends))
    if not appends:
        return _to_store((Appends(stream, items),)) if items else Result([])
    if len(appends) < len(items):
        raise CqrsError("the handler returned Appends and other things in one list: put every event into an Appends")
    return _to_store(appends)


def _to_store(appends: tuple[Appends, ...]) -> Result:
    return Result([event for each in appends for event in each.events], appends)


def _run(saga: SagaDefinition, sagas: RunsSagas | None, wait: Wait) -> list[Any]:
    if sagas is None:
        raise CqrsError(
            f"the handler returned the saga {saga.id!r}, and this bus has no orchestrator to run it: make the bus with"
            " CommandBus(store, sagas=orchestrator)"
        )
    # Join: a dispatch that is repeated after a crash finds the saga of its first run by its id.
    return list(wait(sagas.execute(saga, if_live="join")))
