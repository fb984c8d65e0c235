"""How times are told: moments in the reader's time zone, or in UTC with ``--utc``, and durations in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, tzinfo

_zone: tzinfo | None = None
_SPAN_PART = re.compile(r"(\d+(?:\.\d+)?)(d|h|min|m|s)", re.ASCII)
_SPAN = re.compile(rf"(?:{_SPAN_PART.pattern})+", re.ASCII)
_SPAN_UNITS = {"d": "days", "h": "hours", "min": "minutes", "m": "minutes", "s": "seconds"}
_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00")


def tell_in(zone: tzinfo | None) -> None:
    """From here on this process tells every moment in that zone; None: in the reader's."""
    global _zone
    _zone = zone


def moment(at: datetime | None, *, date: bool = True, exact: bool = True) -> str:
    """A moment such as `2026-11-28 20:43:06.123`: without the day where ``date`` is False, and to the second where
    ``exact`` is False."""
    if at is None:
        return ""
    local = at.astimezone(_zone)
    day = f"{local:%Y-%m-%d} " if date else ""
    part = f".{local.microsecond // 1000:03}" if exact else ""
    return f"{day}{local:%H:%M:%S}{part}"


def brief(at: datetime, now: datetime) -> str:
    """A moment for a narrow column: the time of today, or the day."""
    local = at.astimezone(_zone)
    return f"{local:%H:%M:%S}" if local.date() == now.astimezone(_zone).date() else f"{local:%Y-%m-%d}"


def moments(every: Iterable[datetime]) -> Iterator[str]:
    """Moments in their order, as a column: the first of each day has its date."""
    day = None
    for at in every:
        local = at.astimezone(_zone)
        yield moment(at, date=local.date() != day)
        day = local.date()


def with_local_times(text: str, *, exact: bool = False, beside: datetime | None = None) -> str:
    """The text with each moment that stands in it as ISO 8601 told as every other moment is: to the second unless
    ``exact``, and without its day where that is the day of the moment ``beside`` which the text stands."""

    def told(found: re.Match[str]) -> str:
        at = datetime.fromisoformat(found[0])
        same_day = beside is not None and at.astimezone(_zone).date() == beside.astimezone(_zone).date()
        return moment(at, date=not same_day, exact=exact)

    return _ISO.sub(told, text)


def age(passed: timedelta) -> str:
    """A duration in its two largest units, such as `2 h 5 min`."""
    parts: list[str] = []
    left = max(0, int(passed.total_seconds()))
    for unit, seconds in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        number, left = divmod(left, seconds)
        if number or (unit == "s" and not parts):
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def timedelta_of(text: str) -> timedelta:
    """The duration that a person writes as `30d`, `12h`, `90min`, `45s` or `1d12h`. Raises ValueError."""
    if not _SPAN.fullmatch(text):
        raise ValueError(f"{text!r} is no duration: write days, hours, minutes or seconds, as in 30d, 12h, 90min, 45s")
    total = timedelta(0)
    try:
        for number, unit in _SPAN_PART.findall(text):
            total += timedelta(**{_SPAN_UNITS[unit]: float(number)})
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    return total


def duration(seconds: float) -> str:
    """A duration as short as it can be told: `0.35 s`, `12 s`, `50 min`."""
    return f"{seconds:.3g} s" if seconds < 100 else age(timedelta(seconds=seconds))
