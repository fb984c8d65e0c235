"""Bring the data of old events up to date: chains of upcasters, one for each version that a type has left behind.

An upcaster takes the data of an event as a dict of plain values (as they were stored: a nested dataclass is a dict)
and returns them in the form of a later version. Reading walks from the version that was stored to the newest one:
the version of the `@event` class of that type, or the end of the chain where no such class is loaded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, TypeVar

from antistrophe.definition.events import NEWEST_POSSIBLE_VERSION, is_version, newest_version
from antistrophe.errors import InvalidUpcasterError, UnknownVersionError
from antistrophe.eventstore.auto_upcaster import AutoUpcaster
from antistrophe.serialization.type_hints import short

EventData: TypeAlias = dict[str, Any]
Upcast: TypeAlias = Callable[[EventData], EventData]
_Function = TypeVar("_Function", bound=Upcast)

_MOST_GAPS = 20
"""How many missing links of one type are told: a version may be any number, a date for instance."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One link of a chain: what turns version ``from_version`` of ``event_type`` into ``to_version``. ``upcaster`` is
    its name, for people."""

    event_type: str
    from_version: int
    to_version: int
    upcaster: str


@dataclass(frozen=True, slots=True)
class _Link:
    migration: Migration
    upcast: Upcast


class VersionRegistry:
    """The upcasters that an event store applies to everything it reads. Safe to use from many threads.

    A type without any upcaster is read as it was stored: as an object of an older registered class, too.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced and never changed, so that reading needs no lock: type -> from_version -> link.
        self._chains: dict[str, dict[int, _Link]] = {}

    def upcaster(
        self, event_type: str, from_version: int, to_version: int | None = None
    ) -> Callable[[_Function], _Function]:
        """Decorate the function that turns the data of ``from_version`` into those of ``to_version`` (the next one
        unless given). Raises InvalidUpcasterError on a duplicate, or where the version does not grow."""

        def register(function: _Function) -> _Function:
            name = getattr(function, "__qualname__", type(function).__qualname__)
            target = from_version + 1 if to_version is None else to_version
            self._add(_Link(Migration(event_type, from_version, target, name), function))
            return function

        return register

    def register_upcaster(self, upcaster: AutoUpcaster) -> None:
        """Add the link between two classes of one event type; raises InvalidUpcasterError as `upcaster` does."""
        old, new = upcaster.old_key, upcaster.new_key
        name = f"AutoUpcaster({upcaster.old.__qualname__}, {upcaster.new.__qualname__})"
        self._add(_Link(Migration(old[0], old[1], new[1], name), upcaster.upcast))

    def has_upcaster(self, event_type: str, from_version: int) -> bool:
        """Whether a link of the type's chain starts at that version."""
        return from_version in self._chains.get(event_type, {})

    @property
    def upcaster_count(self) -> int:
        """How many upcasters there are, over all types."""
        return sum(len(chain) for chain in self._chains.values())

    def migrations_for(self, event_type: str) -> list[Migration]:
        """The chain of one type, oldest version first; empty for a type without upcasters."""
        chain = self._chains.get(event_type, {})
        return [chain[version].migration for version in sorted(chain)]

    def check(self) -> None:
        """Raise InvalidUpcasterError unless every version, from 1 on, of every type with upcasters reaches the newest
        one. Call it once everything is registered: when the application starts, and in its tests."""
        problems = [problem for event_type in sorted(self._chains) for problem in self._problems(event_type)]
        if problems:
            raise InvalidUpcasterError("; ".join(problems))

    def upcast(self, event_type: str, version: int, data: EventData) -> tuple[int, EventData]:
        """Bring ``data`` from ``version`` to the newest version; answers with that version and its data.

        ``data`` itself is left alone. Raises UnknownVersionError on a version that is newer than any known one, and
        InvalidUpcasterError on a gap in the chain or an upcaster that fails.
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
        """A version that the chain names is known, although no class has it: it is read as it is."""
        known = max([newest, *(link.migration.to_version for link in chain.values())])
        if version > known:
            raise UnknownVersionError(
                f"an event of type {event_type!r} is of version {version}; this program knows versions up to {known}:"
                " it was written by a newer release, so upgrade this one"
            )
        return version


def _newest(event_type: str, chain: dict[int, _Link]) -> int | None:
    """The version to bring events to; None for a type that is not known at all."""
    newest = newest_version(event_type)
    if newest is None and chain:
        return max(link.migration.to_version for link in chain.values())
    return newest


def _gap(event_type: str, version: int, newest: int) -> str:
    return (
        f"event type {event_type!r} has no upcaster from version {version}, on the way to version {newest}:"
        f" register one with @versions.upcaster({event_type!r}, from_version={version})"
    )


def _check_versions(migration: Migration) -> None:
    for name in ("from_version", "to_version"):
        version = getattr(migration, name)
        if not isinstance(version, int) or isinstance(version, bool) or not is_version(version):
            raise InvalidUpcasterError(
                f"{migration.upcaster}, of event type {migration.event_type!r}: {name} must be a whole number from 1"
                f" to {NEWEST_POSSIBLE_VERSION}, not {short(version)}"
            )
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
        # A copy: an upcaster may change what it gets, and what it gets may be shared (by the next reader, or with a
        # constant of the upcaster before it).
        result = link.upcast({name: _copied(value) for name, value in data.items()})
    except Exception as error:
        raise InvalidUpcasterError(f"{what} raised {type(error).__name__}: {error}") from error
    if not isinstance(result, dict) or not all(isinstance(name, str) for name in result):
        raise InvalidUpcasterError(
            f"{what} returned {type(result).__name__}, not a dict of the event's data with the fields' names as keys"
        )
    return result


def _copied(value: object) -> object:
    """A copy of a plain value; of those only dict and list can be changed, and tuple can hold them."""
    if isinstance(value, dict):
        return {key: _copied(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_copied(each) for each in value]
    if isinstance(value, tuple):
        return tuple(_copied(each) for each in value)
    return set(value) if isinstance(value, set) else value
