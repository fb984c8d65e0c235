"""Bring the data of old events up to date, with a chain of upcasters for each type.

An upcaster takes the data of an event as a dict of plain values (a nested dataclass is a dict too) and returns the data
in the form of a later version. Reading goes from the stored version along the chain to the newest one. That is the
version of the newest `@event` class of the type, or the end of the chain if no such class is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from antistrophe.definition.events import NEWEST_POSSIBLE_VERSION, is_version, newest_version
from antistrophe.errors import InvalidUpcasterError
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.eventstore.recorded import unknown_version
from antistrophe.exception_text import name_and_text
from antistrophe.fast_dataclass import dataclass
from antistrophe.serialization.type_hints import short

EventData: TypeAlias = dict[str, Any]
Upcast: TypeAlias = Callable[[EventData], EventData]
_Function = TypeVar("_Function", bound=Upcast)

_MOST_GAPS = 20
"""How many gaps of one type are reported. A version may be any number, a date for instance, so there may be many."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One link of a chain, from ``from_version`` of ``event_type`` to ``to_version``. ``upcaster`` is the name of its
    function, for people."""

    event_type: str
    from_version: int
    to_version: int
    upcaster: str


@dataclass(frozen=True, slots=True)
class _Link:
    migration: Migration
    upcast: Upcast


class VersionRegistry:
    """The upcasters that an event store applies to every event it reads. Many threads may use it.

    ::

        versions = VersionRegistry()

        @versions.upcaster("user.created", from_version=1)
        def split_name(data):
            first, _, last = data["name"].partition(" ")
            return {"first": first, "last": last}

        store = EventStore("events.db", versions=versions)

    An event of a type without upcasters is read as it was stored, if need be as an object of an older class.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # By type, then by from_version. The dict is replaced and never changed, so that reading needs no lock.
        self._chains: dict[str, dict[int, _Link]] = {}

    def upcaster(
        self, event_type: str, from_version: int, to_version: int | None = None
    ) -> Callable[[_Function], _Function]:
        """Decorate the function that turns data of ``from_version`` into data of ``to_version`` (by default the next
        one).

        Raises InvalidUpcasterError if there is such an upcaster already, if the version does not grow, and for what is
        no name of a type, no version or no function.
        """

        def register(function: _Function) -> _Function:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            if not callable(function) or not isinstance(event_type, str):
                raise InvalidUpcasterError(
                    f"{short(function)} can't be the upcaster of event type {short(event_type)}: decorate a function"
                    ' with @versions.upcaster("user.created", from_version=1)'
                )
            _check_version(name, event_type, "from_version", from_version)
            target = from_version + 1 if to_version is None else to_version
            self._add(_Link(Migration(event_type, from_version, target, name), function))
            return function

        return register

    def register_upcaster(self, upcaster: AutoUpcaster) -> None:
        """Add the link between two classes of one event type. Raises InvalidUpcasterError as ``upcaster`` does."""
        if not isinstance(upcaster, AutoUpcaster):
            raise InvalidUpcasterError(
                f"{short(upcaster)} is no AutoUpcaster: pass AutoUpcaster(Old, New), or decorate a function with"
                " @versions.upcaster(...)"
            )
        old, new = upcaster.old_key, upcaster.new_key
        name = f"AutoUpcaster({upcaster.old.__qualname__}, {upcaster.new.__qualname__})"
        self._add(_Link(Migration(old[0], old[1], new[1], name), upcaster.upcast))

    def has_upcaster(self, event_type: str, from_version: int) -> bool:
        """Whether there is an upcaster from that version of the type."""
        return from_version in self._chains.get(event_type, {})

    @property
    def upcaster_count(self) -> int:
        """How many upcasters there are for all types together."""
        return sum(len(chain) for chain in self._chains.values())

    def migrations_for(self, event_type: str) -> list[Migration]:
        """Return the chain of one type, oldest version first. It is empty for a type without upcasters."""
        chain = self._chains.get(event_type, {})
        return [chain[version].migration for version in sorted(chain)]

    def check(self) -> None:
        """Raise InvalidUpcasterError unless each version from 1 on, of each type with upcasters, reaches the newest
        one. Call this when everything is registered: at the start of the application, and in its tests."""
        problems = [problem for event_type in sorted(self._chains) for problem in self._problems(event_type)]
        if problems:
            raise InvalidUpcasterError("; ".join(problems))

    def upcast(self, event_type: str, version: int, data: EventData) -> tuple[int, EventData]:
        """Bring ``data`` from ``version`` to the newest version. Returns that version and its data.

        ``data`` itself is not changed. Raises UnknownVersionError if ``version`` is newer than any known one, and
        InvalidUpcasterError if the chain has a gap or an upcaster fails.
        """
        chain = self._chains.get(event_type, {})
        newest = _newest(event_type, chain)
        if newest is None or version == newest:
            return version, data
        if version > newest:
            return self._beyond(event_type, version, newest, chain), data
        if not chain:
            return version, data
        while version < newest:
            link = chain.get(version)
            if link is None:
                raise InvalidUpcasterError(_gap(event_type, version, newest))
            data = _applied(link, data)
            version = link.migration.to_version
        return version, data

    def _add(self, link: _Link) -> None:
        new = link.migration
        _check_versions(new)
        with self._lock:
            chain = self._chains.get(new.event_type, {})
            if new.from_version in chain:
                known = chain[new.from_version].migration
                raise InvalidUpcasterError(
                    f"event type {new.event_type!r} has an upcaster from version {new.from_version} already"
                    f" ({known.upcaster}, to version {known.to_version}); {new.upcaster} would be the second"
                )
            self._chains = {**self._chains, new.event_type: {**chain, new.from_version: link}}

    def _problems(self, event_type: str) -> list[str]:
        chain = self._chains[event_type]
        newest = _newest(event_type, chain)
        assert newest is not None  # there is a chain
        missing = (version for version in range(1, newest) if version not in chain)
        gaps = [_gap(event_type, version, newest) for version in islice(missing, _MOST_GAPS)]
        ahead = [
            f"the upcaster of event type {event_type!r} from version {link.migration.from_version} leads to version"
            f" {link.migration.to_version}, past the newest @event class, which is of version {newest}"
            for _, link in sorted(chain.items())
            if link.migration.to_version > newest
        ]
        return gaps + ahead

    @staticmethod
    def _beyond(event_type: str, version: int, newest: int, chain: dict[int, _Link]) -> int:
        """Accept a version beyond the newest class if the chain names it. Its data are read as they are."""
        known = max([newest, *(link.migration.to_version for link in chain.values())])
        if version > known:
            raise unknown_version(event_type, version, known)
        return version


def _newest(event_type: str, chain: dict[int, _Link]) -> int | None:
    """The version to bring events to. None for a type that is not known."""
    newest = newest_version(event_type)
    if newest is None and chain:
        return max(link.migration.to_version for link in chain.values())
    return newest


def _gap(event_type: str, version: int, newest: int) -> str:
    return (
        f"event type {event_type!r} has no upcaster from version {version}, on the way to version {newest}:"
        f" register one with @versions.upcaster({event_type!r}, from_version={version})"
    )


def _check_version(upcaster: str, event_type: str, name: str, version: object) -> None:
    if not isinstance(version, int) or isinstance(version, bool) or not is_version(version):
        raise InvalidUpcasterError(
            f"{upcaster}, of event type {event_type!r}: {name} must be a whole number from 1"
            f" to {NEWEST_POSSIBLE_VERSION}, not {short(version)}"
        )


def _check_versions(migration: Migration) -> None:
    for name in ("from_version", "to_version"):
        _check_version(migration.upcaster, migration.event_type, name, getattr(migration, name))
    if migration.to_version <= migration.from_version:
        raise InvalidUpcasterError(
            f"{migration.upcaster} leads event type {migration.event_type!r} from version {migration.from_version}"
            f" to {migration.to_version}: an upcaster must lead to a later version, or reading would go in a circle"
        )


def _applied(link: _Link, data: EventData) -> EventData:
    step = link.migration
    what = (
        f"the upcaster {step.upcaster} of event type {step.event_type!r}"
        f" (version {step.from_version} to {step.to_version})"
    )
    try:
        # An upcaster gets a copy, because it may change its argument, and others may share the data: the next reader,
        # or the upcaster before, which may return a constant.
        result = link.upcast({name: _copied(value) for name, value in data.items()})
    except Exception as error:
        raise InvalidUpcasterError(f"{what} raised {name_and_text(error)}") from error
    if not isinstance(result, dict) or not all(isinstance(name, str) for name in result):
        raise InvalidUpcasterError(
            f"{what} returned {type(result).__name__}, not a dict of the event's data with the fields' names as keys"
        )
    return result


def _copied(value: object) -> object:
    """Copy a plain value. Only dicts, lists and sets can change, and a tuple can hold them."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    if isinstance(value, tuple):
        return tuple(_copied(each) for each in value)
    return set(value) if isinstance(value, set) else value
