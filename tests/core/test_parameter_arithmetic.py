"""No statement of ours adds or multiplies two parameters that name no type: the driver sends each number
in the narrowest type that holds it, and PostgreSQL's sum of two smallint overflows at 32767
(findings/two_small_numbers_overflow.sh).
"""

import re
from pathlib import Path

import hlf_sync
import pytest

_ROOT = Path(hlf_sync.__file__).parent
_PARAMETER = r"%(?:\(\w+\))?s"
# The first two of a sum: what they are, the rest becomes.
_UNTYPED = re.compile(rf"(?<![-+*]\s){_PARAMETER}\s*[-+*]\s*{_PARAMETER}")


@pytest.mark.parametrize(
    ("statement", "is_untyped"),
    [
        ("SELECT %s + %s", True),
        ("SELECT %(lease_s)s\n * %(late_s)s", True),
        ("SELECT %(lease_s)s::float8 + %(late_s)s + %(slack_s)s", False),
        ("SELECT attempt_count + %(more)s", False),
    ],
)
def test_what_counts_as_untyped(statement: str, is_untyped: bool) -> None:
    assert bool(_UNTYPED.search(statement)) is is_untyped


def test_each_sum_of_parameters_names_a_type() -> None:
    found = [
        f"{path.relative_to(_ROOT)}: {match[0]}"
        for path in sorted(_ROOT.rglob("*.py"))
        if "execute" in (text := path.read_text(encoding="utf-8")) or "statements" in path.parts
        for match in _UNTYPED.finditer(text)
    ]
    assert found == []
