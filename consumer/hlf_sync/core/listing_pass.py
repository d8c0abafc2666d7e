"""When the next pass over Dynamics' listing is due, and which broken-off pass is still worth going
on with. Pure; called by the leader's verification (worker/verification) and by its pass.
"""

from dataclasses import dataclass

OLDEST_S = 86_400.0
"""A broken-off pass that is older begins anew: its first pages say little of today."""

LONGEST_RETRY_S = 300.0


@dataclass(frozen=True, slots=True)
class Noted:
    """One pass as it is noted. Times are epoch seconds of PostgreSQL's clock; `finished_s` is None
    while pages or mentors are left.
    """

    started_s: float
    finished_s: float | None


def wait_s(newest: Noted | None, now_s: float, every_s: float) -> float:
    """Seconds until a pass is to be begun, or gone on with; 0: now. Counted from the beginning of
    the one before, so that passes come as often as the setting says.
    """
    if newest is None or newest.finished_s is None:
        return 0.0
    # A clock that was set back must not put the next pass off for longer than one period.
    return min(every_s, max(0.0, newest.started_s + every_s - now_s))


def retry_s(every_s: float) -> float:
    """Seconds until a pass that could not go on is tried again."""
    return min(every_s, LONGEST_RETRY_S)


def is_outdated(started_s: float, now_s: float, every_s: float) -> bool:
    """Whether a broken-off pass is to begin anew."""
    return abs(now_s - started_s) > max(every_s, OLDEST_S)
