"""The dashboard's panels as one reads them: counts, seconds and bytes on axes of their own, whole
numbers for what is counted, colours by severity.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

DASHBOARD = Path(__file__).parents[2] / "deploy/monitoring/grafana/dashboards/hlf-sync.json"
PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
LINES = [panel for panel in PANELS if panel["type"] == "timeseries"]
# Grafana's unit → what it measures.
_UNITS = {"short": "count", "none": "count", "s": "seconds", "bytes": "bytes"}
_SEVERITY = {"green", "yellow", "orange", "red", "blue", "text"}


def measures(expression: str) -> str:
    """What an expression's value is, by the names of its metrics; a rate is the panel's own."""
    if re.search(r"\brate\(|:rate|per_second", expression):
        return "rate"
    if re.search(r"increase\(", expression):
        return "count"
    if re.search(r"_seconds\b(?!_count)", expression):
        return "seconds"
    return "bytes" if "_bytes" in expression else "count"


def override(panel: dict[str, Any], legend: str, prop: str) -> Any:
    """What the panel says of this line alone."""
    for one in panel["fieldConfig"]["overrides"]:
        if one["matcher"]["options"] == legend:
            for found in one["properties"]:
                if found["id"] == prop:
                    return found["value"]
    return None


@pytest.mark.parametrize("panel", LINES, ids=lambda panel: panel["title"])
def test_a_line_that_measures_something_else_has_its_own_unit_and_axis(
    panel: dict[str, Any],
) -> None:
    """Else seconds stand on an axis of counts."""
    own = _UNITS.get(panel["fieldConfig"]["defaults"]["unit"], "rate")
    for target in panel["targets"]:
        found = measures(target["expr"])
        if found not in {own, "rate"}:
            unit = override(panel, target["legendFormat"], "unit")
            assert _UNITS.get(unit) == found, (panel["title"], target["legendFormat"])
            assert override(panel, target["legendFormat"], "custom.axisPlacement") == "right"


def test_the_allowed_pace_has_an_axis_of_its_own() -> None:
    """18 a second beside 0.2: the calls would be a line on the floor."""
    (panel,) = [one for one in LINES if one["title"] == "Calls to Dynamics"]
    assert override(panel, "allowed by pacing", "custom.axisPlacement") == "right"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_what_is_counted_is_a_whole_number(panel: dict[str, Any]) -> None:
    """Half a mentor is on nobody's listing."""
    defaults = panel.get("fieldConfig", {}).get("defaults", {})
    if defaults.get("unit") == "short":
        assert defaults["decimals"] == 0


def test_the_lag_s_legend_has_room_for_every_partition() -> None:
    """A table beside it, the longest first."""
    (panel,) = [one for one in LINES if one["title"] == "Lag per partition"]
    legend = panel["options"]["legend"]
    assert (legend["displayMode"], legend["placement"]) == ("table", "right")
    assert legend["sortBy"].lower() in {name.lower() for name in legend["calcs"]}


def test_colours_say_how_bad_it_is() -> None:
    """Green is well, red is not: the fixed ones are of these few, and failures are red."""
    fixed = {
        (one["matcher"]["options"], found["value"]["fixedColor"])
        for panel in LINES
        for one in panel["fieldConfig"]["overrides"]
        for found in one["properties"]
        if found["id"] == "color"
    }
    assert {name for _, name in fixed} <= _SEVERITY
    assert ("/: ok$/", "green") in fixed
    assert ("/: (server_error|network_error|auth_failure)$/", "red") in fixed
    assert ("dead_lettered", "red") in fixed
