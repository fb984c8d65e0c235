"""Limits that hold over all hosts, as people are shown them: who uses them, and who waits for them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from antistrophe.fast_dataclass import dataclass
from antistrophe.saga.effects import next_work
from antistrophe.saga.state import Saga
from antistrophe.scheduling.permits import key_of_class, key_of_name


@dataclass(frozen=True, slots=True)
class LimitShare:
    """What one live host has of a limit, by its last question: the permits that it has ``held``, and how many more it
    ``wanted`` in vain, or how many ``starts``. ``since``: when it began to wait, an aware datetime in UTC by the
    database's clock; None: it wants nothing."""

    host: str
    name: str
    held: int
    wanted: int
    starts: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """One limit that hosts use or wait for. ``most``: so many may be at work on all hosts together, and for ``held`` of
    them there are permits out; ``per_second``: so many attempts may start in a second; None: no such bound. ``oldest``:
    when the host began to wait that has waited longest. ``shares``: those that wait longest first. ``next_start``: when
    the next attempt may start, of those that no host has reserved; None: at once, as far as ``per_second`` goes."""

    key: str
    most: int | None
    per_second: float | None
    held: int
    oldest: datetime | None
    shares: tuple[LimitShare, ...]
    next_start: datetime | None = None


def limit_of(
    key: str,
    most: int | None,
    per_second: float | None,
    shares: Iterable[LimitShare],
    next_start: datetime | None = None,
) -> LimitRecord:
    """The limit in which hosts have these shares."""
    waiting = sorted((share.since, share.host, share) for share in shares if share.since is not None)
    ordered = [share for _, _, share in waiting] + [share for share in shares if share.since is None]
    oldest = ordered[0].since if ordered else None
    held = sum(share.held for share in ordered)
    return LimitRecord(key, most, per_second, held, oldest, tuple(ordered), next_start)


def limits_on(saga: Saga) -> tuple[str, ...]:
    """The keys of the limits over all hosts that may keep the saga from its next attempt."""
    if (work := next_work(saga)) is None:
        return ()
    keys = [] if saga.spec.max_concurrent is None else [key_of_name(saga.spec.name)]
    throttle = saga.spec.throttle(work.step)
    if throttle is not None and (throttle.max_concurrent, throttle.max_per_second) != (None, None):
        keys.append(key_of_class(throttle.step_class))
    return tuple(keys)
