"""When the nightly work is due, and which of its steps: one run per local date, whatever clocks and
workers do. Pure; called by the room `nightly`.

`local` is what the clock on the wall shows, as PostgreSQL tells it for the time zone: a night
begins when the wall clock first shows its time. A time that a spring night leaves out (02:30) is
first reached when the clock jumps past it (03:00). In autumn the wall clock goes back and shows an
hour twice: the night began in the first one, and the second one shows the date before again, for
which nothing is begun any more, because a later date has been.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

RETRY_AFTER_S: Final = (60.0, 300.0, 900.0, 1800.0, 3600.0)
"""Between the attempts of a step that failed. With the first one they are all there are."""

MOST_ATTEMPTS: Final = len(RETRY_AFTER_S) + 1


class Outcome(StrEnum):
    """How a step stands."""

    RUNNING = "running"  # or its process died
    DONE = "done"
    SKIPPED = "skipped"  # the settings give it nothing to do
    FAILED = "failed"  # tried again
    GIVEN_UP = "given_up"


_OVER: Final = frozenset({Outcome.DONE, Outcome.SKIPPED, Outcome.GIVEN_UP})


@dataclass(frozen=True, slots=True)
class Night:
    """The newest run there is."""

    run_date: date
    is_finished: bool


@dataclass(frozen=True, slots=True)
class Mark:
    """What is known of a step. `tried_s`: when its last attempt began, epoch seconds by
    PostgreSQL's clock.
    """

    outcome: Outcome
    attempts: int
    tried_s: float


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is due."""


@dataclass(frozen=True, slots=True)
class FirstStart:
    """There never was a night, so none was missed: count from this date on."""

    run_date: date


@dataclass(frozen=True, slots=True)
class Work:
    """Begin the night of this date, or go on with it."""

    run_date: date


Turn = Rest | FirstStart | Work


def turn(local: datetime, at: time, newest: Night | None) -> Turn:
    """What to do when the wall clock shows `local`. Of several nights that were missed the last one
    is made up for.
    """
    due = due_date(local, at)
    if newest is None:
        return FirstStart(due)
    if newest.run_date < due:
        return Work(due)
    return Rest() if newest.is_finished else Work(newest.run_date)


def due_date(local: datetime, at: time) -> date:
    """The newest date whose night has begun."""
    return local.date() if local.time() >= at else local.date() - timedelta(days=1)


def is_step_due(mark: Mark | None, now_s: float) -> bool:
    """Whether to try the step now. A `running` one is looked at only by whoever holds the lock, so
    its process died.
    """
    if mark is None:
        return True
    if mark.outcome is not Outcome.FAILED:
        return _is_left(mark)
    return now_s >= mark.tried_s + RETRY_AFTER_S[min(mark.attempts, len(RETRY_AFTER_S)) - 1]


def failed(attempts: int) -> Outcome:
    """The outcome of a step that failed for the n-th time."""
    return Outcome.GIVEN_UP if attempts >= MOST_ATTEMPTS else Outcome.FAILED


def is_over(steps: tuple[str, ...], marks: Mapping[str, Mark]) -> bool:
    """Whether the night is finished: no step is left to try. Asked when none is under way."""
    return all(step in marks and not _is_left(marks[step]) for step in steps)


def _is_left(mark: Mark) -> bool:
    if mark.outcome is Outcome.RUNNING:
        return mark.attempts < MOST_ATTEMPTS
    return mark.outcome not in _OVER


def overdue_s(local: datetime, at: time, newest: Night | None) -> float:
    """Seconds of the wall clock since the newest night should have begun, while it is not finished;
    else 0.
    """
    due = due_date(local, at)
    if newest is None or (newest.run_date >= due and newest.is_finished):
        return 0.0
    return max(0.0, (local - datetime.combine(due, at)).total_seconds())
