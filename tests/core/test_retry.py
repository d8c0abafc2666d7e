"""Backoff: 2, 4, 8 … seconds with jitter, a cap, Retry-After as a floor, an end by attempts or by
the deadline.
"""

import pytest
from hlf_sync.core.retry import DEFAULT, FAST, RetryPolicy, backoff, next_delay

pytestmark = pytest.mark.requirement("R27")


@pytest.mark.parametrize(
    ("policy", "waits"), [(DEFAULT, [2, 4, 8, 16, 16]), (FAST, [1, 2, 4, 4, 4])]
)
def test_the_waits_double_up_to_the_cap(policy: RetryPolicy, waits: list[float]) -> None:
    """The presets 2/4/8 and 1/2/4."""
    assert [backoff(policy, attempt) for attempt in range(1, 6)] == waits


def test_jitter_is_added_within_the_cap() -> None:
    """Half of 500 ms on top of 2 s, nothing on top of 16 s."""
    patient = RetryPolicy(max_attempts=10)
    assert next_delay(patient, 1, retry_after_s=None, random=0.5, elapsed_s=0) == 2.25
    assert next_delay(patient, 4, retry_after_s=None, random=0.9, elapsed_s=0) == 16.0


def test_the_last_attempt_has_no_wait_after_it() -> None:
    """Three attempts, and an attempt count kept from before a restart may lie beyond."""
    assert next_delay(DEFAULT, 2, retry_after_s=None, random=0, elapsed_s=0) == 4.0
    assert next_delay(DEFAULT, 3, retry_after_s=None, random=0, elapsed_s=0) is None
    assert next_delay(DEFAULT, 10_000, retry_after_s=None, random=0, elapsed_s=0) is None


def test_the_deadline_ends_a_delivery() -> None:
    """A wait that would pass 45 s is not begun."""
    assert next_delay(DEFAULT, 1, retry_after_s=None, random=0, elapsed_s=43.0) == 2.0
    assert next_delay(DEFAULT, 1, retry_after_s=None, random=0, elapsed_s=43.1) is None


def test_retry_after_is_a_lower_bound_and_no_reason_to_give_up() -> None:
    """Who is told to wait a minute waits a minute, although the deadline is 45 s."""
    assert next_delay(DEFAULT, 1, retry_after_s=60.0, random=0, elapsed_s=0) == 60.0
    assert next_delay(DEFAULT, 1, retry_after_s=1.0, random=0, elapsed_s=0) == 2.0


def test_attempt_ten_thousand_does_not_overflow() -> None:
    """A bug of stamina's, here a test."""
    assert backoff(RetryPolicy(max_delay_s=float("inf")), 10_000) < float("inf")
    assert backoff(DEFAULT, 10_000) == 16.0
    assert backoff(DEFAULT, 0) == 2.0
