"""The printed pages in docs are what the code prints now, and say everything."""

from pathlib import Path

from hlf_sync.config.settings import SECRETS, Settings, variable
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.pages import metrics as metrics_page
from hlf_sync.pages import settings as settings_page
from hlf_sync.telemetry.metric_table import TABLE

from tests import requirements_page
from tests.requirement_rows import ROWS

_DOCS = Path(__file__).parents[2] / "docs"


def _page(name: str) -> str:
    return (_DOCS / name).read_text(encoding="utf-8")


def test_the_metrics_page_is_the_one_the_table_prints() -> None:
    """Print it again after a change: `make docs`."""
    assert _page("metrics.md") == metrics_page.render()


def test_the_settings_page_is_the_one_the_settings_print() -> None:
    """Print it again after a change: `make docs`."""
    assert _page("settings.md") == settings_page.render()


def test_the_requirements_page_is_the_one_the_markers_print() -> None:
    """Print it again after a change: `make docs`."""
    assert _page("requirements.md") == requirements_page.render()


def test_the_metrics_page_tells_every_metric_and_reason() -> None:
    """Nothing is shown that is not printed."""
    page = metrics_page.render()
    assert [metric.full_name for metric in TABLE if f"| `{metric.full_name}` |" not in page] == []
    assert [reason for reason in Reason if f"| {reason} |" not in page] == []


def test_the_settings_page_tells_every_setting_and_which_are_secret() -> None:
    """With its default; a secret's file is named."""
    page = settings_page.render()
    assert [name for name in Settings.model_fields if f"`{variable(name)}`" not in page] == []
    assert page.count("**secret** text") == len(SECRETS)
    assert all(f"`{variable(name)}_FILE`" in page for name in SECRETS)


def test_a_marker_names_a_row_that_there_is() -> None:
    """A slip of the pen would prove nothing."""
    known = {row for rows in ROWS.values() for row, _ in rows}
    assert {
        row: tests for row, tests in requirements_page.proofs().items() if row not in known
    } == {}
