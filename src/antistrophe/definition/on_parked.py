"""What is run for a parked saga where the setting ``on_parked`` is given: a saga of one step, which tells people.

It is a saga like any other. So it is durable, runs in a step process, is ended when it hangs, is retried, and shows in
every list how it went.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from antistrophe.definition.result import run_coroutine
from antistrophe.definition.saga_definition import SagaDefinition
from antistrophe.definition.spec import Origin, RetryPolicy, SagaSpec
from antistrophe.definition.step import SagaStep
from antistrophe.definition.validation import LONGEST_NAME
from antistrophe.errors import FatalError

NAME: Final = "antistrophe.on_parked"
"""The name of the sagas that tell of parked ones."""

ID_BEGINS: Final = "on_parked:"

LONGEST_ERROR = 10_000
"""How many characters of the error are told."""


class HookFailedError(Exception):
    """The hook has not told of the parked saga."""


@dataclass(frozen=True)
class TellParked(SagaStep):
    """Runs the hook: a function, named ``module:function``, or the words of a command.

    ``parked_at`` is in seconds since the epoch. It may run more than once: after a crash, and after a failure.
    """

    hook: str | tuple[str, ...]
    saga_id: str
    saga_name: str
    failed_step: str
    error: str
    parked_at: float

    class Options:
        name = "tell"
        timeout_s = 30.0
        kill_grace_s = 2.0
        retry = RetryPolicy(max_attempts=10, initial_s=1.0, multiplier=4.0, max_s=600.0, jitter=True)
        idempotent = True
        requires_compensation = False

    def execute(self) -> None:
        told = {
            "saga_id": self.saga_id,
            "name": self.saga_name,
            "step": self.failed_step,
            "error": self.error,
            "age_s": round(max(0.0, time.time() - self.parked_at), 3),
            "parked_at": datetime.fromtimestamp(self.parked_at, UTC).isoformat(),
            "home": os.environ.get("ANTISTROPHE_HOME", ""),
        }
        if isinstance(self.hook, str):
            _call(self.hook, told)
        else:
            _run(self.hook, told)


def id_of(saga_id: str, seq: int) -> str:
    """The id of the saga that tells of the parking that entry ``seq`` of a saga has journaled."""
    told = f"{ID_BEGINS}{seq}:{saga_id}"
    if len(told) <= LONGEST_NAME:
        return told
    return f"{ID_BEGINS}{seq}:{hashlib.sha256(saga_id.encode()).hexdigest()}"


def spec_of(tell: TellParked, seq: int, origin: Origin) -> SagaSpec:
    """The saga that tells of a parked one. Its ``origin`` is that of the parked saga, where the hook's module is, too.

    One at a time: a hook that hangs takes one place, however many sagas are parked.
    """
    definition = SagaDefinition(id_of(tell.saga_id, seq), name=NAME, max_concurrent=1, priority=-1_000)
    return replace(definition.add_step(tell).spec(), origin=origin)


def _call(hook: str, told: Mapping[str, Any]) -> None:
    module_name, _, name = hook.partition(":")
    try:
        function: Any = importlib.import_module(module_name)
        for part in name.split("."):
            function = getattr(function, part)
    except (ImportError, AttributeError) as error:
        raise HookFailedError(
            f'on_parked = "{hook}" can\'t be loaded: {error}. Its module is to be where the parked saga has its code'
        ) from error
    if not callable(function):
        raise FatalError(f'on_parked = "{hook}" names {type(function).__name__}, which can\'t be called')
    result = function(told)
    if inspect.iscoroutine(result):
        run_coroutine(result)


def _run(command: tuple[str, ...], told: Mapping[str, Any]) -> None:
    """Run the command with the JSON at its standard input. What it prints is logged as what a step prints."""
    try:
        done = subprocess.run(command, input=json.dumps(told) + "\n", text=True, check=False)
    except (OSError, ValueError) as error:
        raise HookFailedError(f"the command {command[0]!r} of on_parked can't be run: {error}") from error
    if done.returncode < 0:
        raise HookFailedError(f"the command {command[0]!r} of on_parked was ended by signal {-done.returncode}")
    if done.returncode > 0:
        raise HookFailedError(f"the command {command[0]!r} of on_parked ended with exit code {done.returncode}")
