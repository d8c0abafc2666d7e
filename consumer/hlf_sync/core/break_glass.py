"""What is left to do for one contact, from what a break-glass journal says of it.

Pure; called by `break_glass.plan` for every contact at each start and after each answer. A call
without an answer may still take effect: where it asked for the other value, the wanted value is
asserted once more when that is over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf

from hlf_sync.core.model import Visibility
from hlf_sync.core.verdict import Course, Effect


@dataclass(frozen=True, slots=True)
class Ask:
    """One call of the journal. `effect` and `course` are None while no answer is written: the
    process died, and the call may take effect late.
    """

    began_ms: int
    shown: Visibility
    effect: Effect | None = None
    course: Course | None = None

    @property
    def may_come_late(self) -> bool:
        """Whether it may take effect after later calls."""
        return self.effect in {None, Effect.MAY_COME_LATE}


class JournalStanding(StrEnum):
    """Where a contact stands."""

    DONE = "done"
    REFUSED = "refused"  # Dynamics refused it for this contact; asking again cannot help
    DUE = "due"


@dataclass(frozen=True, slots=True)
class Left:
    """`due_ms`: the earliest time (epoch milliseconds) of the next call; infinite when none is
    needed.
    """

    standing: JournalStanding
    due_ms: float = inf


_DONE, _REFUSED = Left(JournalStanding.DONE), Left(JournalStanding.REFUSED)
_NOW = Left(JournalStanding.DUE, 0)


def left_to_do(asks: Sequence[Ask], wanted: Visibility, *, late_effect_s: float) -> Left:
    """What is left, given the contact's calls in their order."""
    if not asks or asks[-1].shown is not wanted:
        return _NOW
    last = asks[-1]
    if last.effect is Effect.NONE and last.course is Course.REJECTED:
        return _REFUSED
    if last.effect is not Effect.APPLIED:
        return _NOW
    over_ms = max(
        (
            ask.began_ms + late_effect_s * 1000
            for ask in asks
            if ask.shown is not wanted and ask.may_come_late
        ),
        default=-inf,
    )
    return _DONE if last.began_ms >= over_ms else Left(JournalStanding.DUE, over_ms)
