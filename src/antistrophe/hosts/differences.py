"""In what the hosts of one journal differ, where they should not: what is told to people, and what they may do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from antistrophe.fast_dataclass import dataclass
from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.retained import mildest

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs among hosts, and what to do about it."""

    says: str
    what_to_do: str


def differences(hosts: Iterable[HostRecord]) -> list[Difference]:
    """In what these hosts, all of them live, differ."""
    return list(_found(list(hosts)))


def _found(hosts: list[HostRecord]) -> Iterator[Difference]:
    by_name = _grouped(hosts, lambda host: host.name)
    for name, same in by_name.items():
        if len(same) > 1:
            ids = ", ".join(host.id for host in same[:_NAMED])
            yield Difference(
                f"{len(same)} live hosts are called {name}: {ids}",
                "give each system a host_name of its own; until then drain them by their ids",
            )
    if (said := _differs("release", hosts, lambda host: host.release)) is not None:
        yield Difference(said, "bring all hosts to one release: two side by side are for the time of an upgrade")
    if (said := _differs("lease_s", hosts, lambda host: f"{host.lease_s:g} s")) is not None:
        yield Difference(said, "give all hosts the same lease_s: the sagas of a host stand still for its own")
    kept = mildest(host.retained for host in hosts)
    advice = "give all hosts the same setting: what the mildest keeps is kept, which is {}"
    if (said := _differs("retain_finished_s", hosts, lambda host: _seconds(host.retain_finished_s))) is not None:
        yield Difference(said, advice.format(_seconds(kept.finished_s)))
    if (said := _differs("retain_finished", hosts, lambda host: _number(host.retain_finished))) is not None:
        yield Difference(said, advice.format(_number(kept.finished)))


def _differs(setting: str, hosts: list[HostRecord], value_of: Callable[[HostRecord], str]) -> str | None:
    values = _grouped(hosts, value_of)
    if len(values) < 2:
        return None
    said = (f"{value} ({_names(same)})" for value, same in values.items())
    return f"{setting} differs: {', '.join(said)}"


def _names(hosts: list[HostRecord]) -> str:
    more = f" and {len(hosts) - _NAMED} more" if len(hosts) > _NAMED else ""
    return ", ".join(host.name for host in hosts[:_NAMED]) + more


def _grouped(hosts: list[HostRecord], key: Callable[[HostRecord], str]) -> dict[str, list[HostRecord]]:
    groups: dict[str, list[HostRecord]] = defaultdict(list)
    for host in hosts:
        groups[key(host)].append(host)
    return dict(groups)


def _seconds(retained: float | None) -> str:
    return "for ever" if retained is None else f"{retained:g} s"


def _number(retained: int | None) -> str:
    return "all" if retained is None else f"{retained:,}"
