"""Draws the dashboard from what a real Prometheus answered to its panels' own queries:

    python -m tests.alerts.picture FOLDER docs/img

dashboard.svg has the four questions (shown or hidden wrongly, since when, why, what to do) in an outage of
Dynamics, dashboard-details.svg the rows below; dashboard-halt.svg and dashboard-cut.svg the questions
while credentials are refused, and while Kafka is away. The layout, titles, units and thresholds are those of
deploy/monitoring/grafana; the data come from tests/integration/test_monitoring_alerts.py.
"""

import json
import re
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.alerts.drawing import (
    COLOURS,
    Area,
    Line,
    Span,
    box,
    listing,
    prose,
    stat,
    states,
    text,
    timeseries,
)
from tests.alerts.panels import BOARD

_COLUMN, _ROW, _GAP, _TITLE = 50.0, 31.0, 8.0, 26.0
_HEADLINE = 44.0
_QUESTIONS = 35
"""The first of the rows that go into detail, in the dashboard's units of height."""
_BACKGROUND, _PANEL, _EDGE = "#111217", "#181b1f", "#2c3038"

Taken = dict[str, Any]


def draw(board: dict[str, Any], taken: Taken, since: int, until: int) -> str:
    """The panels whose tops lie between two heights."""
    panels = [panel for panel in board["panels"] if since <= panel["gridPos"]["y"] < until]
    end = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    width, height = 24 * _COLUMN + 2 * _GAP, (end - since) * _ROW + _HEADLINE + _GAP
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        ' font-family="Inter, Helvetica, Arial, sans-serif">'
    )
    parts = [
        head,
        box(Area(0, 0, width, height), _BACKGROUND, radius=0),
        _headline(board, taken, width),
    ]
    parts += [_panel(panel, taken, since) for panel in panels]
    return "\n".join([*parts, "</svg>\n"])


def _headline(board: dict[str, Any], taken: Taken, width: float) -> str:
    when = datetime.fromtimestamp(taken["now_s"], UTC).strftime("%Y-%m-%d %H:%M UTC")
    back = (
        f"measured on the sandbox, {when}, the last {(taken['now_s'] - _since_s(taken)) / 60:.0f}"
        " minutes"
    )
    return text(14, 27, board["title"], size=16, weight="600") + text(
        width - 14, 27, back, fill="#9da0a8", anchor="end"
    )


def _since_s(taken: Taken) -> float:
    """The first that was measured."""
    first = [
        float(one["values"][0][0])
        for targets in taken["panels"].values()
        for series in targets
        for one in series
    ]
    return float(min([*first, taken["now_s"] - 60]))


def _panel(panel: dict[str, Any], taken: Taken, since: int) -> str:
    place = panel["gridPos"]
    area = Area(
        _GAP + place["x"] * _COLUMN + 3,
        _HEADLINE + (place["y"] - since) * _ROW + 3,
        place["w"] * _COLUMN - 6,
        place["h"] * _ROW - 6,
    )
    if panel["type"] == "row":
        return text(area.x + 4, area.y + 19, f"▾ {panel['title']}", size=15, weight="600")
    title = text(area.x + 10, area.y + 17, panel["title"], size=12, weight="600")
    inner = Area(area.x + 1, area.y + _TITLE, area.w - 2, area.h - _TITLE - 1)
    return box(area, _PANEL, _EDGE) + title + _content(panel, inner, taken)


def _content(panel: dict[str, Any], area: Area, taken: Taken) -> str:
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    steps, unit = defaults.get("thresholds", {}).get("steps", []), defaults.get("unit")
    span = Span(_since_s(taken), taken["now_s"], taken["step_s"])
    lines = _lines(panel, taken) if panel.get("targets") else []
    match panel["type"]:
        case "stat":
            inner = Area(area.x + 6, area.y, area.w - 12, area.h - 6)
            now = [
                line for line in lines if line.values[-1][0] > taken["now_s"] - 3 * taken["step_s"]
            ]
            return stat(
                inner, now[0] if now else None, steps, unit, defaults.get("noValue", "no data")
            )
        case "timeseries":
            is_limited = "thresholdsStyle" in defaults["custom"]
            limits = (
                [(step["value"], step["color"]) for step in steps if step["value"] is not None]
                if is_limited
                else []
            )
            is_log = defaults["custom"].get("scaleDistribution", {}).get("type") == "log"
            return timeseries(area, lines, span, unit, limits, is_log=is_log)
        case "state-timeline":
            return states(area, lines, span, "nothing")
        case "alertlist":
            return listing(
                area,
                [
                    _alert(alert, taken["now_s"])
                    for alert in sorted(taken["alerts"], key=_by_severity)
                ],
            )
        case "table":
            return "".join(
                text(area.x + 12, area.y + 16 + 17 * number, line.name)
                for number, line in enumerate(lines)
            )
        case _:
            return prose(area, panel["options"]["content"])


def _by_severity(alert: dict[str, Any]) -> tuple[bool, str]:
    """Who wakes people comes first, then the oldest."""
    return alert["labels"]["severity"] != "page", alert["activeAt"]


def _alert(alert: dict[str, Any], now_s: int) -> tuple[str, str, str]:
    labels, since = (
        alert["labels"],
        datetime.fromisoformat(alert["activeAt"][:19] + "+00:00").timestamp(),
    )
    colour = "red" if labels["severity"] == "page" else "orange"
    return (
        colour,
        labels["alertname"],
        (
            f"{labels['severity']} · for {(now_s - since) / 60:.0f} min ·"
            f" {alert['annotations']['summary']}"
        ),
    )


def _lines(panel: dict[str, Any], taken: Taken) -> list[Line]:
    """The panel's series under their legends."""
    found = []
    for target, series in zip(panel["targets"], taken["panels"][str(panel["id"])], strict=True):
        for one in series:
            values = [
                (float(at_s), float(value)) for at_s, value in one["values"] if value != "NaN"
            ]
            if values:
                name = _name(target.get("legendFormat"), one["metric"])
                found.append(_styled(name, values, panel))
    return found


def _styled(name: str, values: Sequence[tuple[float, float]], panel: dict[str, Any]) -> Line:
    """The line as the panel's overrides want it."""
    said = {
        found["id"]: found["value"]
        for one in panel["fieldConfig"].get("overrides", [])
        if _concerns(one["matcher"]["options"], name)
        for found in one["properties"]
    }
    colour = said.get("color", {}).get("fixedColor")
    if "mappings" in said:
        colour = said["mappings"][0]["options"]["1"]["color"]
    return Line(
        name,
        values,
        colour=COLOURS[colour] if colour else None,
        unit=said.get("unit"),
        is_right=said.get("custom.axisPlacement") == "right",
        is_dashed="custom.lineStyle" in said,
    )


def _concerns(matcher: str, name: str) -> bool:
    """By its name, or by a pattern between slashes."""
    if matcher.startswith("/"):
        return re.search(matcher.strip("/"), name) is not None
    return matcher == name


def _name(legend: str | None, labels: dict[str, str]) -> str:
    if not legend:
        return ", ".join(f"{name} {value}" for name, value in labels.items() if name != "__name__")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)


# Picture, what was measured, from which height to which.
_PICTURES = (
    ("dashboard", "dashboard", 0, _QUESTIONS),
    ("dashboard-details", "dashboard", _QUESTIONS, 10_000),
    ("dashboard-halt", "halt", 0, _QUESTIONS),
    ("dashboard-cut", "cut", 0, _QUESTIONS),
)


def main(arguments: Sequence[str]) -> None:
    """Draw all of which there is a measurement."""
    source, folder = Path(arguments[0]), Path(arguments[1])
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    for name, measured, since, until in _PICTURES:
        file = source / f"{measured}.json"
        if file.exists():
            taken = json.loads(file.read_text(encoding="utf-8"))
            (folder / f"{name}.svg").write_text(draw(board, taken, since, until), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
