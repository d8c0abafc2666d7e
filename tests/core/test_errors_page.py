"""docs/errors.md is what the verdict's tables say."""

from pathlib import Path

from hlf_sync.core.answer import TransportFailure
from hlf_sync.core.verdict import CODES, Course
from hlf_sync.pages.errors import render


def test_the_page_in_docs_is_the_one_the_code_prints() -> None:
    """Print it again after a change: `python -m hlf_sync.pages.errors > docs/errors.md`."""
    assert (Path(__file__).parents[2] / "docs" / "errors.md").read_text(
        encoding="utf-8"
    ) == render()


def test_the_page_tells_every_failure_code_and_course() -> None:
    """Nothing is judged that is not printed."""
    page = render()
    assert all(f"| {failure} |" in page for failure in TransportFailure)
    assert all(f"0x{code:08X}" in page for code in CODES)
    assert all(f"| {course} |" in page for course in Course)
