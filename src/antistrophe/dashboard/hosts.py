"""What the page of hosts shows: who shares the journal, what each has to do, and what is wrong among them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from antistrophe.client.host_list import HostList
from antistrophe.client.host_words import ACKNOWLEDGE, LEASE_IS_OVER, PUT_BACK
from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.differences import differences

MOST_HOSTS = 200
"""So many hosts are shown, those that hold a lease first."""


@dataclass(frozen=True, slots=True)
class HostTrouble:
    """Something about the hosts that a person should know, and what to do about it. ``level`` is `bad` or `warn`."""

    level: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class HostsShown:
    """The hosts with the state of each in words, at a moment of the database's clock; ``left_out``: so many more."""

    at: datetime
    hosts: tuple[tuple[HostRecord, str], ...]
    left_out: int
    troubles: tuple[HostTrouble, ...]


def hosts_shown(hosts: HostList | None) -> HostsShown | None:
    """What the page shows; None where nobody has told of hosts."""
    if hosts is None:
        return None
    shown = tuple((host, host.state(hosts.at)) for host in hosts.hosts[:MOST_HOSTS])
    return HostsShown(hosts.at, shown, len(hosts.hosts) - len(shown), tuple(troubles(hosts)))


def troubles(hosts: HostList) -> Iterator[HostTrouble]:
    """What is wrong, the worst first; `antistrophe doctor` tells the same."""
    if hosts.put_back_by is not None:
        yield HostTrouble("bad", "No host works", f"{PUT_BACK} ({hosts.put_back_by} knows): {ACKNOWLEDGE}")
    for host in hosts.live:
        if host.lease_is_over(hosts.at):
            yield HostTrouble("warn", f"The lease of host {host.name} is over", LEASE_IS_OVER)
    for each in differences(hosts.live):
        yield HostTrouble("warn", "The hosts differ", f"{each.says}: {each.what_to_do}")
