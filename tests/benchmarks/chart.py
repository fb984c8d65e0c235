"""The chart of the benchmarks, as SVG text: bars for latency, throughput and CPU of sagas, column by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "docs" / "explanation" / "performance.svg"

_WIDTH, _NAMES, _GAP, _MARGIN = 960, 190, 28, 24
_BAR, _STEP, _TOP = 20, 34, 112
_PALE, _STRONG, _INK, _SOFT = "#b9c4cf", "#1f6f8b", "#1d2733", "#5c6b7a"
_NUMBER = 54  # room for the figure behind the longest bar


@dataclass(frozen=True)
class Panel:
    """One figure of every column; ``better`` says which way is good."""

    title: str
    better: str
    values: Mapping[str, float]


def _text(x: float, y: float, text: str, *, size: int = 13, colour: str = _INK, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{more}>{escape(text)}</text>'


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _bars(panel: Panel, names: Sequence[str], ours: str, left: float, width: float) -> list[str]:
    parts = [
        _text(left, _TOP - 30, panel.title, more=' font-weight="600"'),
        _text(left, _TOP - 13, panel.better, size=11, colour=_SOFT),
    ]
    longest = max(panel.values.values(), default=1.0) or 1.0
    for place, name in enumerate(names):
        value = panel.values.get(name)
        if value is None:
            continue
        y = _TOP + place * _STEP
        length = max(2.0, (width - _NUMBER) * value / longest)
        colour = _STRONG if name == ours else _PALE
        parts.append(f'<rect x="{left:.1f}" y="{y}" width="{length:.1f}" height="{_BAR}" rx="3" fill="{colour}"/>')
        weight = ' font-weight="600"' if name == ours else ""
        parts.append(_text(left + length + 6, y + 15, _figure(value), size=12, more=weight))
    return parts


def draw(title: str, note: str, names: Sequence[str], ours: str, panels: Sequence[Panel]) -> str:
    """The SVG: a row for each name, a panel for each figure, ``ours`` in colour."""
    height = _TOP + len(names) * _STEP + 34
    width = (_WIDTH - 2 * _MARGIN - _NAMES - _GAP * (len(panels) - 1)) / len(panels)
    font = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{font}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{_WIDTH}" height="{height}" rx="8" fill="#ffffff" stroke="#dfe5ea"/>',
        _text(_MARGIN, 38, title, size=18, more=' font-weight="600"'),
    ]
    for place, name in enumerate(names):
        weight = ' font-weight="600"' if name == ours else ""
        end = _MARGIN + _NAMES - 14
        parts.append(_text(end, _TOP + place * _STEP + 15, name, more=f' text-anchor="end"{weight}'))
    for place, panel in enumerate(panels):
        parts += _bars(panel, names, ours, _MARGIN + _NAMES + place * (width + _GAP), width)
    parts.append(_text(_MARGIN, height - 16, note, size=11, colour=_SOFT))
    return "\n".join([*parts, "</svg>", ""])
