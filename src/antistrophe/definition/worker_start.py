"""``@on_worker_start``: functions that make what lives as long as a step process, and ``ctx.worker``, which has it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any, TypeAlias, TypeVar, overload

from antistrophe.errors import InvalidStepError, ResourceNotFoundError
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.type_hints import short

F = TypeVar("F", bound=Callable[..., Any])

ResourceKey: TypeAlias = tuple[str, str]
"""The module of a function under ``@on_worker_start``, and its name there."""

CLOSE_S = 2.0
"""How long a process that is retired has for closing what was made there; then it is killed."""


@dataclass(frozen=True, slots=True)
class WorkerStart:
    """A function under ``@on_worker_start``, and the name of what it makes."""

    name: str
    function: Callable[[], Any]

    @property
    def module(self) -> str:
        """The module of the function. A script has another name while it is loaded."""
        return self.function.__module__

    @property
    def key(self) -> ResourceKey:
        """How it is told from all others of this process."""
        return self.module, self.name


_registered: dict[ResourceKey, WorkerStart] = {}


@overload
def on_worker_start(function: F, /) -> F: ...
@overload
def on_worker_start(name: str, /) -> Callable[[F], F]: ...
@overload
def on_worker_start(*, name: str | None = None) -> Callable[[F], F]: ...
def on_worker_start(function: Any = None, /, *, name: str | None = None) -> Any:
    """Have a function run once in each step process that imports its module, before the first attempt there.

    ::

        @on_worker_start
        async def client():
            async with httpx.AsyncClient() as client:
                yield client

        class Fetch(SagaStep):
            async def execute(self, ctx):
                await ctx.worker["client"].get("https://example.org")

    The function takes no argument; it may be ``async def``, and may yield once. What it returns or yields is
    ``ctx.worker[name]`` for every attempt in that process; the name is the function's unless given:
    ``@on_worker_start("db")``. Threads, tasks and processes that it starts belong to the process, not to an attempt.
    Where it raises, the sagas that need its module wait, with the reason.

    What it made is closed when the process ends without being killed: a generator goes on after its ``yield``, a
    context manager is left, of other objects ``aclose()`` or ``close()`` is called. Raises InvalidStepError above
    anything but a function without required parameters, and for a name that is taken in its module.
    """
    if isinstance(function, str):
        function, name = None, function
    if function is not None:
        return _register(function, None)
    return lambda function: _register(function, name)


def _register(function: F, name: str | None) -> F:
    if not inspect.isfunction(function):
        raise InvalidStepError(f"@on_worker_start stands above a function, not above {short(function)}")
    needed = [
        each.name
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if needed:
        raise InvalidStepError(
            f"{function.__qualname__} has the parameters {', '.join(needed)}, and @on_worker_start calls it without "
            "any: have it read what it needs from the environment or from its module"
        )
    if name is not None and (not isinstance(name, str) or not name):
        raise InvalidStepError(f"@on_worker_start takes a name that is a text, not {name!r}")
    start = WorkerStart(name or function.__name__, function)
    known = _registered.get(start.key)
    # A module that is loaded again defines its functions again.
    if known is not None and getattr(known.function, "__qualname__", None) != function.__qualname__:
        raise InvalidStepError(
            f"two functions under @on_worker_start in {start.module} are called {start.name!r}: give one of them "
            'another name, as in @on_worker_start("other")'
        )
    _registered[start.key] = start
    return function


def worker_starts() -> list[WorkerStart]:
    """The functions under ``@on_worker_start`` of all modules that this process has imported, in order of import."""
    return [*_registered.values()]


def worker_starts_reached(modules: Iterable[str]) -> list[WorkerStart]:
    """Those that a process would have imported with these modules: their own, and those of the modules whose names, or
    the names of whose functions and classes, stand in them."""
    wanted = {start.module for start in _registered.values()}
    seen: set[str] = set()
    todo = [*modules]
    while todo and not wanted <= seen:
        name = todo.pop()
        module = sys.modules.get(name)
        if module is None or name in seen or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        # The packages that hold it were imported, too; what else stands in them was not, for all that is known.
        seen |= {name, *(name[:end] for end, each in enumerate(name) if each == ".")}
        todo += {_module_of(value) for value in [*vars(module).values()]}
    return [start for start in _registered.values() if start.module in seen]


def _module_of(value: object) -> str:
    try:
        found = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    except Exception:  # a value of the user's may raise anything
        return ""
    return found if isinstance(found, str) else ""


class Worker(Mapping[str, Any]):
    """What the functions under ``@on_worker_start`` have made in this process, by name: ``ctx.worker["client"]``.

    Where two modules have a function of that name, a step gets what its own module's has made. Raises
    ResourceNotFoundError, which is a KeyError.
    """

    __slots__ = ("_made", "_module")

    def __init__(self, made: Mapping[ResourceKey, Any] | None = None, module: str = "") -> None:
        self._made = {} if made is None else made
        self._module = module

    def seen_from(self, module: str) -> Worker:
        """The same, for a step of that module."""
        return Worker(self._made, module)

    def __getitem__(self, name: str) -> Any:
        if (self._module, name) in self._made:
            return self._made[self._module, name]
        modules = [module for module, known in self._made if known == name]
        if len(modules) == 1:
            return self._made[modules[0], name]
        if modules:
            raise ResourceNotFoundError(
                f"the functions under @on_worker_start that are called {name!r} stand in {' and '.join(modules)}, and "
                f"none in {self._module}: give them names that differ"
            )
        there = ", ".join(map(repr, self)) or "none"
        raise ResourceNotFoundError(
            f"no function under @on_worker_start has made {name!r} in this process: there is none of that name, or its "
            f"module was imported while an attempt ran; import it at the top of the step's module. There is: {there}"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for _, name in self._made))

    def __len__(self) -> int:
        return len({name for _, name in self._made})

    def __repr__(self) -> str:
        return f"Worker({', '.join(self)})"
