"""The program that this process runs: the namespace of its script, whoever runs the script.

A profiler or tracer may be ``__main__`` itself and run the script in a namespace of its own, which also says that it is
``__main__``: ``python -m cProfile script.py``, ``python -m trace``, kernprof. What the script defines is looked for
there, then.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

MAIN = "__main__"


def program_namespace() -> Mapping[str, Any]:
    """The namespace of the script: of the innermost code of the main thread that says it is ``__main__``."""
    return _running() or vars(sys.modules[MAIN])


def namespace_of(definition: Any) -> Mapping[str, Any] | None:
    """The namespace of the script that defines this class or function, which says that it is of ``__main__``; None
    where no such namespace has it under its name."""
    return next(
        (each for each in _namespaces(definition) if found_in(each, definition.__qualname__) is definition), None
    )


def found_in(namespace: Mapping[str, Any], qualname: str) -> Any:
    """What stands under that name in a namespace, or None."""
    first, *rest = qualname.split(".")
    found = namespace.get(first)
    for part in rest:
        found = getattr(found, part, None)
    return found


def hints_of(cls: Any, *, include_extras: bool = False) -> dict[str, Any]:
    """``typing.get_type_hints`` of a class, which looks into ``sys.modules`` for the names in its annotations."""
    namespace = namespace_of(cls) if cls.__module__ == MAIN else None
    if namespace is None or namespace is vars(sys.modules[MAIN]):
        return get_type_hints(cls, include_extras=include_extras)
    hints = get_type_hints(cls, localns=dict(namespace), include_extras=include_extras)
    # cattrs looks into ``sys.modules`` too, but not where the fields know their types already.
    for field in (*getattr(cls, "__dataclass_fields__", {}).values(), *getattr(cls, "__attrs_attrs__", ())):
        if isinstance(field.type, str) and field.name in hints:
            object.__setattr__(field, "type", hints[field.name])
    return hints


def _namespaces(definition: Any) -> Iterator[Mapping[str, Any]]:
    yield vars(sys.modules[MAIN])
    running = _running()
    if running is not None:
        yield running
    parts = vars(definition).values() if hasattr(definition, "__dict__") else ()
    inner = [each for part in parts if isinstance(part, Mapping) for each in part.values()]
    for part in (definition, *parts, *inner):
        function = part.__func__ if isinstance(part, staticmethod | classmethod) else part
        namespace = getattr(function, "__globals__", None)
        if isinstance(namespace, dict) and namespace.get("__name__") == MAIN:
            yield namespace


def _running() -> Mapping[str, Any] | None:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None and frame.f_globals.get("__name__") != MAIN:
        frame = frame.f_back
    return None if frame is None else frame.f_globals
