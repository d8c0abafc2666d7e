"""Seconds for people."""

import pytest
from hlf_sync.core.durations import duration


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (10, "10 s"),
        (119.9, "119 s"),
        (120, "2 min"),
        (3_599, "59 min"),
        (7_800, "2 h 10 min"),
        (270_000, "3 d 3 h"),
    ],
)
def test_seconds_are_written_for_people(seconds: float, text: str) -> None:
    """No figure of five digits."""
    assert duration(seconds) == text
