"""What a call of user code gave back, read to its end: awaited, and with its events in a list.

This is done within the call, under its limits and its cancellation: a generator is user code that has yet to run.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Coroutine, Iterable, Mapping
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from antistrophe.definition.events import event_key
from antistrophe.errors import InDoubtError, InvalidResultError
from antistrophe.exception_text import name_and_text
from antistrophe.serialization.type_hints import short

if TYPE_CHECKING:  # asyncio takes a tenth of the import of the whole library, and only calls need it
    import asyncio

MOST_EVENTS = 1_000_000
"""How many events are read from what can't tell its length. A result of that many is over every limit of its size."""


def finished(returned: Any) -> Any:
    """What the call gave back, or a coroutine that gives it once it is awaited. Events that are made as they are read
    come in a list.

    Raises InDoubtError where reading them raises: the call has returned by then.
    """
    cls = type(returned)
    if returned is None or cls is list or cls is tuple:
        return returned
    # Only the class is asked: what an object says of itself is user code, too.
    if issubclass(cls, Awaitable) or (cls is GeneratorType and inspect.isawaitable(returned)):
        return _awaited(returned)
    if issubclass(cls, AsyncIterable) and event_key(cls) is None:
        return _collected(returned)
    return _with_its_events(returned)


def is_iterable_of_events(cls: type) -> bool:
    """Whether objects of this class are taken as an iterable of events. A text, a mapping, a named tuple and an event
    are not, although they can be iterated over."""
    return (
        issubclass(cls, Iterable)
        and not issubclass(cls, str | bytes | bytearray | memoryview | Mapping)
        and not (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        and event_key(cls) is None
    )


def read_events(events: Iterable[object]) -> list[object]:
    """The events, up to the first object that is none: its class is what the error is about, not what follows it.

    Raises InvalidResultError where there is no end to them, and whatever the iterable raises.
    """
    read: list[object] = []
    for each in events:
        read.append(each)
        if event_key(type(each)) is None:
            break
        _check_count(read, events)
    return read


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    returned = await awaitable
    cls = type(returned)
    if returned is None or cls is list or cls is tuple:
        return returned
    if issubclass(cls, AsyncIterable) and event_key(cls) is None:
        return await _collected(returned)
    return _with_its_events(returned)


def _with_its_events(returned: Any) -> Any:
    if not is_iterable_of_events(type(returned)):
        return returned
    try:
        return read_events(returned)
    except _caught() as error:
        raise _unread(error) from error


async def _collected(events: AsyncIterable[object]) -> list[object]:
    read: list[object] = []
    try:
        async for each in events:
            read.append(each)
            if event_key(type(each)) is None:
                break
            _check_count(read, events)
    except _caught() as error:
        raise _unread(error) from error
    return read


def _caught() -> tuple[type[BaseException], ...]:
    import asyncio

    return (Exception, asyncio.CancelledError)


def _check_count(read: list[object], events: object) -> None:
    if len(read) > MOST_EVENTS:
        raise InvalidResultError(
            f"{short(events)} gives more than {MOST_EVENTS:,} events: return a list of those that happened"
        )


def _unread(error: BaseException) -> InDoubtError:
    return InDoubtError(f"it has returned, but its events can't be read: {name_and_text(error)}")


def run_to_end(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Any]) -> Any:
    """What the task of a call returns or raises. Raises InDoubtError where the loop ends before the task does: nobody
    knows how far the call got."""
    try:
        return loop.run_until_complete(task)
    except RuntimeError as error:
        if task.done():
            raise
        raise InDoubtError(f"the step has ended its event loop before it was done ({error})") from error


def run_coroutine(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What the coroutine of a call returns, on an event loop of its own."""
    import asyncio

    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        return run_to_end(loop, loop.create_task(coroutine))
