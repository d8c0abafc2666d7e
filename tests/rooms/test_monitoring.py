"""Rules, alerts and dashboard of deploy/monitoring against the table of metrics, the runbook and,
where it is installed, promtool.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.telemetry.metric_table import TABLE, Kind, Metric
from hlf_sync.telemetry.web_metric_table import WEB_TABLE
from hlf_sync.top.headline import ALERTS

from tests.alerts.runbook import rows
from tests.alerts.stories import STORIES
from tests.rooms.promql import Selector, groupings, selectors

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/monitoring"
RULES = (FOLDER / "prometheus/hlf-sync.rules.yml").read_text(encoding="utf-8")
ALERT_RULES = (FOLDER / "prometheus/hlf-sync.alerts.yml").read_text(encoding="utf-8")
UNIT_TESTS = "".join(
    file.read_text(encoding="utf-8") for file in sorted((FOLDER / "prometheus/tests").glob("*.yml"))
)
BOARD: dict[str, Any] = json.loads(
    (FOLDER / "grafana/dashboards/hlf-sync.json").read_text(encoding="utf-8")
)
RUNBOOK = (ROOT / "docs/runbook.md").read_text(encoding="utf-8")

# Prometheus' own, and what a scrape adds.
_ALWAYS = {"instance", "job"}
_FOREIGN = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian's package prometheus)"
)


def blocks(text: str, word: str) -> dict[str, str]:
    """The rules of a file by name: each from its `- alert:` or `- record:` on."""
    found = re.findall(
        rf"^ +- {word}: (\S+)\n(.*?)(?=^ +- |^ +# |\Z)", text, re.MULTILINE | re.DOTALL
    )
    return dict(found)


ALERT_BLOCKS = blocks(ALERT_RULES, "alert")
RECORDED = blocks(RULES, "record")


def expression(block: str) -> str:
    """A rule's `expr`, on one line or folded."""
    found = re.search(r"expr: >-\n((?: {10}.*\n)+)|expr: (.*)", block)
    assert found is not None
    return " ".join((found[1] or found[2]).split())


def word(block: str, key: str) -> str | None:
    """A rule's value of a key, without quotes."""
    found = re.search(rf"^ +{key}: (.*)$", block, re.MULTILINE)
    return found[1].strip("'\"") if found else None


def panel_queries() -> Iterator[tuple[str, str, str]]:
    """Title, expression and legend of the dashboard."""
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"], target.get("legendFormat", "")
    for note in BOARD["annotations"]["list"]:
        yield note["name"], note["expr"], ""


EXPRESSIONS = {
    **{f"rule {name}": expression(block) for name, block in RECORDED.items()},
    **{f"alert {name}": expression(block) for name, block in ALERT_BLOCKS.items()},
    **{f"panel {title}: {query}": query for title, query, _ in panel_queries()},
}


def metric(name: str) -> Metric | None:
    """The row of the table that a series belongs to."""
    by_name = {row.full_name: row for row in (*TABLE, *WEB_TABLE)}
    for suffix in ("", "_bucket", "_sum", "_count"):
        row = by_name.get(name.removesuffix(suffix)) if name.endswith(suffix) else None
        if row is not None and (row.kind is Kind.HISTOGRAM) == bool(suffix):
            return row
    return None


def labels_of(name: str) -> set[str] | None:
    """Which labels a series can have; None when there is no such series."""
    if name in _FOREIGN:
        return _FOREIGN[name] | _ALWAYS
    if name in RECORDED:
        return groupings(expression(RECORDED[name])) - {"le"}
    row = metric(name)
    return (
        None
        if row is None
        else {*row.labels, *_ALWAYS, *(["le"] if name.endswith("_bucket") else [])}
    )


def complaints(selector: Selector) -> Iterator[str]:
    """What the table does not have of it."""
    labels = labels_of(selector.name)
    if labels is None:
        yield f"no metric {selector.name}"
        return
    row = metric(selector.name)
    for label, values in selector.labels.items():
        if label not in labels:
            yield f"{selector.name} has no label {label}"
            continue
        known = row.labels.get(label) if row is not None else None
        if row is not None and row.only is not None and label in row.labels:
            known = tuple({combination[list(row.labels).index(label)] for combination in row.only})
        yield from (
            f"{selector.name}: {label} is never {value!r}"
            for value in values
            if known is not None and value not in known
        )


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_expression_names_metrics_and_label_values_of_the_table(where: str) -> None:
    """A metric that is renamed, or a value that goes, fails here and not at night."""
    query = EXPRESSIONS[where]
    found = list(selectors(query))
    assert found, query
    assert [line for selector in found for line in complaints(selector)] == []
    possible = set[str]().union(*(labels_of(selector.name) or set() for selector in found))
    assert groupings(query) <= possible


def test_a_legend_names_labels_that_its_query_keeps() -> None:
    """`{{label}}` of a label that was summed away is empty."""
    for title, query, legend in panel_queries():
        kept = (
            groupings(query)
            if re.search(r"\b(sum|max|min|avg|count)\b", query)
            else labels_of(next(selectors(query)).name) or set()
        )
        assert set(re.findall(r"\{\{(\w+)\}\}", legend)) <= kept, title


def test_the_unit_tests_feed_series_that_exist() -> None:
    """Otherwise they prove rules about figures that nobody sends."""
    series = re.findall(r"- series: '(.*)'", UNIT_TESTS)
    assert len(series) > 50
    assert [
        line for text in series for selector in selectors(text) for line in complaints(selector)
    ] == []


def test_a_metric_or_value_that_does_not_exist_is_noticed() -> None:
    """The test of the test."""
    wrong = (
        'hlf_sync_lagg_records + hlf_sync_halted{reason="tired"} + hlf_sync_halted{why="x"} +'
        ' hlf_sync_verdict{reason=~"auth|tired"}'
    )
    assert [line for selector in selectors(wrong) for line in complaints(selector)] == [
        "no metric hlf_sync_lagg_records",
        "hlf_sync_halted: reason is never 'tired'",
        "hlf_sync_halted has no label why",
        "hlf_sync_verdict: reason is never 'tired'",
    ]


@pytest.mark.parametrize("name", ALERT_BLOCKS)
def test_every_alert_says_how_bad_it_is_and_where_the_runbook_has_it(name: str) -> None:
    """Severity, two sentences, and a section under its own name that says what to look at, to do
    and not to do.
    """
    block = ALERT_BLOCKS[name]
    assert word(block, "severity") in {"page", "ticket"}
    assert word(block, "summary")
    assert word(block, "description")
    assert word(block, "runbook_url") == f"docs/runbook.md#{name.lower()}"
    section = re.search(rf"^### {name}\n(.*?)(?=^#)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert section[1].startswith(f"*{word(block, 'severity')}*")
    for heading in ("look first", "do", "do not"):
        assert f"**{heading}**" in section[1].lower()


def test_the_runbook_has_no_section_for_an_alert_that_is_gone() -> None:
    """And the dashboard links to all there are."""
    assert set(re.findall(r"^### (HlfSync\w+)", RUNBOOK, re.MULTILINE)) == set(ALERT_BLOCKS)
    named = set(re.findall(r"HlfSync[A-Z]\w+", RUNBOOK)) - {"HlfSyncX"}
    assert named == set(ALERT_BLOCKS)
    text = next(panel["options"]["content"] for panel in BOARD["panels"] if panel["type"] == "text")
    assert set(re.findall(r"#(hlfsync\w+)", text)) == {name.lower() for name in ALERT_BLOCKS}


def test_every_fault_of_the_runbook_has_its_story_and_names_alerts_that_exist() -> None:
    """The stories are opt-in; that none is missing is not."""
    assert set(STORIES) == set(rows())
    assert all(row.turns_on | row.perhaps <= set(ALERT_BLOCKS) for row in rows().values())
    assert all(not row.turns_on & row.perhaps for row in rows().values())


def test_every_alert_has_a_unit_test_in_which_it_fires_and_clears() -> None:
    """The names in promtool's tests, twice each: with alerts expected and without."""
    expected = re.findall(r"alertname: (\w+)\n +exp_alerts:( \[\])?\n", UNIT_TESTS)
    assert {name for name, nothing in expected if not nothing} == set(ALERT_BLOCKS)
    assert {name for name, nothing in expected if nothing} == set(ALERT_BLOCKS)


def test_every_reason_of_the_verdict_leads_to_an_alert_that_exists() -> None:
    """`hlf-sync top` sends people to the runbook by them; what is missing passes by itself."""
    assert set(ALERTS.values()) <= set(ALERT_BLOCKS)
    assert set(Reason) - set(ALERTS) == {
        Reason.CAUGHT_UP,
        Reason.STANDBY,
        Reason.CATCHING_UP,
        Reason.SOURCE_RETURNING,
    }


def test_the_dashboard_answers_in_the_order_in_which_people_ask() -> None:
    """Wrongly listed, since when, why, what to do; the details below."""
    rows = [panel["title"] for panel in BOARD["panels"] if panel["type"] == "row"]
    assert rows[:4] == [
        "Is anyone shown or hidden wrongly right now?",
        "Since when?",
        "Why?",
        "What to do",
    ]
    tops = [panel["gridPos"]["y"] for panel in BOARD["panels"]]
    assert tops == sorted(tops)


def test_no_panel_lies_on_another_and_each_says_what_it_shows() -> None:
    """24 columns; ids differ; every query goes to the chosen data source."""
    cells: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        taken = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert max(x for x, _ in taken) < 24
        cells |= taken
        if panel.get("targets"):
            assert panel["type"] == "table" or panel["description"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_the_files_refer_to_each_other() -> None:
    """Prometheus' rule files, the job that the rules ask for, Grafana's folder."""
    config = (FOLDER / "prometheus/prometheus.yml").read_text(encoding="utf-8")
    assert re.findall(r"^  - (hlf-sync\.\w+\.yml)$", config, re.MULTILINE) == [
        "hlf-sync.rules.yml",
        "hlf-sync.alerts.yml",
    ]
    assert (
        set(re.findall(r'job="([^"]*)"', ALERT_RULES))
        == {"hlf-sync"}
        == set(re.findall(r"job_name: (\S+)", config)) - {"hlf-sync-web"}
    )
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    provider = (FOLDER / "grafana/provisioning/dashboards/hlf-sync.yml").read_text(encoding="utf-8")
    assert "deploy/monitoring/grafana/dashboards:/var/lib/grafana/dashboards" in compose
    assert "path: /var/lib/grafana/dashboards" in provider


@needs_promtool
def test_promtool_accepts_the_configuration_and_every_rule() -> None:
    """Syntax of YAML, PromQL and templates."""
    assert PROMTOOL is not None
    subprocess.run(
        [PROMTOOL, "check", "config", "prometheus.yml"],
        cwd=FOLDER / "prometheus",
        check=True,
        capture_output=True,
    )


@needs_promtool
def test_every_panel_is_promql(tmp_path: Path) -> None:
    """As recording rules, which is what promtool can read."""
    assert PROMTOOL is not None
    rules = "".join(
        f"      - record: panel{number}\n        expr: {json.dumps(query)}\n"
        for number, (_, query, _) in enumerate(panel_queries())
    )
    file = tmp_path / "panels.yml"
    file.write_text(f"groups:\n  - name: panels\n    rules:\n{rules}", encoding="utf-8")
    found = subprocess.run(
        [PROMTOOL, "check", "rules", file], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr


@needs_promtool
@pytest.mark.requirement("R60")
@pytest.mark.requirement("R62")
def test_every_alert_fires_and_clears_by_promtools_unit_tests() -> None:
    """The rules as Prometheus itself evaluates them."""
    assert PROMTOOL is not None
    files = sorted((FOLDER / "prometheus/tests").glob("*.yml"))
    found = subprocess.run(
        [PROMTOOL, "test", "rules", *files], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr
