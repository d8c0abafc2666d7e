"""When dead letters are a flood: a run of them, or too many of the last ones."""

import pytest
from hlf_sync.core.limiter import Limiter, LimitPolicy

pytestmark = pytest.mark.requirement("R40")

RUN_ONLY = LimitPolicy(ratio=0, run=3)
RATIO_ONLY = LimitPolicy(ratio=0.5, window=4, run=0)


def fed(policy: LimitPolicy, outcomes: str) -> list[bool]:
    """Whether each of the letters among the outcomes was too many: `x` a letter, `.` a success."""
    limiter = Limiter(policy)
    answers: list[bool] = []
    for outcome in outcomes:
        if outcome == "x":
            answers.append(limiter.lettered() is not None)
        else:
            limiter.succeeded()
    return answers


def test_a_run_halts_at_its_length() -> None:
    """Three in a row, and again while it goes on."""
    assert fed(RUN_ONLY, "xxxx") == [False, False, True, True]


def test_a_success_ends_a_run() -> None:
    """The count begins anew."""
    assert fed(RUN_ONLY, "xx.xx.xxx") == [False] * 6 + [True]


def test_a_ratio_says_nothing_before_its_window_is_full() -> None:
    """The first three outcomes of a start prove nothing."""
    assert fed(RATIO_ONLY, "xxx") == [False] * 3
    assert fed(RATIO_ONLY, "xxxx")[-1]


def test_exactly_the_ratio_is_still_allowed() -> None:
    """More than half, not half."""
    assert fed(RATIO_ONLY, ".x.x.x.x") == [False] * 4
    assert fed(RATIO_ONLY, ".x.xx") == [False, False, True]


def test_a_percentage_is_not_passed_by_rounding() -> None:
    """29 of 100 are 29 %, although 0.29 * 100 is 28.999…"""
    policy = LimitPolicy(ratio=0.29, window=100, run=0)
    assert not any(fed(policy, "." * 71 + "x" * 29))
    assert fed(policy, "." * 71 + "x" * 30)[-1]


def test_what_left_the_window_counts_no_more() -> None:
    """Old letters are forgotten one by one."""
    assert fed(RATIO_ONLY, "xx....x.x") == [False] * 4
    assert fed(RATIO_ONLY, "xx..xx.x") == [False, False, False, False, True]


def test_zero_switches_both_off() -> None:
    """Nothing is too many."""
    assert not any(fed(LimitPolicy(ratio=0, run=0, window=4), "x" * 200))


def test_a_batch_of_successes_counts_as_so_many() -> None:
    """However many more than the window holds."""
    limiter = Limiter(RATIO_ONLY)
    assert [limiter.lettered() for _ in range(3)] == [None] * 3
    limiter.succeeded(1_000_000)
    assert [limiter.lettered() for _ in range(2)] == [None] * 2
    assert limiter.lettered() is not None


def test_no_successes_do_not_end_a_run() -> None:
    """An empty batch is not an outcome."""
    limiter = Limiter(RUN_ONLY)
    limiter.lettered()
    limiter.lettered()
    limiter.succeeded(0)
    assert limiter.lettered() is not None


def test_the_reason_says_how_many_of_how_many() -> None:
    """What the operator reads."""
    run, ratio = Limiter(RUN_ONLY), Limiter(RATIO_ONLY)
    assert [run.lettered() for _ in range(3)][-1] == "3 dead letters in a row"
    assert [ratio.lettered() for _ in range(4)][-1] == "4 of the last 4 outcomes were dead letters"


def test_the_operators_word_begins_anew() -> None:
    """Run and window are both empty."""
    policy = LimitPolicy(ratio=0.5, window=4, run=4)
    limiter = Limiter(policy)
    assert [limiter.lettered() is not None for _ in range(4)] == [False, False, False, True]
    limiter.reset()
    assert [limiter.lettered() is not None for _ in range(4)] == [False, False, False, True]


def test_the_defaults_are_half_of_a_hundred_and_fifty_in_a_row() -> None:
    """As the settings say."""
    assert fed(LimitPolicy(), "x" * 50).index(True) == 49
    assert fed(LimitPolicy(), ".x" * 50 + ".x") == [False] * 51
