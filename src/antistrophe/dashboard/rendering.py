"""Turns what a page shows into HTML. Every text from outside is escaped, and control characters in it are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from antistrophe.client.host_words import soon
from antistrophe.dashboard.addresses import order_path, saga_path
from antistrophe.dashboard.cutting import cut_error, cut_short
from antistrophe.dashboard.limits import MOST_NAMED
from antistrophe.narration import times
from antistrophe.narration.phrases import how_often, mebibytes
from antistrophe.narration.timeline import signal_name
from antistrophe.serialization.printable import printable

_TEMPLATES = files("antistrophe.dashboard") / "templates"
_CODE = re.compile("`([^`]+)`")


def environment() -> Environment:
    """The templates, with the filters that they use."""
    made = Environment(
        loader=FunctionLoader(lambda name: (_TEMPLATES / name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        moment=_moment,
        since=_since,
        duration=lambda seconds: times.duration(max(0.0, seconds)),
        mebibytes=mebibytes,
        how_often=how_often,
        soon=soon,
        rate=_rate,
        cut_error=cut_error,
        cut_short=cut_short,
        status=_status,
        saga_path=saga_path,
        signal_name=signal_name,
        local_times=times.with_local_times,
        order_path=order_path,
        with_code=_with_code,
        sagas=lambda number: "1 saga" if number == 1 else f"{number} sagas",
    )
    return made


def _visible(value: object) -> object:
    """A text with escapes for what could not be seen, or could change how other text is shown."""
    return printable(value, keep="\n\t") if type(value) is str else "" if value is None else value


def _moment(at: datetime | None) -> Markup:
    """A moment, to the second; the title has it exactly."""
    if at is None:
        return Markup("")
    exact = f"{at.astimezone():%Y-%m-%d %H:%M:%S.%f %Z}"
    said = times.moment(at, exact=False)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), exact, said)


def _since(at: datetime | None, now: datetime | None = None) -> Markup:
    """How long ago a moment was, in its largest unit; the title has the moment. ``now``: by the clock that it is of."""
    if at is None:
        return Markup("")
    passed = times.age((now or datetime.now(UTC)) - at)
    parts = passed.split(" ")
    said = " ".join(parts[:2])
    return Markup('<time datetime="{}" title="{}">{}</time>').format(at.isoformat(), times.moment(at), said)


def _rate(per_second: float) -> str:
    """A rate as people say it."""
    if per_second >= 1 or 1 / per_second < 1.5:
        return f"{per_second:g} a second"
    return f"1 every {times.duration(1 / per_second)}"


def _with_code(text: str) -> Markup:
    """A sentence with what stands between `backticks` as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(printable(text, keep="\n")))))


def _status(status: Any) -> Markup:
    """A status as a badge."""
    word = str(getattr(status, "value", status))
    return Markup('<span class="badge s-{}">{}</span>').format(word, word.replace("_", " "))


class Renderer:
    """Renders templates with what every page has."""

    def __init__(self, shared: Mapping[str, Any]) -> None:
        self._environment = environment()
        self._environment.globals.update(shared, most_named=MOST_NAMED)

    def render(self, template: str, **values: Any) -> str:
        """The HTML of a template."""
        return self._environment.get_template(template).render(**values)
