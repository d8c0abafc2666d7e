"""How long to wait before a client is made anew."""

import pytest
from hlf_sync.core.rebuilding import Rebuilding


@pytest.mark.requirement("R40")
def test_the_pause_doubles_from_one_second_to_thirty_and_starts_anew_after_a_minute_of_health() -> (
    None
):
    """A short fault costs little, a lasting one no storm of rebalances."""
    rebuilding = Rebuilding()
    assert [rebuilding.wait_s(0.1) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]
    assert [rebuilding.wait_s(0.1) for _ in range(2_000)][-1] == 30
    assert rebuilding.wait_s(60.0) == 1
