"""Limits over all hosts in words: who uses them, and who waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.text import Text

from antistrophe.cli import screen
from antistrophe.client.host_words import limited, soon, wanted
from antistrophe.hosts.limits import LimitRecord, LimitShare
from antistrophe.narration import times


def limit_lines(limits: Sequence[LimitRecord], at: datetime) -> list[Text]:
    """A line for each limit, safe to be shown."""
    return [screen.safe_line(limit_line(limit, at)) for limit in limits]


def limit_line(limit: LimitRecord, at: datetime) -> str:
    """What it limits, who uses it and who waits for it, at that moment of the database's clock."""
    holders = ", ".join(f"{share.name}: {share.held}" for share in limit.shares if share.held)
    said = []
    if limit.most is not None:
        said.append(f"{limit.held} of {limit.most} permits are out" + (f" ({holders})" if holders else ""))
    if limit.per_second is not None:
        said.append(f"at most {limit.per_second:g} start in a second")
    said += [_waits(share, at - share.since) for share in limit.shares if share.since is not None]
    if limit.next_start is not None and limit.oldest is not None:
        said.append(f"the next start comes {soon(limit.next_start, at)}")
    return f"{limited(limit.key)}: {'; '.join(said)}"


def _waits(share: LimitShare, passed: timedelta) -> str:
    return f"{share.name} has waited {times.age(passed)} for {wanted(share)}"
