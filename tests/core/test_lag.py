"""Lag over time."""

from hlf_sync.core.lag import Extent, LagHistory
from hypothesis import given
from hypothesis import strategies as st

OWNED = [0]


def test_lag_is_log_end_minus_committed_and_never_below_nothing() -> None:
    """The two are read one after the other, so the commit may be the newer one."""
    assert (Extent(3, 10).lag, Extent(10, 10).lag, Extent(11, 10).lag) == (7, 0, 0)


def test_a_partition_that_went_to_another_worker_is_told_by_that_one_only() -> None:
    """At once by ownership, and for good with the next measurement."""
    history = LagHistory()
    history.note({0: Extent(0, 5), 1: Extent(0, 7)}, 0)
    assert history.lag([0, 1]) == {0: 5, 1: 7}
    assert history.lag([1]) == {1: 7}
    history.note({1: Extent(0, 7)}, 1)
    assert history.lag([0, 1]) == {1: 7}
    assert not history.is_measured([0, 1])


def test_what_nobody_has_read_is_as_old_as_its_first_sight() -> None:
    """Freshness rises before the first record is read, and falls with what gets an outcome."""
    history = LagHistory()
    history.note({0: Extent(0, 10)}, 100)
    history.note({0: Extent(0, 20)}, 150)
    assert history.unhandled_s({}, OWNED, 160) == 60
    assert history.unhandled_s({0: 9}, OWNED, 160) == 60
    assert history.unhandled_s({0: 10}, OWNED, 160) == 10
    assert history.unhandled_s({0: 20}, OWNED, 160) == 0


def test_nothing_is_owed_when_all_is_committed() -> None:
    """Also of a partition of which nothing was received in this assignment."""
    history = LagHistory()
    history.note({0: Extent(10, 10)}, 100)
    assert history.unhandled_s({}, OWNED, 200) == 0
    assert history.unhandled_s({}, [7], 200) == 0


def test_a_partition_is_stuck_when_a_minute_brings_no_commit_although_records_wait() -> None:
    """A lag of 3 that stands still is worse than one of 10,000 that shrinks."""
    history = LagHistory()
    for second in range(0, 62, 2):
        history.note(
            {0: Extent(second, second + 10_000), 1: Extent(5, 8 + second), 2: Extent(4, 4)}, second
        )
    assert history.is_stuck([1])
    assert not history.is_stuck([0, 2])
    history.note({0: Extent(62, 10_062), 1: Extent(6, 70), 2: Extent(4, 4)}, 62)
    assert not history.is_stuck([1])


def test_a_long_outage_is_remembered_in_bounds() -> None:
    """Six hours of a measurement a second: what is owed stays known, a little too young at most,
    and never forgotten.
    """
    history = LagHistory()
    for second in range(20_000):
        history.note({0: Extent(0, second + 1)}, second)
    assert history.unhandled_s({0: 0}, OWNED, 20_000) == 20_000
    assert 9_800 < history.unhandled_s({0: 10_000}, OWNED, 20_000) <= 10_000
    assert 0 < history.unhandled_s({0: 19_999}, OWNED, 20_000) <= 1


def test_a_recreated_topic_starts_anew() -> None:
    """Its log end is lower than what was seen."""
    history = LagHistory()
    history.note({0: Extent(0, 1_000)}, 0)
    history.note({0: Extent(0, 3)}, 50)
    assert history.unhandled_s({}, OWNED, 60) == 10


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=700))
def test_the_age_told_is_never_above_the_true_one_and_missing_only_when_nothing_is_owed(
    steps: list[tuple[int, int]],
) -> None:
    """Against the plain history: when each offset was first seen in the log. Long outages are
    thinned out.
    """
    history, end, done, first_seen = LagHistory(), 0, 0, {}
    for second, (more, finished) in enumerate(steps):
        for offset in range(end, end + more):
            first_seen[offset] = second
        end += more
        done = min(end, done + finished)
        history.note({0: Extent(done, end)}, second)
        told = history.unhandled_s({0: done}, OWNED, second)
        owed = second - first_seen[done] if done < end else 0
        assert 0 <= told <= owed
        assert owed == 0 or len(steps) > 250 or told == owed
