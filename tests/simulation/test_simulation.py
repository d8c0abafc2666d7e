"""Histories of a simulated world end right, a seed is a history, and each bug put in on purpose is
found. Ten thousand of them: `make simulate`.
"""

import pytest

from tests.simulation.bugs import FOUND
from tests.simulation.history import run

_AT_ONCE = 10
_BLOCKS = range(1, 201, _AT_ONCE)
_MOST = 50


@pytest.mark.requirement("R07")
@pytest.mark.requirement("R40")
@pytest.mark.requirement("R68")
@pytest.mark.parametrize("first", _BLOCKS)
def test_every_simulated_history_ends_right(first: int) -> None:
    """The transport, the pipeline and the replay, under latencies, lost answers, outages, crashes,
    rebalances and worse; the seed that fails is in the message.
    """
    ended = [run(seed) for seed in range(first, first + _AT_ONCE)]
    wrong = [one for one in ended if one.wrong is not None]
    assert not wrong, f"again: python -m tests.simulation --seed {wrong[0].seed}; {wrong[0].wrong}"


def test_a_seed_is_a_history() -> None:
    """Otherwise a failure could not be looked at."""
    assert [run(seed) for seed in range(1, 6)] == [run(seed) for seed in range(1, 6)]


@pytest.mark.parametrize("bug", FOUND)
def test_a_bug_put_in_on_purpose_is_found(bug: str) -> None:
    """By one of the first seeds."""
    assert any(run(seed, bug).wrong for seed in range(1, 1 + _MOST)), f"{bug} is not found"
