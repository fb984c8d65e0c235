"""The timeline picture: a saga to scale, as SVG. A page styles it by its classes; alone it brings its own colours."""

from __future__ import annotations

import math
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from antistrophe.narration.timeline import Bar, Mark, Row, Timeline, Wait
from antistrophe.narration.times import duration
from antistrophe.saga.course import End
from antistrophe.saga.entries import Action
from antistrophe.serialization.printable import printable

WIDTH = 960
_LEFT, _RIGHT, _TOP, _ROW, _BOTTOM = 164, 226, 46, 44, 26
_NAME_LETTERS = 24
_LETTER = 6.2
_TICKS = 6
_LEAST_BAR = 2.5
_FORWARD_Y, _FORWARD_H, _BACK_Y, _BACK_H = 6, 13, 25, 10
_GAP = 8
_WORD_LETTERS = 34
_ACTIONS = {Action.EXECUTE: "forward", Action.COMPENSATE: "undo", Action.VERIFY: "check"}
_SHORT_ACTIONS = {Action.EXECUTE: "", Action.COMPENSATE: "undo ", Action.VERIFY: "check: "}

STYLE = """
svg{font:12px system-ui,sans-serif;--ink:#1c2430;--soft:#667085;--line:#e4e7ec;--good:#16884a;--undo:#7a5af8;
--check:#b54708;--bad:#d92d20;--paper:#fff}
@media(prefers-color-scheme:dark){svg{--ink:#e6e9ef;--soft:#98a2b3;--line:#2b3442;--good:#3ccb7f;--undo:#a48afb;
--check:#fdb022;--bad:#f97066;--paper:#11161d}}
.tl-paper{fill:var(--paper)}
.tl-name{fill:var(--ink);font-weight:600}.tl-axis,.tl-note,.tl-mark{fill:var(--soft);font-size:11px}
.tl-grid{stroke:var(--line)}.tl-row{stroke:var(--line)}
.tl-bar{rx:2}.tl-forward{fill:var(--good)}.tl-undo{fill:var(--undo)}.tl-check{fill:var(--check)}
.tl-failed,.tl-killed,.tl-died{fill:var(--bad)}.tl-running{opacity:.55}
.tl-wait{stroke:var(--soft);stroke-dasharray:2 3}.tl-word{fill:var(--bad);font-size:11px}
.tl-cross{stroke:var(--bad);stroke-width:2}.tl-doubt{fill:var(--check);font-weight:700}
.tl-line{stroke:var(--soft);stroke-dasharray:4 3}.tl-line-parked,.tl-line-turned,.tl-line-cancelled{stroke:var(--bad)}
"""


def timeline_picture(timeline: Timeline, label: str, *, alone: bool = False) -> str:
    """The picture. ``label`` says what it shows to who can't see it. With ``alone`` it is a file of its own."""
    height = _TOP + _ROW * len(timeline.rows) + _BOTTOM
    svg = Element("svg", {"viewBox": f"0 0 {WIDTH} {height}", "role": "img", "class": "timeline"})
    if alone:
        svg.set("xmlns", "http://www.w3.org/2000/svg")
        SubElement(svg, "style").text = STYLE
        _rect(svg, 0, 0, WIDTH, height, "tl-paper")
    SubElement(svg, "title").text = _safe(label)
    scale = _Scale(timeline.began, max(timeline.ended - timeline.began, 0.001))
    for x, word in scale.ticks():
        _line(svg, x, _TOP, x, height - _BOTTOM, "tl-grid")
        _text(svg, x, height - _BOTTOM + 16, word, "tl-axis", anchor="middle")
    for number, row in enumerate(timeline.rows):
        _draw_row(svg, row, _TOP + number * _ROW, scale, timeline.ended)
    _draw_marks(svg, timeline.marks, scale, height - _BOTTOM)
    if timeline.steps_left_out:
        _text(svg, 4, height - 4, f"and {timeline.steps_left_out} more steps", "tl-note")
    return ElementTree.tostring(svg, encoding="unicode")


class _Scale:
    """So many pixels for so many seconds."""

    def __init__(self, began: float, seconds: float) -> None:
        self.began = began
        self._seconds = seconds
        self._pixels = WIDTH - _LEFT - _RIGHT

    def x(self, at: float) -> float:
        return _LEFT + min(max(0.0, (at - self.began) / self._seconds), 1.0) * self._pixels

    def ticks(self) -> Iterator[tuple[float, str]]:
        """Round moments, and their names."""
        step = _round_step(self._seconds / _TICKS)
        for number in range(int(self._seconds / step + 1e-9) + 1):
            seconds = number * step
            yield self.x(self.began + seconds), "0 s" if not number else duration(seconds)


_ROUND_S = (60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400)


def _round_step(seconds: float) -> float:
    """The next larger step of 1, 2 or 5 times a power of ten, or in whole minutes, hours or days."""
    if seconds > 30:
        for step in _ROUND_S:
            if step >= seconds:
                return step
        return math.ceil(seconds / 86_400) * 86_400
    power = 10.0 ** math.floor(math.log10(seconds))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= seconds * 0.999)


def _draw_row(svg: Element, row: Row, top: float, scale: _Scale, ended: float) -> None:
    name = _safe(row.name)
    short = _short(name, _NAME_LETTERS)
    text = _text(svg, _LEFT - 12, top + _ROW / 2 + 4, short, "tl-name", anchor="end")
    if short != name:
        SubElement(text, "title").text = name
    _line(svg, 4, top + _ROW, WIDTH - 4, top + _ROW, "tl-row")
    for wait in row.waits:
        _draw_wait(svg, wait, top, scale, ended)
    forward = [bar for bar in row.bars if bar.span.action is not Action.COMPENSATE]
    back = [bar for bar in row.bars if bar.span.action is Action.COMPENSATE]
    for bars, y, height in ((forward, top + _FORWARD_Y, _FORWARD_H), (back, top + _BACK_Y, _BACK_H)):
        for bar in bars:
            _draw_bar(svg, bar, y, height, scale, ended)
        if bars:
            _say_end(svg, bars, y + height / 2 + 4, row.left_out)


def _draw_wait(svg: Element, wait: Wait, top: float, scale: _Scale, ended: float) -> None:
    back = wait.action is Action.COMPENSATE
    y = top + (_BACK_Y + _BACK_H / 2 if back else _FORWARD_Y + _FORWARD_H / 2)
    until = ended if wait.ended_at is None else wait.ended_at
    line = _line(svg, scale.x(wait.began_at), y, scale.x(until), y, "tl-wait")
    SubElement(line, "title").text = _safe(f"waits {duration(max(0.0, until - wait.began_at))}: {wait.why}")


def _draw_bar(svg: Element, bar: Bar, y: float, height: float, scale: _Scale, ended: float) -> None:
    """Draw one attempt; a cross where its process was killed or died."""
    span = bar.span
    until = ended if span.ended_at is None else span.ended_at
    x = scale.x(span.began_at)
    end = max(scale.x(until), x + _LEAST_BAR)
    kind = span.end.value if span.end in (End.FAILED, End.KILLED, End.DIED, End.RUNNING) else "done"
    rect = _rect(svg, x, y, end - x, height, f"tl-bar tl-{_ACTIONS[span.action]} tl-{kind}")
    took = duration(max(0.0, until - span.began_at))
    ending = f"; {bar.told}" if bar.told else ""
    SubElement(rect, "title").text = _safe(
        f"{_ACTIONS[span.action]}, attempt {span.attempt}, process {span.pid}, {took}{ending}"
    )
    if span.end in (End.KILLED, End.DIED):
        for one, other in ((-4, 4), (4, -4)):
            _line(svg, end - 4, y + height / 2 + one, end + 4, y + height / 2 + other, "tl-cross")


def _say_end(svg: Element, bars: list[Bar], y: float, left_out: int) -> None:
    """Say at the right how the last attempt ended, and how many there were, where that is worth a word."""
    bar, number = bars[-1], len(bars) + left_out
    words = [_SHORT_ACTIONS[bar.span.action] + bar.told] if bar.told else []
    words += [f"{number} attempts"] if number > 1 else []
    if not words:
        return
    text = _safe("; ".join(words))
    x = WIDTH - _RIGHT + _GAP
    if bar.doubt:
        _text(svg, x, y, "?", "tl-doubt")
        x += 11
    class_name = "tl-note" if bar.span.end in (End.RUNNING, End.DONE) else "tl-word"
    made = _text(svg, x, y, _short(text, _WORD_LETTERS), class_name)
    SubElement(made, "title").text = f"{text}; it may have taken effect" if bar.doubt else text


def _short(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _draw_marks(svg: Element, marks: tuple[Mark, ...], scale: _Scale, bottom: float) -> None:
    """A line for each moment, with its word above. Words that would cover one another are left to the pointer."""
    free = [0.0, 0.0]
    for mark in marks:
        x = scale.x(mark.at)
        line = _line(svg, x, _TOP - 6, x, bottom, f"tl-line tl-line-{mark.kind.value}")
        word = _safe(mark.text)
        SubElement(line, "title").text = word
        width = len(word) * _LETTER
        anchor, left = ("end", x - width) if x + width > WIDTH - 4 else ("start", x)
        level = next((number for number, until in enumerate(free) if left >= until), None)
        if level is not None:
            free[level] = left + width + _GAP
            _text(svg, x, _TOP - 12 - 14 * level, word, "tl-mark", anchor=anchor)


# --- elements -------------------------------------------------------------------------------------------------------


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _rect(parent: Element, x: float, y: float, width: float, height: float, classes: str) -> Element:
    place = {"x": x, "y": y, "width": width, "height": height}
    return SubElement(parent, "rect", {**{name: _number(each) for name, each in place.items()}, "class": classes})


def _line(parent: Element, x1: float, y1: float, x2: float, y2: float, classes: str) -> Element:
    ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
    return SubElement(parent, "line", {**{name: _number(each) for name, each in ends.items()}, "class": classes})


def _text(parent: Element, x: float, y: float, text: str, classes: str, anchor: str = "start") -> Element:
    made = SubElement(parent, "text", {"x": _number(x), "y": _number(y), "class": classes, "text-anchor": anchor})
    made.text = text
    return made


def _safe(text: str) -> str:
    """The text without what XML can't hold: control characters are escaped."""
    return printable(text)
