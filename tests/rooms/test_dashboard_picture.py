"""The dashboard's pictures: every kind of panel can be drawn from what a Prometheus answers, and
those of the docs show the dashboard as it is.
"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from tests.alerts.drawing import shown
from tests.alerts.panels import BOARD
from tests.alerts.picture import draw

IMAGES = Path(__file__).parents[2] / "docs/img"
TITLES = {
    panel["title"]
    for panel in json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    if panel["type"] != "row"
}
LABELS = {
    name: name for name in ("verdict", "stage", "reason", "wanted", "instance", "what", "kind")
}


def taken(values: list[list[object]]) -> dict[str, Any]:
    """Every query of the dashboard answered by the same series, or by none."""
    series = [{"metric": LABELS, "values": values}] if values else []
    panels = json.loads(BOARD.read_text(encoding="utf-8"))["panels"]
    alert = {
        "labels": {"alertname": "HlfSyncX", "severity": "page"},
        "activeAt": "2026-11-25T03:00:00.123Z",
        "annotations": {"summary": "a < b"},
    }
    return {
        "now_s": 1_764_000_000,
        "looks_back_s": 1800,
        "step_s": 10,
        "alerts": [alert],
        "panels": {
            str(panel["id"]): [series for _ in panel["targets"]]
            for panel in panels
            if panel.get("targets")
        },
    }


def words(svg: str) -> set[str]:
    """The lines of text in a picture."""
    return {
        element.text or ""
        for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")  # noqa: S314 - our own
    }


GAPS: list[list[object]] = [[1_763_999_000, "1"], [1_763_999_900, "NaN"], [1_764_000_000, "400"]]
ALWAYS: list[list[object]] = [[1_763_998_200 + 10 * number, str(number)] for number in range(181)]


@pytest.mark.parametrize(
    "values",
    [[], [[1_764_000_000, "0"]], GAPS, ALWAYS],
    ids=["nothing", "once and 0", "with gaps", "always"],
)
def test_every_panel_is_drawn_whatever_was_measured(values: list[list[object]]) -> None:
    """Well-formed, with every title, and what fires."""
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    found = words(draw(board, taken(values), 0, 10_000))
    assert found >= TITLES
    assert {"HlfSyncX"} <= found


def test_the_pictures_of_the_docs_show_the_dashboard_as_it_is() -> None:
    """Each panel is in one of them, and they are small enough for a page."""
    pictures = [IMAGES / "dashboard.svg", IMAGES / "dashboard-details.svg"]
    assert all(picture.stat().st_size < 300_000 for picture in pictures)
    assert (
        set().union(*(words(picture.read_text(encoding="utf-8")) for picture in pictures)) >= TITLES
    )


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0, "s", "0 s"),
        (0.05, "s", "50 ms"),
        (2.345, "s", "2.3 s"),
        (372, "s", "6.2 min"),
        (2048, "bytes", "2.0 KiB"),
        (1234.6, "short", "1,235"),
        (0.5, "reqps", "0.5 req/s"),
    ],
)
def test_values_are_shown_as_people_read_them(value: float, unit: str, said: str) -> None:
    """Units as in Grafana."""
    assert shown(value, unit) == said
