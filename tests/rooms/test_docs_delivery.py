"""docs/delivery.md promises only what a test proves: each row names one, and each named one
exists.
"""

import ast
import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_TEXT = (_ROOT / "docs" / "delivery.md").read_text(encoding="utf-8")
_NAMED = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", _TEXT)


def test_each_named_test_exists() -> None:
    """A renamed test must be renamed there too."""
    missing = [f"{path}::{name}" for path, name in _NAMED if name not in _tests_of(_ROOT / path)]
    assert missing == []
    assert len(_NAMED) >= 25


def test_each_row_of_a_fault_names_its_proof() -> None:
    """A row without one would be a hope."""
    faults = _TEXT.split("## A worker")[1].split("## What no fence can close")[0]
    rows = [
        line
        for line in faults.splitlines()
        if line.startswith("| ") and not line.startswith(("| what happens", "| client |"))
    ]
    assert len(rows) >= 25
    assert [row for row in rows if "::test_" not in row] == []


def test_each_seeded_bug_is_in_the_table() -> None:
    """By its name in tests/fixtures/seeded_bugs.py."""
    found = set(
        re.findall(
            r"^def ([a-z]\w+)\(\) -> None",
            (_ROOT / "tests/fixtures/seeded_bugs.py").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    )
    assert found == set(re.findall(r"^\| `(\w+)` \|", _TEXT, re.MULTILINE))


def _tests_of(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
