"""What counts as a duplicate call, and what explains it."""

from dataclasses import replace

import pytest
from hlf_sync.core.model import MentorId
from hlf_sync.reconcile.duplicate import Duplicate, Explanation, duplicates
from hlf_sync.why.timeline import Attempt

MENTOR = MentorId("6f1a1f3c-0000-4000-8000-000000000001")
DONE = Attempt(1, 1, "remove", "status_change", 100.0, 5, "applied", certification_id="a")
AGAIN = replace(DONE, generation=2, started_s=200.0)


def found(*attempts: Attempt) -> list[Duplicate]:
    """The duplicates among these."""
    return list(duplicates(MENTOR, attempts))


@pytest.mark.requirement("R63")
def test_the_same_success_twice_in_one_period_is_a_duplicate() -> None:
    """Told with both times, and that nothing explains it."""
    assert found(DONE, AGAIN) == [
        Duplicate(MENTOR, "remove", "a", 100.0, 200.0, Explanation.UNEXPLAINED)
    ]


@pytest.mark.requirement("R63")
@pytest.mark.parametrize(
    "attempts",
    [
        (DONE, replace(AGAIN, operation="restore"), replace(AGAIN, generation=3)),
        (DONE, replace(AGAIN, certification_id="b")),
        (DONE, replace(AGAIN, outcome="refused")),
        (DONE,),
        (),
    ],
    ids=[
        "the other operation lies between",
        "another certification's period",
        "the second one failed",
        "one call",
        "no call",
    ],
)
def test_what_changed_something_is_no_duplicate(attempts: tuple[Attempt, ...]) -> None:
    """Pausing, reinstating, pausing again is what the facts asked for."""
    assert found(*attempts) == []


@pytest.mark.parametrize(
    ("attempts", "explanation"),
    [
        ((replace(DONE, outcome="late"), DONE, AGAIN), Explanation.ASSERTED_AGAIN),
        (
            (DONE, replace(AGAIN, outcome="unknown"), replace(AGAIN, number=2, started_s=300.0)),
            Explanation.ASSERTED_AGAIN,
        ),
        ((DONE, replace(AGAIN, triggered_by="reconciliation")), Explanation.ASKED_FOR),
        ((DONE, replace(AGAIN, triggered_by="manual_coordinator_action")), Explanation.ASKED_FOR),
        ((DONE, replace(AGAIN, triggered_by="dead_letter_replay")), Explanation.ASKED_FOR),
        ((DONE, replace(AGAIN, generation=3)), Explanation.WORKER_LOST),
    ],
)
def test_a_duplicate_is_told_with_what_explains_it(
    attempts: tuple[Attempt, ...], explanation: Explanation
) -> None:
    """By design, asked for, or a worker lost."""
    assert [one.explanation for one in found(*attempts)] == [explanation]


def test_doubt_explains_one_assertion_only() -> None:
    """The next duplicate after it needs an explanation of its own."""
    third = replace(AGAIN, generation=3, started_s=300.0)
    fourth = replace(AGAIN, generation=4, started_s=400.0)
    late = replace(DONE, outcome="late")
    assert [one.explanation for one in found(late, DONE, AGAIN, third, fourth)] == [
        Explanation.ASSERTED_AGAIN,
        Explanation.UNEXPLAINED,
        Explanation.UNEXPLAINED,
    ]
