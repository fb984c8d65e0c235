"""The settings of an actor system: every limit and time that a user may choose.

Beside each field of Settings stands an Allowed: what the setting means, and which values it takes. The checks, the
error texts, config/default.toml and docs/reference/settings.md all come from there.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from antistrophe.errors import InvalidSettingsError

ORIGIN = "origin"
"""The name under which the origin of settings travels beside them."""

_DAY_S = 86_400
_STEP_PROCESSES_PER_CORE = 4


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


class SettingsWarning(UserWarning):
    """A system that runs already has other settings than those that were given, which have no effect."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a setting means (``says``), its ``unit``, and the values that it takes.

    The values are numbers from ``low`` to ``high``, whole ones where ``whole`` is True, or else one of ``words``, or
    with ``hook`` a function's name or a command. An ``optional`` setting may be None.
    """

    says: str
    unit: str = ""
    low: float = 0
    high: float = 0
    whole: bool = False
    words: tuple[str, ...] = ()
    optional: bool = False
    hook: bool = False

    def text(self) -> str:
        """The values in words: ``a whole number from 1 to 8``."""
        if self.hook:
            return 'a function as "module:function", or the words of a command as a list'
        if self.words:
            return "one of " + ", ".join(f'"{word}"' for word in self.words)
        return f"{'a whole number' if self.whole else 'a number'} from {self.low:g} to {self.high:.10g}"

    def admits(self, value: object) -> bool:
        """Whether the setting takes this value."""
        if value is None:
            return self.optional
        if self.hook:
            return _is_hook(value)
        if self.words:
            return value in self.words
        kinds = int if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            return False
        return self.low <= value <= self.high


def _setting(default: object, says: str, **rest: Any) -> Any:
    return field(default=default, metadata={"allowed": Allowed(says, **rest)})


def _count(default: int | None, says: str, *, low: int, high: int, unit: str = "") -> Any:
    return _setting(default, says, unit=unit, low=low, high=high, whole=True, optional=default is None)


def _seconds(default: float | None, says: str, *, low: float = 0, high: float = _DAY_S) -> Any:
    return _setting(default, says, unit="seconds", low=low, high=high, optional=default is None)


def _word(default: str, says: str, *words: str) -> Any:
    return _setting(default, says, words=words)


class _WithOrigin:
    """A place beside the fields, for where their values come from: it is no setting."""

    __slots__ = ("_origin",)


@dataclass(frozen=True, slots=True)
class Settings(_WithOrigin):
    """The settings of one actor system. Who starts the system decides them; who attaches takes them as they are.

    ::

        settings = Settings(max_step_processes=8, drain_s=10)
        with SagaOrchestrator("/var/lib/bank", settings=settings) as orchestrator: ...

    Every field has a default, and a field in seconds or bytes says so in its name. A wrong value raises
    InvalidSettingsError, which names all wrong values at once. What each field means is beside the field, in
    ``Settings.described()`` and in docs/reference/settings.md.
    """

    max_payload_bytes: int = _count(
        1 << 20,
        "The largest input, output or list of events of a step, as encoded.",
        unit="bytes",
        low=1 << 10,
        high=1 << 26,
    )
    max_running_sagas: int = _count(
        32,
        "Sagas at work at the same time; more sagas are accepted, and wait. Where all places are taken, up to as many"
        " that compensate are at work beside them.",
        low=1,
        high=100_000,
    )
    max_step_processes: int | None = _count(
        None,
        "Step processes at the same time; not set: 4 for each core. From 2 on no name of sagas takes the last one; from"
        " 4 on one is left to compensations.",
        low=1,
        high=4_096,
    )
    max_async_processes: int | None = _count(
        None,
        "Processes that make the calls of `async def` steps, many at a time; not set: 1 for each core.",
        low=1,
        high=256,
    )
    async_calls_per_process: int = _count(
        1_000, "Calls of `async def` steps at the same time in one process.", low=1, high=10_000
    )
    loop_block_s: float = _seconds(
        5.0,
        "How long a call of an `async def` step may block the event loop that it shares while other calls wait there;"
        " then it is ended with its process.",
        low=0.5,
    )
    spare_processes: int = _count(
        2,
        'Step processes that are started in advance, once a step with `isolation = "fresh"` has taken one;'
        " one place of max_step_processes is always left to others.",
        low=0,
        high=256,
    )
    drain_s: float = _seconds(5.0, "How long a stopping system lets running attempts finish before it ends them.")
    open_timeout_s: float = _seconds(
        30.0,
        "How long opening a home waits for a system that starts there; one that stops may take its drain_s beside.",
        low=0.1,
    )
    reattach_s: float = _seconds(30.0, "How long a waiting call looks for a system that went away and may come back.")
    start_timeout_s: float = _seconds(
        30.0, "How long a process of the system may take to start, the import of a step's code included.", low=0.1
    )
    synchronous: Literal["FULL", "NORMAL"] = _word(
        "FULL",
        "What a commit waits for: FULL survives a power loss; NORMAL survives every crash of a process, but may lose"
        " the last commits in a power loss.",
        "FULL",
        "NORMAL",
    )
    max_restarts: int = _count(
        5,
        "How often the system starts one of its own actors again within restart_window_s; after that it starts anew as"
        " a whole.",
        low=0,
        high=1_000,
    )
    restart_window_s: float = _seconds(10.0, "The time in which max_restarts are counted.", low=0.1)
    idle_process_s: float = _seconds(60.0, "How long a step process without work is kept for the next attempt.")
    saga_hosts: int = _count(1, "Processes that the saga actors live in.", low=1, high=64)
    report_s: float = _seconds(
        0.05, "How long changes may be gathered before the registry is told of them.", low=0, high=60
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = _word(
        "INFO", "The least important records that are logged.", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"
    )
    log_bytes: int = _count(
        10 << 20,
        "The size at which a log is moved to NAME.1, in the place of an earlier one; of what is printed outside of"
        " steps, so much is logged in 10 s, and the rest is dropped.",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    log_format: Literal["text", "json"] = _word(
        "text", "The form of a line in system.log and launcher.log: text, or one JSON object.", "text", "json"
    )
    step_log_bytes: int = _count(
        64 << 20,
        "How much is kept of what steps log and print; when so much is there, the older half goes. An attempt may say a"
        " 64th of it at once, and as much again in each 16 s; the rest is dropped, and its size told.",
        unit="bytes",
        low=1 << 20,
        high=1 << 40,
    )
    retain_finished_s: float | None = _seconds(
        None,
        "How long the record of a completed or compensated saga is kept; then it is purged, beside the work. Its id"
        " stays known. Not set: for ever.",
        high=1e10,
    )
    retain_finished: int | None = _count(
        None,
        "How many completed and compensated sagas are kept, those that finished last; the records of others are purged."
        " Not set: all.",
        low=0,
        high=1 << 53,
    )

    on_parked: str | tuple[str, ...] | None = _setting(
        None,
        'What is told of each parked saga, so that people hear of it: a function as "module:function", which is called'
        ' with a dict, or the words of a command as a list, ["notify", "--all"], which reads JSON. Not set: nothing.',
        optional=True,
        hook=True,
    )

    def __post_init__(self) -> None:
        if isinstance(self.on_parked, list):  # as TOML has it
            object.__setattr__(self, "on_parked", tuple(self.on_parked))
        described = Settings.described()
        problems = [
            f"{name} must be {allowed.text()}, not {_short(getattr(self, name))}"
            for name, allowed in described.items()
            if not allowed.admits(getattr(self, name))
        ]
        if problems:
            raise InvalidSettingsError("; ".join(problems))
        for name, allowed in described.items():
            value = getattr(self, name)
            if allowed.unit == "seconds" and value is not None:  # 5 and 5.0 must travel as the same
                object.__setattr__(self, name, float(value))

    @property
    def step_processes(self) -> int:
        """``max_step_processes``, or where it is not set, 4 for each core that this process may use."""
        if self.max_step_processes is not None:
            return self.max_step_processes
        return _STEP_PROCESSES_PER_CORE * cores()

    @property
    def async_processes(self) -> int:
        """``max_async_processes``, or where it is not set, 1 for each core that this process may use."""
        return self.max_async_processes or cores()

    @staticmethod
    def described() -> dict[str, Allowed]:
        """What each setting means and which values it takes, by name, in the order of the fields."""
        return {each.name: each.metadata["allowed"] for each in fields(Settings)}

    @property
    def origin(self) -> str:
        """The values that were read from a file, each with its file, as JSON."""
        return getattr(self, "_origin", "{}")

    def with_origin(self, origin: str) -> Settings:
        """The same settings, with that ``origin``."""
        twin = copy.copy(self)
        object.__setattr__(twin, "_origin", origin)
        return twin

    def sources(self) -> dict[str, str]:
        """Where the value of each setting comes from, by name: ``"default"``, ``"argument"``, or the path of the file
        that it was read from."""
        defaults, read = Settings(), json.loads(self.origin)
        found = {}
        for name in Settings.described():
            value = getattr(self, name)
            of_file = read.get(name)
            if of_file is not None and of_file[0] == (list(value) if isinstance(value, tuple) else value):
                found[name] = str(of_file[1])
            else:
                found[name] = "default" if value == getattr(defaults, name) else "argument"
        return found

    def differences(self, others: Settings) -> dict[str, tuple[object, object]]:
        """The settings in which these differ from others, by name: the value here, and the other one."""
        pairs = {name: (getattr(self, name), getattr(others, name)) for name in Settings.described()}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Settings:
        """Read a TOML profile: ``name = value`` lines without tables. A setting that is not named keeps its default.

        Raises InvalidSettingsError, which names the file and every wrong key, where the file is missing, is not TOML,
        or has an unknown key or a value that is not allowed.
        """
        profile = _read(Path(path))
        unknown = [_unknown(name, value) for name, value in profile.items() if name not in Settings.described()]
        if unknown:
            raise InvalidSettingsError(f"{path}: {'; '.join(unknown)}")
        try:
            settings = Settings(**profile)
            place = str(Path(path).absolute())
            return settings.with_origin(
                json.dumps({name: [value, place] for name, value in profile.items()}, default=str)
            )
        except InvalidSettingsError as error:
            raise InvalidSettingsError(f"{path}: {error}") from None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidSettingsError(f"{path}: can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidSettingsError(f"{path}: is not UTF-8, and TOML must be: {error}") from error
    except (ValueError, RecursionError) as error:  # too long a number, or too deep a nesting, is no TOMLDecodeError
        raise InvalidSettingsError(f"{path}: is not TOML: {error}") from error


def _is_hook(value: object) -> bool:
    if isinstance(value, str):
        module, _, name = value.partition(":")
        return all(part.isidentifier() for part in (*module.split("."), *name.split(".")))
    words = value if isinstance(value, tuple) else ()
    return bool(words and words[0]) and all(isinstance(word, str) and "\0" not in word for word in words)


def _short(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # the number has more digits than Python writes
        return f"a {type(value).__name__} that is too long to show"


def _unknown(name: str, value: object) -> str:
    names = list(Settings.described())
    if isinstance(value, Mapping):
        return f"table {reprlib.repr(name)}: a profile has no tables, only lines `name = value`"
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(names)}"
    return f"there is no setting {reprlib.repr(name)}: {hint}"
