"""Hosts and their limits in words, as the command line and the dashboard tell them."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import ceil

from antistrophe.hosts.limits import LimitShare
from antistrophe.narration import times
from antistrophe.scheduling.permits import class_in, name_in

PUT_BACK = "the database is of an earlier state than it was, and that is not acknowledged"
ACKNOWLEDGE = "stop one host, and start it with --after-restore: what sagas did since is then in doubt"
LEASE_IS_OVER = "another host ends this lease and takes its sagas: start one where none is up"

WAITED_LONG = timedelta(minutes=5)
"""A host that has waited for so long for a limit over all hosts is told."""

SHORTEN_THE_WAIT = "look at what is at work under it (`antistrophe list`), or let more be at work at once"


def limited(key: str) -> str:
    """What the limit with this key limits."""
    name = name_in(key)
    return f"attempts of {class_in(key)}" if name is None else f"sagas called {name!r}"


def wanted(share: LimitShare) -> str:
    """What a host that waits wants."""
    wants = [f"{share.wanted} more"] if share.wanted else []
    wants += [f"{share.starts} start{'s' if share.starts > 1 else ''}"] if share.starts else []
    return " and ".join(wants)


def soon(moment: datetime | None, at: datetime) -> str:
    """When a moment comes, in whole seconds; None: it has come."""
    left_s = 0.0 if moment is None else (moment - at).total_seconds()
    return f"in {times.age(timedelta(seconds=ceil(left_s)))}" if left_s > 0 else "now"


def waited_long(since: datetime | None, at: datetime) -> bool:
    """Whether a host that has waited for a limit since then has waited for so long that people should know."""
    return since is not None and at - since >= WAITED_LONG
