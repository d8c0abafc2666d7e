"""When a pass over the listing is due, and which broken-off one is gone on with."""

import pytest
from hlf_sync.core.listing_pass import Noted, is_outdated, retry_s, wait_s

pytestmark = pytest.mark.requirement("R63")

HOUR = 3600.0


@pytest.mark.parametrize(
    ("newest", "now_s", "expected"),
    [
        (None, 0.0, 0.0),
        (Noted(1000.0, None), 1001.0, 0.0),  # broken off: at once
        (Noted(1000.0, 1060.0), 1060.0, HOUR - 60.0),  # counted from its beginning
        (Noted(1000.0, 1060.0), 1000.0 + HOUR, 0.0),
        (Noted(1000.0, 9000.0), 9000.0, 0.0),  # it took longer than the period
        (Noted(90_000.0, 90_060.0), 1000.0, HOUR),  # the clock was set back
    ],
)
def test_passes_come_as_often_as_the_setting_says(
    newest: Noted | None, now_s: float, expected: float
) -> None:
    """Whoever leads."""
    assert wait_s(newest, now_s, HOUR) == expected


def test_a_pass_that_stopped_is_tried_again_within_five_minutes() -> None:
    """Sooner where passes come more often."""
    assert (retry_s(HOUR), retry_s(30.0)) == (300.0, 30.0)


def test_a_broken_off_pass_is_gone_on_with_for_a_day() -> None:
    """Or for one period, where that is longer; a clock that was set back makes it new."""
    assert not is_outdated(0.0, 86_000.0, HOUR)
    assert is_outdated(0.0, 87_000.0, HOUR)
    assert not is_outdated(0.0, 87_000.0, 100_000.0)
    assert is_outdated(90_000.0, 0.0, HOUR)
