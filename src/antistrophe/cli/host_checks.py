"""The checks of `doctor` on the hosts that share a journal in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timedelta

from antistrophe.cli.finding import Finding, note, well, wrong
from antistrophe.cli.limit_lines import limit_line
from antistrophe.client.host_list import HostList, list_hosts
from antistrophe.client.host_words import ACKNOWLEDGE, LEASE_IS_OVER, PUT_BACK, SHORTEN_THE_WAIT, waited_long
from antistrophe.hosts.description import HostRecord
from antistrophe.hosts.differences import differences
from antistrophe.hosts.limits import LimitRecord
from antistrophe.journal import JournalPlace
from antistrophe.narration import times

CLOCKS_APART_S = 5.0
"""So far a machine's clock may be from the database's before it is told."""

_LISTED = 20


def of_hosts(place: JournalPlace) -> Iterator[Finding]:
    """The hosts of that journal, in what they differ, and this machine's clock. Raises JournalError."""
    before = time.time()
    found = list_hosts(place)
    yield _clock(found.at.timestamp(), before, time.time())
    if found.put_back_by is not None:
        yield wrong("hosts", f"none works: {PUT_BACK} ({found.put_back_by} knows)", ACKNOWLEDGE)
    if not found.live:
        yield well("hosts", "no system runs: the first one that is started takes what is unfinished")
    for host in found.live[:_LISTED]:
        yield _host(host, found)
    if len(found.live) > _LISTED:
        yield well("hosts", f"and {len(found.live) - _LISTED} more: antistrophe hosts")
    for each in differences(found.live):
        yield note("hosts", each.says, each.what_to_do)
    for limit in found.limits[:_LISTED]:
        yield _limit(limit, found.at)
    if len(found.limits) > _LISTED:
        yield well("limits", f"and {len(found.limits) - _LISTED} more: antistrophe hosts")


def _host(host: HostRecord, found: HostList) -> Finding:
    says = (
        f"{host.name}: {host.state(found.at)}, {host.sagas} sagas, {host.attempts} attempts,"
        f" lease of {host.lease_s:g} s, release {host.release}, seen {times.age(found.at - host.seen_at)} ago"
    )
    if host.lease_is_over(found.at):
        return note("host", says, LEASE_IS_OVER)
    return well("host", says)


def _limit(limit: LimitRecord, at: datetime) -> Finding:
    says = limit_line(limit, at)
    return note("limit", says, SHORTEN_THE_WAIT) if waited_long(limit.oldest, at) else well("limit", says)


def _clock(database: float, before: float, after: float) -> Finding:
    """``database``: its clock, which was asked between ``before`` and ``after``."""
    ahead_s = max(before - database, 0.0) - max(database - after, 0.0)
    if abs(ahead_s) < CLOCKS_APART_S:
        return well("clock", "this machine's clock agrees with the database's")
    word = "ahead of" if ahead_s > 0 else "behind"
    return note(
        "clock",
        f"this machine's clock is {times.age(timedelta(seconds=abs(ahead_s)))} {word} the database's",
        "set it (NTP): leases, deadlines and the journal don't go by it, but the logs of this machine do",
    )
