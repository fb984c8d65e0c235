"""Permits: what this host may use of the limits that hold over all hosts.

Of each limit the host holds permits, some of which are in use. It settles them with the database again and again: it
says how many it keeps and how many more it wants, and hears how many it holds and how many others want back. Until
the answer has come nothing begins beyond what it said that it keeps. So it never uses more than it holds, whichever
messages are lost or late.

For limits of a rate it gets starts: moments, from each of which on one attempt may start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass as mutable_dataclass
from dataclasses import field
from typing import TypeVar

from antistrophe.serialization.struct_dataclass import dataclass

ASK_EVERY_S = 0.2
"""How often permits are settled that the host holds, or waits for."""

KEPT_S = 1.0
"""Permits that were not in use for that long are given back; at most twice as long."""

LATE_S = 0.5
"""A start that is not used is lost so long after its moment, or one pause of its rate after it where that is longer."""

AT_ONCE = 200
"""How many limits are settled at once."""


@dataclass(frozen=True, slots=True)
class Demand:
    """How many ``wait`` that share the limit ``key``, and how many of them may be ``ready`` to begin. ``most`` of all
    hosts may be in use at the same time, and ``per_second`` may start in a second; None: no such bound."""

    key: str
    wait: int
    ready: int
    most: int | None
    per_second: float | None = None

    def with_other(self, other: Demand) -> Demand:
        """Both together, of the same limit. Of two bounds the smaller counts."""
        return Demand(
            self.key,
            self.wait + other.wait,
            max(self.ready, other.ready),
            _smaller(self.most, other.most),
            _smaller(self.per_second, other.per_second),
        )


@dataclass(frozen=True, slots=True)
class PermitNeed:
    """How many permits of a limit a host keeps, how many more it wants, and how many starts. For ``most`` and
    ``per_second`` see ``Demand``."""

    key: str
    keep: int
    want: int
    most: int | None
    starts: int
    per_second: float | None


@dataclass(frozen=True, slots=True)
class PermitAnswer:
    """How many permits the host ``held`` at the moment of the answer, and how many of them it ``gives_back`` as soon as
    they are free. The first of its ``starts`` is ``first_s`` seconds after that moment, and they are ``apart_s`` apart.
    ``again_s``: the host got no start, and may ask again after that."""

    key: str
    held: int
    gives_back: int = 0
    starts: int = 0
    first_s: float = 0.0
    apart_s: float = 0.0
    again_s: float = 0.0


@mutable_dataclass(slots=True)
class _Share:
    """What the host has of one limit.

    ``allowed``: so many permits may be in use, and ``use`` are. ``held``: the host holds no more than that. ``fresh``:
    so many have not been in use since they came, and are not given back before ``fresh_until``. ``recent``: the most
    that were in use since the moment ``since``; ``before``: the most in the KEPT_S before it. ``lacks``,
    ``lacks_start``: something can't begin for want of a permit, or of a start. ``permit_at``, ``start_at``: when there
    may be one, after the database has had none. ``asked``: the last time it was settled, the host wanted something.
    ``freed``: a permit that others want has come free. ``starts``: the moment of each, and the one at which it is lost.
    """

    allowed: int = 0
    use: int = 0
    held: int = 0
    fresh: int = 0
    fresh_until: float = 0.0
    recent: int = 0
    before: int = 0
    since: float = 0.0
    lacks: bool = False
    lacks_start: bool = False
    asked: bool = False
    freed: bool = False
    permit_at: float = 0.0
    start_at: float = 0.0
    starts: deque[tuple[float, float]] = field(default_factory=deque)
    most: int | None = None
    per_second: float | None = None
    settled_at: float = 0.0

    @property
    def keep(self) -> int:
        return max(self.allowed, self.use)

    @property
    def is_over(self) -> bool:
        return not (self.held or self.use or self.starts or self.lacks or self.lacks_start or self.asked)

    def is_due(self, now: float) -> bool:
        soon = self.freed or (self.lacks and now >= self.permit_at) or (self.lacks_start and now >= self.start_at)
        return soon or now - self.settled_at >= ASK_EVERY_S

    def lower(self, now: float) -> None:
        """Allow no more than were in use of late."""
        if now - self.since >= KEPT_S:
            self.before, self.recent, self.since = self.recent, self.use, now
        self.allowed = min(self.allowed, max(self.use, self.recent, self.before))

    def lose_starts(self, now: float) -> None:
        while self.starts and self.starts[0][1] < now:
            self.starts.popleft()


class Permits:
    """The permits of one host, by the keys of the limits. Moments are seconds of one steady clock.

    ``settle_soon`` is called when something lacks a permit or a start, and when a permit has come free that others
    want; ``settle`` then, if it is ``due``. ``changed``: the keys of which another number is allowed by now.
    """

    def __init__(self, settle_soon: Callable[[], None]) -> None:
        self.changed: set[str] = set()
        self._shares: dict[str, _Share] = {}
        self._settle_soon = settle_soon

    def clear(self) -> None:
        """The host has another lease: under this one it holds nothing, and nothing is in use."""
        self.changed |= self._shares.keys()
        self._shares.clear()

    # --- what may begin ----------------------------------------------------------------------------------------

    def allowed(self, key: str) -> int:
        """How many may be in use."""
        share = self._shares.get(key)
        return 0 if share is None else share.allowed

    def allows(self, key: str) -> bool:
        """Whether one more may begin. Ask for one that is ready to, but for this."""
        share = self._share(key)
        if share.use < share.allowed:
            return True
        if not share.lacks:
            share.lacks = True
            self._settle_soon()
        return False

    def start_of(self, key: str, now: float) -> float | None:
        """From when on one more may start, which is ready to but for this; None: that is asked for."""
        share = self._share(key)
        share.lose_starts(now)
        if share.starts:
            return share.starts[0][0]
        if not share.lacks_start:
            share.lacks_start = True
            self._settle_soon()
        return None

    def started(self, key: str) -> None:
        """One has started, for which ``start_of`` has told a moment."""
        self._share(key).starts.popleft()

    def next_start(self, key: str) -> float | None:
        """The moment of the next start that the host has, if it has one."""
        share = self._shares.get(key)
        return share.starts[0][0] if share is not None and share.starts else None

    def used(self, key: str, use: int) -> None:
        """So many are in use now, whether they are allowed or not."""
        share = self._share(key)
        share.fresh = max(share.fresh - max(use - share.use, 0), 0)
        share.use, share.recent = use, max(share.recent, use)
        if share.keep < share.held and not share.freed:
            share.freed = True
            self._settle_soon()

    # --- settling ------------------------------------------------------------------------------------------------

    def due(self, now: float) -> bool:
        """Whether there is something to settle now."""
        return any(share.is_due(now) for share in self._shares.values())

    def settle(self, demands: Iterable[Demand], now: float) -> list[PermitNeed]:
        """What to say to the database now; tell ``settled`` what it answers. ``demands``: of those who wait and have a
        limit. What was said before and had no answer counts no more."""
        waiting = {demand.key: demand for demand in demands}
        for key, share in [*self._shares.items()]:
            self._look(key, share, waiting.get(key), now)
        first = sorted(self._shares.items(), key=lambda item: item[1].settled_at)[:AT_ONCE]
        return [self._need(key, share, waiting.get(key), now) for key, share in first]

    def _look(self, key: str, share: _Share, demand: Demand | None, now: float) -> None:
        allowed = share.allowed
        share.lower(now)
        share.lose_starts(now)
        if share.allowed != allowed:
            self.changed.add(key)
        if demand is not None:
            share.most, share.per_second = demand.most, demand.per_second
            return
        share.lacks = share.lacks_start = False
        if share.is_over:
            del self._shares[key]

    def _need(self, key: str, share: _Share, demand: Demand | None, now: float) -> PermitNeed:
        want = starts = 0
        if demand is not None and demand.most is not None and share.lacks:
            want = max(min(demand.wait, demand.ready, demand.most - share.keep), 0)
        if demand is not None and demand.per_second is not None and (share.lacks_start or share.starts):
            starts = max(demand.wait - len(share.starts), 0)
        share.held = max(share.held, share.keep + want)
        share.freed, share.asked, share.settled_at = False, want + starts > 0, now
        return PermitNeed(key, share.keep, want, share.most, starts, share.per_second)

    def settled(self, answers: Iterable[PermitAnswer], asked: Iterable[PermitNeed], at: float) -> None:
        """The database has answered, at that moment or before, what was ``asked`` last."""
        needs = {need.key: need for need in asked}
        for answer in answers:
            share, need = self._shares.get(answer.key), needs.get(answer.key)
            if share is not None and need is not None:
                self._take(share, need, answer, at)

    def _take(self, share: _Share, need: PermitNeed, answer: PermitAnswer, at: float) -> None:
        if answer.held > need.keep:
            share.fresh, share.fresh_until, share.lacks = answer.held - need.keep, at + KEPT_S, False
            share.recent = max(share.recent, answer.held)
        kept = share.use + share.fresh if share.fresh and at < share.fresh_until else 0
        allowed, share.held = share.allowed, answer.held
        share.allowed = max(answer.held - answer.gives_back, min(answer.held, kept))
        share.freed = share.keep < share.held
        if share.allowed != allowed:
            self.changed.add(answer.key)
        if need.want == 0 or answer.held < need.keep + need.want:
            share.permit_at = at + ASK_EVERY_S
        late_s = max(LATE_S, answer.apart_s)
        for number in range(answer.starts):
            moment = at + answer.first_s + number * answer.apart_s
            share.starts.append((moment, moment + late_s))
        if answer.starts:
            share.lacks_start = False
        elif need.starts:
            share.start_at = at + answer.again_s

    def _share(self, key: str) -> _Share:
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share()
        return share


def key_of_class(step_class: str) -> str:
    """The key of the limits of a step class."""
    return f"step:{step_class}"


def key_of_name(name: str) -> str:
    """The key of the limit of the sagas of a name."""
    return f"name:{name}"


def name_in(key: str) -> str | None:
    """The name of the sagas whose limit has this key; None: it is that of a step class."""
    return key.removeprefix(key_of_name("")) if key.startswith(key_of_name("")) else None


def class_in(key: str) -> str:
    """The step class whose limits have this key."""
    return key.removeprefix(key_of_class(""))


_Number = TypeVar("_Number", int, float)


def _smaller(one: _Number | None, other: _Number | None) -> _Number | None:
    return min((each for each in (one, other) if each is not None), default=None)
