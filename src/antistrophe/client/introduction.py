"""What an application tells the system of itself: where its code is, and the environment that its steps are to see."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from antistrophe.definition.code_loading import origin_of_this_process
from antistrophe.errors import RequestError
from antistrophe.logs.caller_level import LEVEL_VARIABLE, level_of_this_process
from antistrophe.messages import Environment, Introduce

MAX_ENVIRONMENT_BYTES = 16 << 20
"""The kernel lets a program start with less than that."""

_NOT_TAKEN = b"ANTISTROPHE_"

_is_tool: ContextVar[bool] = ContextVar("antistrophe tool", default=False)


@contextmanager
def as_tool() -> Iterator[None]:
    """An orchestrator that is opened within this brings no code, as a verb of the command line: its environment counts
    last. The process may open others as an application does."""
    before = _is_tool.set(True)
    try:
        yield
    finally:
        _is_tool.reset(before)


class Introduction:
    """This process as it is now. What changes later, in ``os.environ`` or elsewhere, is not seen."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._origin = origin_of_this_process()
        self._environment = environment_of_this_process()
        self._brings_code = not _is_tool.get()

    def __call__(self, correlation: str) -> Introduce:
        """The message; never to be logged, because an environment may hold secrets."""
        return Introduce(correlation, self._client_id, self._origin, self._environment, self._brings_code)


def environment_of_this_process() -> Environment:
    """A copy of ``os.environ`` without antistrophe's own variables, and the level from which on this process logs.
    Raises RequestError where it is too large."""
    variables = [(name, value) for name, value in os.environb.items() if name and not name.startswith(_NOT_TAKEN)]
    if (level := level_of_this_process()) is not None:
        variables.append((LEVEL_VARIABLE, b"%d" % level))
    found = tuple(sorted(variables))
    size = sum(len(name) + len(value) + 2 for name, value in found)
    if size > MAX_ENVIRONMENT_BYTES:
        largest = max(found, key=lambda each: len(each[1]))[0]
        raise RequestError(
            f"the environment of this process has {size:,} bytes, and step processes get a copy of at most "
            f"{MAX_ENVIRONMENT_BYTES:,}: {os.fsdecode(largest)!r} is the largest variable; keep it in a file"
        )
    return found
