"""docs/errors.md is what the verdict's tables say."""

from pathlib import Path

from consumer.core.answer import TransportFailure
from consumer.core.verdict import CODES, Course
from consumer.deliver.errors_page import render


def test_the_page_in_docs_is_the_one_the_code_prints() -> None:
    """Print it again after a change: `python -m consumer.deliver.errors_page > docs/errors.md`."""
    assert (Path(__file__).parents[2] / "docs" / "errors.md").read_text(encoding="utf-8") == render()


def test_the_page_tells_every_failure_code_and_course() -> None:
    """Nothing is judged that is not printed."""
    page = render()
    assert all(f"| {failure} |" in page for failure in TransportFailure)
    assert all(f"0x{code:08X}" in page for code in CODES)
    assert all(f"| {course} |" in page for course in Course)
