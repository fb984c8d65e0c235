"""Which settings there are, what each means, and what it is by default."""

from __future__ import annotations

import copy
import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from antistrophe.errors import InvalidSettingsError
from antistrophe.settings.allowed import Allowed, Form, count, is_name, seconds, setting, word
from antistrophe.settings.journal_url import hidden
from antistrophe.settings.profile import read_profile

ORIGIN = "origin"
"""The name under which the origin of settings travels beside them."""

_STEP_PROCESSES_PER_CORE = 4
_LISTS = ("on_parked", "labels")  # TOML and JSON have lists


def cores() -> int:
    """The number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))


class SettingsWarning(UserWarning):
    """A system that runs already has other settings than those that were given, which have no effect."""


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

    max_payload_bytes: int = count(
        1 << 20,
        "The largest input, output or list of events of a step, as encoded.",
        unit="bytes",
        low=1 << 10,
        high=1 << 26,
    )
    max_running_sagas: int = count(
        32,
        "Sagas at work at the same time; more sagas are accepted, and wait. Where all places are taken, up to as many"
        " that compensate are at work beside them.",
        low=1,
        high=100_000,
    )
    max_step_processes: int | None = count(
        None,
        "Step processes at the same time; not set: 4 for each core. From 2 on no name of sagas takes the last one; from"
        " 4 on one is left to compensations.",
        low=1,
        high=4_096,
    )
    max_async_processes: int | None = count(
        None,
        "Processes that make the calls of `async def` steps, many at a time; not set: 1 for each core.",
        low=1,
        high=256,
    )
    async_calls_per_process: int = count(
        1_000, "Calls of `async def` steps at the same time in one process.", low=1, high=10_000
    )
    loop_block_s: float = seconds(
        5.0,
        "How long a call of an `async def` step may block the event loop that it shares while other calls wait there;"
        " then it is ended with its process.",
        low=0.5,
    )
    spare_processes: int = count(
        2,
        'Step processes that are started in advance, once a step with `isolation = "fresh"` has taken one;'
        " one place of max_step_processes is always left to others.",
        low=0,
        high=256,
    )
    drain_s: float = seconds(5.0, "How long a stopping system lets running attempts finish before it ends them.")
    open_timeout_s: float = seconds(
        30.0,
        "How long opening a home waits for a system that starts there; one that stops may take its drain_s beside.",
        low=0.1,
    )
    reattach_s: float = seconds(30.0, "How long a waiting call looks for a system that went away and may come back.")
    start_timeout_s: float = seconds(
        30.0, "How long a process of the system may take to start, the import of a step's code included.", low=0.1
    )
    synchronous: Literal["FULL", "NORMAL"] = word(
        "FULL",
        "What a commit waits for: FULL survives a power loss; NORMAL survives every crash of a process, but may lose"
        " the last commits in a power loss.",
        "FULL",
        "NORMAL",
    )
    max_restarts: int = count(
        5,
        "How often the system starts one of its own actors again within restart_window_s; after that it starts anew as"
        " a whole.",
        low=0,
        high=1_000,
    )
    restart_window_s: float = seconds(10.0, "The time in which max_restarts are counted.", low=0.1)
    idle_process_s: float = seconds(60.0, "How long a step process without work is kept for the next attempt.")
    saga_hosts: int = count(1, "Processes that the saga actors live in.", low=1, high=64)
    report_s: float = seconds(
        0.05, "How long changes may be gathered before the registry is told of them.", low=0, high=60
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = word(
        "INFO", "The least important records that are logged.", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"
    )
    log_bytes: int = count(
        10 << 20,
        "The size at which a log is moved to NAME.1, in the place of an earlier one; of what is printed outside of"
        " steps, so much is logged in 10 s, and the rest is dropped.",
        unit="bytes",
        low=1 << 16,
        high=1 << 40,
    )
    log_format: Literal["text", "json"] = word(
        "text", "The form of a line in system.log and launcher.log: text, or one JSON object.", "text", "json"
    )
    step_log_bytes: int = count(
        64 << 20,
        "How much is kept of what steps log and print; when so much is there, the older half goes. An attempt may say a"
        " 64th of it at once, and as much again in each 16 s; the rest is dropped, and its size told.",
        unit="bytes",
        low=1 << 20,
        high=1 << 40,
    )
    retain_finished_s: float | None = seconds(
        None,
        "How long the record of a completed or compensated saga is kept; then it is purged, beside the work. Its id"
        " stays known. Not set: for ever. Of hosts that share a journal the longest time counts.",
        high=1e10,
    )
    retain_finished: int | None = count(
        None,
        "How many completed and compensated sagas are kept, those that finished last; the records of others are purged."
        " Not set: all. Of hosts that share a journal the largest number counts.",
        low=0,
        high=1 << 53,
    )

    on_parked: str | tuple[str, ...] | None = setting(
        None,
        'What is told of each parked saga, so that people hear of it: a function as "module:function", which is called'
        ' with a dict, or the words of a command as a list, ["notify", "--all"], which reads JSON. Not set: nothing.',
        optional=True,
        form=Form.HOOK,
    )
    journal: str | None = setting(
        None,
        "Where the journal is: the URL of a database of PostgreSQL, which needs the extra `antistrophe[postgres]`. Keep"
        " its password out of the URL (`PGPASSFILE`, a service file). Not set: `$ANTISTROPHE_JOURNAL`, else"
        " `journal.db` in the home.",
        optional=True,
        form=Form.URL,
    )
    host_name: str | None = setting(
        None,
        "What this host is called among those of one journal on PostgreSQL, and in what monitoring shows. Not set: the"
        " machine's name.",
        optional=True,
        form=Form.NAME,
    )
    labels: tuple[str, ...] = setting(
        (), "What this host has: a step with `runs_on` runs where all of its labels are.", form=Form.NAMES
    )
    lease_s: float = seconds(
        10.0,
        "With a journal on PostgreSQL: how long this host may be silent before others take over its sagas. It ends its"
        " attempts before that.",
        low=1.0,
        high=3_600,
    )
    steal_s: float = seconds(
        1.0,
        "With a journal on PostgreSQL: how long a saga waits on its host before another one that has room takes it.",
        low=0.1,
    )

    def __post_init__(self) -> None:
        for name in _LISTS:
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        described = Settings.described()
        problems = [
            f"{name} must be {allowed.text()}, not {allowed.given(getattr(self, name))}"
            for name, allowed in described.items()
            if not allowed.admits(getattr(self, name))
        ]
        if problems:
            raise InvalidSettingsError("; ".join(problems))
        for name, allowed in described.items():
            value = getattr(self, name)
            if allowed.unit == "seconds" and value is not None:  # 5 and 5.0 must travel as the same
                object.__setattr__(self, name, float(value))

    def __repr__(self) -> str:
        shown = (f"{name}={allowed.shown(getattr(self, name))!r}" for name, allowed in Settings.described().items())
        return f"Settings({', '.join(shown)})"

    @property
    def host(self) -> str:
        """``host_name``, or where it is not set, the machine's name."""
        return self.host_name or _machine_name()

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
            if of_file is not None and of_file[0] == _comparable(value):
                found[name] = str(of_file[1])
            else:
                found[name] = "default" if value == getattr(defaults, name) else "argument"
        return found

    def differences(self, others: Settings) -> dict[str, tuple[object, object]]:
        """The settings in which these differ from others, by name: the value here, and the other one."""
        pairs = {name: (getattr(self, name), getattr(others, name)) for name in Settings.described()}
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    def without_secrets(self) -> Settings:
        """The same settings, with the password of the journal's URL hidden: for whoever shows them."""
        return self if self.journal is None else self._with(journal=hidden(self.journal))

    def with_journal(self, url: str, source: str) -> Settings:
        """The same settings with the journal at ``url``, which comes from ``source``: ``"argument"``, or what it was
        read from. Raises InvalidSettingsError."""
        Settings(journal=url)
        origin = {name: read for name, read in json.loads(self.origin).items() if name != "journal"}
        if source != "argument":
            origin["journal"] = [hidden(url), source]
        return self._with(journal=url).with_origin(json.dumps(origin))

    def without_journal(self) -> Settings:
        """The same settings, with the journal in the home's file."""
        return self._with(journal=None)

    def _with(self, **values: object) -> Settings:
        twin = self.with_origin(self.origin)
        for name, value in values.items():
            object.__setattr__(twin, name, value)
        return twin

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Settings:
        """Read a TOML profile: ``name = value`` lines without tables. A setting that is not named keeps its default.

        Raises InvalidSettingsError, which names the file and every wrong key, where the file is missing, is not TOML,
        or has an unknown key or a value that is not allowed.
        """
        profile = read_profile(Path(path), list(Settings.described()))
        try:
            settings = Settings(**profile)
            place = str(Path(path).absolute())
            return settings.with_origin(
                json.dumps({name: [_comparable(getattr(settings, name)), place] for name in profile})
            )
        except InvalidSettingsError as error:
            raise InvalidSettingsError(f"{path}: {error}") from None


def _comparable(value: object) -> object:
    """The value as the origin has it: as JSON, and without a secret."""
    if isinstance(value, tuple):
        return list(value)
    return hidden(value) if isinstance(value, str) and "://" in value else value


def _machine_name() -> str:
    name = os.uname().nodename
    return name if is_name(name) else "localhost"
