"""Seconds and bytes for people."""

import pytest
from hlf_sync.core.quantities import duration, size


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


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (-1, "0 B"),
        (512, "512 B"),
        (28_672, "28 KiB"),
        (3 << 20, "3 MiB"),
        (1.5 * (1 << 30), "1.5 GiB"),
    ],
)
def test_bytes_are_written_for_people(count: float, text: str) -> None:
    """In one unit for all: 1,024 of the one before."""
    assert size(count) == text
