"""The script of an application in a step process: loaded without its guarded part, and ``__main__`` from then on.

So what other processes rely on is as in the script itself: the classes and functions that it defines say that they are
of ``__main__``, where pickles look for them, and a process that ``multiprocessing`` starts loads the script again.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from antistrophe.serialization.program import MAIN

SCRIPT_MODULE = "__antistrophe_main__"
"""The name of the script while it is loaded. It is not ``__main__``, so the guarded part does not run."""

_NAMES = (MAIN, SCRIPT_MODULE, "__mp_main__")
"""Where others look for the script. ``multiprocessing`` calls it by the last one in the processes that it starts."""


def become_script(script: str) -> None:
    """Run the script as a module of another name than ``__main__``, and make it ``__main__`` then. Lets every exception
    of the script through.

    The module is in ``sys.modules`` before it runs, because dataclasses look there for what their annotations mean. The
    script is compiled anew: a cached .pyc compares whole seconds, so it would miss an edit within the same second.
    """
    module = ModuleType(SCRIPT_MODULE)
    module.__file__ = script
    before = {name: sys.modules.get(name) for name in _NAMES}
    sys.modules.update(dict.fromkeys(_NAMES, module))
    try:
        exec(compile(Path(script).read_bytes(), script, "exec", dont_inherit=True), module.__dict__)
    except BaseException:
        for name, known in before.items():
            if known is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = known
        raise
    module.__name__ = MAIN
    for each in _defined_in(vars(module), set()):
        try:
            each.__module__ = MAIN
        except Exception:  # a class of the user's may refuse it
            continue


def become_no_script() -> None:
    """Have no script be ``__main__``: a process that ``multiprocessing`` starts would load that of the launcher."""
    sys.modules.update(dict.fromkeys(_NAMES, ModuleType(MAIN)))


def _defined_in(namespace: Any, seen: set[int]) -> Iterator[Any]:
    """What says that it was defined while the script was loaded: functions, classes, and what stands in these."""
    for value in [*namespace.values()]:
        found = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if id(found) in seen or not _says_so(found):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, type):
            yield from _defined_in(vars(found), seen)


def _says_so(value: Any) -> bool:
    """Whether that is the object's own word, and not the word of its class."""
    if inspect.isfunction(value):
        return value.__module__ == SCRIPT_MODULE
    try:
        return bool(vars(value).get("__module__") == SCRIPT_MODULE)
    except Exception:  # it has no attributes of its own, or they are user code
        return False
