"""How a replay goes out: one, ten, all; at its rate; no further once too many fail."""

import pytest
from hlf_sync.replay.rollout import Rollout, RolloutPolicy
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.requirement("R47")

FAST = RolloutPolicy(rate_per_s=1000, failure_ratio=0.2)


def take(rollout: Rollout, now_s: float = 0.0) -> int:
    """Ask for all that there is room for."""
    count = rollout.room(now_s)
    rollout.took(count, now_s)
    return count


def end(rollout: Rollout, count: int, *, is_failure: bool = False) -> None:
    """So many letters end."""
    for _ in range(count):
        rollout.end(is_failure=is_failure)


def test_one_then_ten_then_all() -> None:
    """Each stage waits for the one before to have ended."""
    rollout = Rollout(FAST, 40)
    assert (take(rollout), take(rollout, 1), rollout.stage) == (1, 0, "canary of 1")
    end(rollout, 1)
    assert (take(rollout, 2), take(rollout, 3), rollout.stage) == (10, 0, "canary of 10")
    end(rollout, 9)
    assert take(rollout, 4) == 0
    end(rollout, 1)
    assert (take(rollout, 5), rollout.stage) == (29, "all")
    end(rollout, 29)
    assert rollout.is_done
    assert take(rollout, 6) == 0


@pytest.mark.parametrize("total", [0, 1, 2, 5, 11, 12])
def test_fewer_letters_than_a_stage_are_all_asked_for(total: int) -> None:
    """And no more than there are."""
    rollout = Rollout(FAST, total)
    asked = 0
    for now_s in range(10):
        count = take(rollout, now_s)
        asked += count
        end(rollout, count)
    assert asked == total
    assert rollout.is_done


def test_the_rate_is_kept_and_an_idle_second_is_not_saved_up_for_ever() -> None:
    """At most a second's worth at once."""
    rollout = Rollout(RolloutPolicy(rate_per_s=5, failure_ratio=1), 1000)
    end_of_canaries(rollout)
    asked = 0
    for step in range(100, 1100):
        count = take(rollout, step / 10)
        asked += count
        assert count <= 6
        end(rollout, count)
    assert 495 <= asked <= 506


def end_of_canaries(rollout: Rollout) -> None:
    """Past both."""
    for now_s in (0.0, 5.0, 6.0, 7.0, 8.0):
        end(rollout, take(rollout, now_s))


def test_no_more_than_a_window_is_under_way() -> None:
    """A live change waits behind no more than that."""
    rollout = Rollout(RolloutPolicy(rate_per_s=1, failure_ratio=1), 1000)
    assert rollout.policy.window == 10
    rollout = Rollout(FAST, 100_000)
    end_of_canaries(rollout)
    asked = sum(take(rollout, now_s) for now_s in range(10, 100))
    assert asked <= FAST.window == 5000


def test_a_canary_that_fails_ends_it() -> None:
    """The fault is still there."""
    rollout = Rollout(FAST, 100)
    take(rollout)
    end(rollout, 1, is_failure=True)
    assert rollout.trouble == "the first letter failed again"
    assert take(rollout, 9) == 0


def test_more_than_the_ratio_of_the_last_ones_ends_it() -> None:
    """Two of ten are allowed, three are not; a fault that begins late is seen."""
    rollout = Rollout(FAST, 1000)
    end(rollout, 500)
    end(rollout, 4, is_failure=True)
    assert rollout.trouble is None
    end(rollout, 1, is_failure=True)
    assert rollout.trouble == "5 of the last 20 letters failed again"


def test_a_ratio_of_one_never_ends_it_after_the_canary() -> None:
    """For whoever wants every letter to be tried."""
    rollout = Rollout(RolloutPolicy(1000, 1.0), 100)
    end(rollout, 1)
    end(rollout, 50, is_failure=True)
    assert rollout.trouble is None


@given(
    st.integers(0, 60),
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20), st.booleans()), max_size=60),
)
def test_never_more_than_the_stage_the_window_and_the_total(
    total: int, steps: list[tuple[float, int, bool]]
) -> None:
    """Whatever ends when."""
    rollout, now_s = Rollout(RolloutPolicy(7, 0.5), total), 0.0
    for wait_s, ends, is_failure in steps:
        now_s += wait_s
        take(rollout, now_s)
        assert (
            rollout.ended
            <= rollout.asked
            <= min(total, rollout.limit if rollout.trouble is None else total)
        )
        assert rollout.asked - rollout.ended <= rollout.policy.window
        end(rollout, min(ends, rollout.asked - rollout.ended), is_failure=is_failure)
