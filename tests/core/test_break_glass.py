"""What is left to do for one contact, by what the journal says."""

import pytest
from hlf_sync.core.break_glass import Ask, JournalStanding, Left, left_to_do
from hlf_sync.core.model import Visibility
from hlf_sync.core.verdict import Course, Effect

HIDDEN, VISIBLE = Visibility.HIDDEN, Visibility.VISIBLE
LATE_S = 120.0


def done(at_ms: int, shown: Visibility = HIDDEN) -> Ask:
    return Ask(at_ms, shown, Effect.APPLIED, Course.DONE)


@pytest.mark.requirement("R64")
@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ([], Left(JournalStanding.DUE, 0)),
        ([done(0)], Left(JournalStanding.DONE)),
        ([done(0, VISIBLE)], Left(JournalStanding.DUE, 0)),
        ([Ask(0, HIDDEN)], Left(JournalStanding.DUE, 0)),  # killed before the answer
        ([Ask(0, HIDDEN), done(1)], Left(JournalStanding.DONE)),
        ([Ask(0, HIDDEN, Effect.UNKNOWN, Course.RETRY)], Left(JournalStanding.DUE, 0)),
        ([Ask(0, HIDDEN, Effect.NONE, Course.THROTTLED)], Left(JournalStanding.DUE, 0)),
        ([Ask(0, HIDDEN, Effect.NONE, Course.REJECTED)], Left(JournalStanding.REFUSED)),
        # refused as hidden, and now wanted visible: another question
        ([Ask(0, VISIBLE, Effect.NONE, Course.REJECTED)], Left(JournalStanding.DUE, 0)),
        # an unanswered call for the other value may still come: asserted once more when it cannot
        ([Ask(0, VISIBLE), done(1_000)], Left(JournalStanding.DUE, 120_000)),
        ([Ask(0, VISIBLE), done(1_000), done(120_000)], Left(JournalStanding.DONE)),
        (
            [Ask(0, VISIBLE, Effect.MAY_COME_LATE, Course.RETRY), done(1_000)],
            Left(JournalStanding.DUE, 120_000),
        ),
        # one that was answered comes no more
        ([Ask(0, VISIBLE, Effect.UNKNOWN, Course.RETRY), done(1_000)], Left(JournalStanding.DONE)),
    ],
)
def test_what_is_left_follows_from_the_calls_and_their_answers(
    asks: list[Ask], expected: Left
) -> None:
    assert left_to_do(asks, HIDDEN, late_effect_s=LATE_S) == expected
