"""The dashboard's kinds of panels as SVG: a figure, lines over time, states over time, a list of
alerts, a text. Draws values; decides nothing.

Looks like Grafana's dark theme as far as that helps the reader. Used by picture.py.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from math import ceil, floor, log, log10
from typing import Any

COLOURS = {
    "green": "#56a64b",
    "yellow": "#f2cc0c",
    "orange": "#e0832f",
    "red": "#d44a3a",
    "blue": "#8ab8ff",
    "text": "#d5d6db",
    "transparent": "none",
}
LINES = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#b877d9",
    "#5794f2",
    "#96d98d",
    "#ffa6b0",
    "#c8b0ff",
    "#fade2a",
    "#37872d",
)
_INK, _DIM, _GRID = "#d5d6db", "#9da0a8", "#2b2e36"
_CHARACTER = 6.3
_LEGEND_ROW = 15.0
# Of a narrow panel, for the table of what the lines are.
_LEGEND_PART = 0.5
_AXIS = 56.0
_MOST_LINES = 14
_MINUTES_S = 90
# Half a mentor is on nobody's listing.
_COUNTS = frozenset({"short", "none"})


@dataclass(frozen=True)
class Area:
    """Where something is drawn: pixels."""

    x: float
    y: float
    w: float
    h: float


@dataclass(frozen=True)
class Line:
    """One series: name, and value by epoch seconds; gaps where there is none. `colour` and `unit`
    where they are its own, `is_right`: it has an axis on the right.
    """

    name: str
    values: Sequence[tuple[float, float]]
    colour: str | None = None
    unit: str | None = None
    is_right: bool = False
    is_dashed: bool = False

    @property
    def last(self) -> float:
        """The newest value."""
        return self.values[-1][1]

    @property
    def most(self) -> float:
        """The highest."""
        return max(value for _, value in self.values)


@dataclass(frozen=True)
class Span:
    """The time that is shown, epoch seconds."""

    since_s: float
    until_s: float
    step_s: float

    def place(self, at_s: float, area: Area) -> float:
        """Where a time lies."""
        return area.x + area.w * (at_s - self.since_s) / (self.until_s - self.since_s)


def text(
    x: float,
    y: float,
    words: str,
    *,
    size: float = 11,
    fill: str = _INK,
    anchor: str = "start",
    weight: str = "normal",
) -> str:
    """One line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{fill}" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(words)}</text>'
    )


def box(area: Area, fill: str, stroke: str = "none", radius: float = 2) -> str:
    """A rectangle."""
    place = f'x="{area.x:.1f}" y="{area.y:.1f}" width="{max(area.w, 0):.1f}" height="{area.h:.1f}"'
    return f'<rect {place} rx="{radius:g}" fill="{fill}" stroke="{stroke}"/>'


def colour(steps: Sequence[dict[str, Any]], value: float) -> str:
    """What the thresholds say of a value."""
    return str(
        [step["color"] for step in steps if step["value"] is None or value >= step["value"]][-1]
    )


def shown(value: float, unit: str | None) -> str:
    """A value as people read it."""
    if unit == "s":
        for least, size, word in ((5400, 3600, "h"), (_MINUTES_S, 60, "min")):
            if value >= least:
                return f"{value / size:.1f} {word}".replace(".0 ", " ")
        return (
            f"{value:.0f} s"
            if value >= 10 or value == 0
            else f"{value * 1000:.0f} ms"
            if value < 0.1
            else f"{value:.1f} s"
        )
    if unit == "bytes":
        size = next((power for power in (3, 2, 1) if value >= 1024**power), 0)
        return f"{value / 1024**size:.{0 if size == 0 else 1}f} {('B', 'KiB', 'MiB', 'GiB')[size]}"
    if unit in _COUNTS:
        return f"{value:,.0f}"
    word = {"reqps": " req/s", "cps": "/s"}.get(unit or "", "")
    return f"{value:,.0f}{word}" if value >= 10 or value == int(value) else f"{value:.1f}{word}"


def stat(
    area: Area, line: Line | None, steps: Sequence[dict[str, Any]], unit: str | None, nothing: str
) -> str:
    """One big figure on the thresholds' colour, with its course behind it."""
    if line is None:
        return box(area, "#3a3d45") + text(
            area.x + area.w / 2, area.y + area.h / 2 + 8, nothing, size=20, anchor="middle"
        )
    most = max(value for _, value in line.values) or 1
    span = Span(line.values[0][0], max(line.values[-1][0], line.values[0][0] + 1), 1)
    points = " ".join(
        f"{span.place(at_s, area):.1f},{area.y + area.h - 0.42 * area.h * value / most:.1f}"
        for at_s, value in line.values
    )
    course = (
        f'<polygon points="{area.x:.1f},{area.y + area.h:.1f} {points}'
        f' {area.x + area.w:.1f},{area.y + area.h:.1f}" fill="#fff" opacity="0.18"/>'
    )
    figure = text(
        area.x + area.w / 2,
        area.y + area.h / 2 + 11,
        shown(line.last, unit),
        size=32,
        fill="#fff",
        anchor="middle",
        weight="600",
    )
    return box(area, COLOURS[colour(steps, line.last)], radius=3) + course + figure


@dataclass(frozen=True)
class _Scale:
    """Values to heights: `ticks` from the lowest to the highest; by powers of ten with `is_log`."""

    plot: Area
    ticks: Sequence[float]
    unit: str | None
    is_log: bool = False

    def place(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        part = log10(max(value, low) / low) / log10(high / low) if self.is_log else value / high
        return self.plot.y + self.plot.h * (1 - part)


def timeseries(
    area: Area,
    lines: Sequence[Line],
    span: Span,
    unit: str | None,
    limits: Sequence[tuple[float, str]],
    *,
    is_log: bool = False,
) -> str:
    """Lines over time with the table of what they are beside them; limits are drawn across. A line
    that measures something else has an axis on the right.
    """
    lines = sorted(lines, key=lambda line: -line.most)[:_MOST_LINES]
    strokes = [line.colour or LINES[number % len(LINES)] for number, line in enumerate(lines)]
    legend = min(_LEGEND_PART * area.w, 170 + _CHARACTER * max(map(_length, lines), default=0))
    axes = list(dict.fromkeys(line.unit for line in lines if line.is_right))
    right = _AXIS * len(axes)
    plot = Area(area.x + 60, area.y + 6, area.w - 72 - legend - right, area.h - 26)
    ours = [line.most for line in lines if not line.is_right]
    scale = _scale(plot, [*ours, *(limit for limit, _ in limits)], unit, is_log=is_log)
    others = {
        one: _scale(plot, [line.most for line in lines if line.is_right and line.unit == one], one)
        for one in axes
    }
    parts = [_axis(scale), _times(plot, span)]
    parts += [
        _axis(scale, beside=plot.x + plot.w + 6 + _AXIS * number)
        for number, scale in enumerate(others.values())
    ]
    across = f"h{plot.w:.1f}"
    parts += [
        f'<path d="M{plot.x:.1f} {scale.place(limit):.1f}{across}" stroke="{COLOURS[shade]}"'
        ' stroke-dasharray="5 4"/>'
        for limit, shade in limits
    ]
    parts += [
        _path(line, span, others[line.unit] if line.is_right else scale, stroke)
        for line, stroke in zip(lines, strokes, strict=True)
    ]
    corner = Area(plot.x + plot.w + right + 14, plot.y, legend - 8, area.h - 8)
    return "".join([*parts, _legend(corner, lines, strokes, unit)])


def _length(line: Line) -> int:
    return len(line.name)


def _scale(
    plot: Area, values: Sequence[float], unit: str | None, *, is_log: bool = False
) -> _Scale:
    most = max([*values, 0.0]) or 1.0
    if not is_log:
        return _Scale(plot, _ticks(most, unit), unit)
    high = ceil(log10(most) + 1e-9)
    return _Scale(plot, [10.0**power for power in range(min(-3, high - 1), high + 1)], unit, is_log)


def states(area: Area, lines: Sequence[Line], span: Span, nothing: str) -> str:
    """One bar for each series, coloured while it holds; those that never did are left out."""
    held = [line for line in lines if any(value for _, value in line.values)]
    if not held:
        return text(area.x + area.w / 2, area.y + area.h / 2, nothing, fill=_DIM, anchor="middle")
    width = min(0.45 * area.w, 12 + _CHARACTER * max(len(line.name) for line in held))
    plot = Area(area.x + width, area.y + 6, area.w - width - 12, area.h - 26)
    row = min(24.0, plot.h / len(held))
    parts = [_times(plot, span)]
    for number, line in enumerate(held):
        y = plot.y + number * row
        parts.append(
            text(plot.x - 8, y + row / 2 + 4, line.name, size=min(11, row - 1), anchor="end")
        )
        parts.append(box(Area(plot.x, y + 1, plot.w, row - 2), "#22252b", radius=0))
        shade = line.colour or COLOURS["red"]
        for since_s, until_s in _held(line, span):
            since, until = (
                span.place(since_s, plot),
                min(span.place(until_s, plot), plot.x + plot.w),
            )
            parts.append(box(Area(since, y + 1, until - since, row - 2), shade, radius=0))
    return "".join(parts)


def listing(area: Area, rows: Sequence[tuple[str, str, str]]) -> str:
    """Alerts: colour, name, what is said of it."""
    parts = []
    for number, (shade, name, said) in enumerate(rows):
        y = area.y + 8 + number * 62
        parts += [
            box(Area(area.x + 10, y, 4, 52), COLOURS[shade]),
            text(area.x + 22, y + 15, name, size=13, weight="600"),
        ]
        parts += [
            text(area.x + 22, y + 32 + 15 * row, line, fill=_DIM)
            for row, line in enumerate(_wrapped(said, int((area.w - 32) / _CHARACTER))[:2])
        ]
    return "".join(parts) or text(
        area.x + area.w / 2, area.y + area.h / 2, "nothing fires", fill=_DIM, anchor="middle"
    )


def prose(area: Area, markdown: str) -> str:
    """Markdown as far as the dashboard has it: paragraphs, bold, code, links."""
    plain = re.sub(r"\[(\w+)\]\([^)]*\)", r"\1", markdown).replace("`", "")
    plain = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"“\1”", plain).replace("**", "")
    parts, y = [], area.y + 20
    for paragraph in plain.split("\n\n"):
        for line in _wrapped(" ".join(paragraph.split()), int((area.w - 24) / _CHARACTER)):
            parts.append(
                text(
                    area.x + 12,
                    y,
                    line,
                    size=12,
                    fill="#8ab8ff" if paragraph.startswith("Runbook:") else _INK,
                )
            )
            y += 17
        y += 8
    return "".join(parts)


def _wrapped(words: str, most: int) -> list[str]:
    lines = [""]
    for word in words.split(" "):
        if len(lines[-1]) + len(word) + 1 > most:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def _held(line: Line, span: Span) -> list[tuple[float, float]]:
    """From when until when it was not 0."""
    found: list[tuple[float, float]] = []
    for at_s, value in line.values:
        if not value:
            continue
        if found and at_s - found[-1][1] < span.step_s / 2:
            found[-1] = (found[-1][0], at_s + span.step_s)
        else:
            found.append((at_s, at_s + span.step_s))
    return found


def _path(line: Line, span: Span, scale: _Scale, stroke: str) -> str:
    """A line with gaps where nothing was measured; a measurement by itself is a dot."""
    plot = scale.plot
    places = [(at_s, span.place(at_s, plot), scale.place(value)) for at_s, value in line.values]
    points = [f"M{places[0][1]:.1f} {places[0][2]:.1f}h0.1"]
    for (before_s, _, _), (at_s, x, y) in pairwise(places):
        is_gap = at_s - before_s > 2 * span.step_s
        points.append(f"M{x:.1f} {y:.1f}h0.1" if is_gap else f"L{x:.1f} {y:.1f}")
    dash = ' stroke-dasharray="6 5"' if line.is_dashed else ""
    return f'<path d="{"".join(points)}" fill="none" stroke="{stroke}" stroke-width="1.5"{dash}/>'


def _axis(scale: _Scale, *, beside: float | None = None) -> str:
    """The grid with its figures on the left; figures only, where it is `beside` the plot."""
    plot = scale.plot
    x, anchor = (plot.x - 7, "end") if beside is None else (beside, "start")
    lines = (
        f'<path d="M{plot.x:.1f} {scale.place(tick):.1f}h{plot.w:.1f}" stroke="{_GRID}"/>'
        for tick in scale.ticks
        if beside is None
    )
    words = (
        text(x, scale.place(tick) + 4, shown(tick, scale.unit), size=10, fill=_DIM, anchor=anchor)
        for tick in scale.ticks
    )
    return "".join((*lines, *words))


def _times(plot: Area, span: Span) -> str:
    every_s = 300 if plot.w > 300 else 600
    parts = []
    at_s = ceil(span.since_s / every_s) * every_s
    while at_s <= span.until_s:
        x = span.place(at_s, plot)
        parts.append(f'<path d="M{x:.1f} {plot.y:.1f}v{plot.h:.1f}" stroke="{_GRID}"/>')
        parts.append(
            text(
                x,
                plot.y + plot.h + 14,
                datetime.fromtimestamp(at_s, UTC).strftime("%H:%M"),
                size=10,
                fill=_DIM,
                anchor="middle",
            )
        )
        at_s += every_s
    return "".join(parts)


def _ticks(most: float, unit: str | None) -> list[float]:
    """Round figures in the unit that they are shown in."""
    base = (
        1024 ** floor(log(most, 1024))
        if unit == "bytes" and most >= 1
        else 60
        if unit == "s" and most >= _MINUTES_S
        else 1
    )
    size = base * 10 ** floor(log10(most / base))
    step = next(part * size for part in (0.2, 0.5, 1, 2) if most <= 5 * part * size)
    step = max(step, 1.0) if unit in _COUNTS else step
    return [number * step for number in range(ceil(most / step) + 1)]


def _legend(area: Area, lines: Sequence[Line], strokes: Sequence[str], unit: str | None) -> str:
    """A table of all lines: name, now, most."""
    row = min(_LEGEND_ROW, area.h / (len(lines) + 1))
    size = min(10.5, row - 2)
    now_x, most_x = area.x + area.w - 62, area.x + area.w
    parts = [
        text(x, area.y + 6, word, size=size, fill=_DIM, anchor="end")
        for x, word in ((now_x, "now"), (most_x, "most"))
        if lines
    ]
    for number, (line, stroke) in enumerate(zip(lines, strokes, strict=True), start=1):
        y = area.y + number * row + 6
        room = int((now_x - 46 - area.x - 14) / (_CHARACTER * size / 11))
        name = line.name if len(line.name) <= room else line.name[: room - 1] + "…"
        parts += [
            box(Area(area.x, y - 5, 10, 3), stroke),
            text(area.x + 14, y, name, size=size, fill=_DIM),
        ]
        parts += [
            text(x, y, shown(value, line.unit or unit), size=size, fill=_DIM, anchor="end")
            for x, value in ((now_x, line.last), (most_x, line.most))
        ]
    return "".join(parts)
