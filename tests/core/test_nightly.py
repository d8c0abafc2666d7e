"""When a night is due, and which of its steps."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hlf_sync.core.nightly import (
    MOST_ATTEMPTS,
    RETRY_AFTER_S,
    FirstStart,
    Mark,
    Night,
    Outcome,
    Rest,
    Turn,
    Work,
    due_date,
    failed,
    is_over,
    is_step_due,
    overdue_s,
    turn,
)
from hypothesis import given
from hypothesis import strategies as st

# ruff: noqa: DTZ001 - the wall clock has no zone
pytestmark = pytest.mark.requirement("R08")

AT = time(2, 30)
DAY = date(2027, 3, 10)
DONE = Night(DAY, is_finished=True)


@pytest.mark.parametrize(
    ("local", "newest", "expected"),
    [
        (datetime(2027, 3, 11, 2, 29, 59), DONE, Rest()),
        (datetime(2027, 3, 11, 2, 30), DONE, Work(date(2027, 3, 11))),
        (datetime(2027, 3, 11, 23, 59), DONE, Work(date(2027, 3, 11))),
        # Missed ones: the last only.
        (datetime(2027, 3, 20, 1, 0), DONE, Work(date(2027, 3, 19))),
        # Broken off: gone on with, until the next one is due.
        (datetime(2027, 3, 10, 9, 0), Night(DAY, is_finished=False), Work(DAY)),
        (datetime(2027, 3, 11, 2, 30), Night(DAY, is_finished=False), Work(date(2027, 3, 11))),
        # The wall clock went back: a later date has been.
        (datetime(2027, 3, 10, 2, 10), DONE, Rest()),
        (datetime(2027, 3, 9, 12, 0), DONE, Rest()),
        # Never a night: none was missed.
        (datetime(2027, 3, 10, 2, 10), None, FirstStart(date(2027, 3, 9))),
    ],
)
def test_a_night_is_due_by_the_wall_clock(
    local: datetime, newest: Night | None, expected: Turn
) -> None:
    assert turn(local, AT, newest) == expected


@given(
    st.sampled_from(
        ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "UTC"]
    ),
    st.times().map(lambda t: t.replace(second=0, microsecond=0)),
    st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)),
    st.lists(st.integers(1, 90_000), min_size=1, max_size=60),
)
def test_no_date_is_begun_twice_nor_an_older_one_after_it(
    zone: str, at: time, start: datetime, steps: list[int]
) -> None:
    """Whatever the wall clock does; and what is due is never more than a day and an hour old."""
    now, newest, begun = start.replace(tzinfo=UTC), None, list[date]()
    for step in steps:
        local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        match turn(local, at, newest):
            case FirstStart(run_date) | Work(run_date):
                newest = Night(run_date, is_finished=True)
                begun.append(run_date)
            case Rest():
                pass
        assert newest is not None
        assert timedelta(0) <= local - datetime.combine(newest.run_date, at) + timedelta(hours=1)
        assert local - datetime.combine(newest.run_date, at) < timedelta(hours=25)
        now += timedelta(seconds=step)
    assert begun == sorted(set(begun))


@pytest.mark.parametrize("zone", ["Europe/Oslo", "America/New_York", "Australia/Lord_Howe"])
def test_each_local_date_of_a_year_has_its_night_in_every_zone(zone: str) -> None:
    """Minute by minute around the changes, by hours else."""
    now, newest, begun = datetime(2027, 1, 1, 12, tzinfo=UTC), None, list[date]()
    while now < datetime(2028, 1, 1, 12, tzinfo=UTC):
        local = now.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        found = turn(local, time(2, 15), newest)
        if not isinstance(found, Rest):
            newest = Night(found.run_date, is_finished=True)
            begun.append(found.run_date)
        now += timedelta(minutes=10)
    first = begun[0]
    assert begun == [first + timedelta(days=n) for n in range(366)]


@pytest.mark.parametrize(
    ("mark", "now_s", "expected"),
    [
        (None, 0.0, True),
        (Mark(Outcome.DONE, 1, 0.0), 1e9, False),
        (Mark(Outcome.SKIPPED, 1, 0.0), 1e9, False),
        (Mark(Outcome.GIVEN_UP, 6, 0.0), 1e9, False),
        (Mark(Outcome.RUNNING, 1, 100.0), 100.0, True),
        (Mark(Outcome.FAILED, 1, 100.0), 100.0 + RETRY_AFTER_S[0] - 1, False),
        (Mark(Outcome.FAILED, 1, 100.0), 100.0 + RETRY_AFTER_S[0], True),
        (Mark(Outcome.FAILED, 5, 100.0), 100.0 + RETRY_AFTER_S[4] - 1, False),
        (Mark(Outcome.FAILED, 5, 100.0), 100.0 + RETRY_AFTER_S[4], True),
    ],
)
def test_a_step_that_failed_is_tried_again_later(
    mark: Mark | None, now_s: float, expected: bool
) -> None:
    assert is_step_due(mark, now_s) is expected


def test_a_step_is_given_up_after_its_last_attempt() -> None:
    assert [failed(n) for n in (1, MOST_ATTEMPTS - 1, MOST_ATTEMPTS)] == [
        Outcome.FAILED,
        Outcome.FAILED,
        Outcome.GIVEN_UP,
    ]


def test_a_step_whose_process_died_each_time_is_given_up_too() -> None:
    assert not is_step_due(Mark(Outcome.RUNNING, MOST_ATTEMPTS, 0.0), 1e9)


def test_a_night_is_over_when_no_step_is_left_to_try() -> None:
    marks = {"a": Mark(Outcome.DONE, 1, 0.0), "b": Mark(Outcome.GIVEN_UP, 6, 0.0)}
    assert is_over(("a", "b"), marks)
    assert not is_over(("a", "b", "c"), marks)
    assert not is_over(("a", "c"), {**marks, "c": Mark(Outcome.FAILED, 1, 0.0)})


def test_a_night_is_overdue_until_it_is_finished() -> None:
    noon = datetime(2027, 3, 11, 12, 0)
    assert overdue_s(noon, AT, None) == 0.0
    assert overdue_s(noon, AT, DONE) == 9.5 * 3600
    assert overdue_s(noon, AT, Night(date(2027, 3, 11), is_finished=False)) == 9.5 * 3600
    assert overdue_s(noon, AT, Night(date(2027, 3, 11), is_finished=True)) == 0.0
    assert due_date(noon, AT) == noon.date()
