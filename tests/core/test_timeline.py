"""A mentor's story in its order."""

from dataclasses import replace
from itertools import permutations

from hlf_sync.why.timeline import Attempt, Moment, MomentKind, deliveries, in_order

FIRST = Attempt(
    1,
    4,
    "remove",
    "status_change",
    100.0,
    500,
    "unknown",
    "server_error",
    503,
    None,
    "paused",
    None,
)


def kinds(moments: list[Moment]) -> list[str]:
    """Their kinds."""
    return [moment.kind.value for moment in moments]


def test_at_the_same_time_the_cause_comes_first() -> None:
    """A change, the decision, the attempt, the dead letter: whatever order the tables gave them
    in.
    """
    wanted = [MomentKind.CHANGE, MomentKind.DECISION, MomentKind.ATTEMPT, MomentKind.DEAD_LETTER]
    for order in permutations(wanted):
        assert [moment.kind for moment in in_order(Moment(1.0, kind) for kind in order)] == wanted


def test_time_rules_over_cause() -> None:
    """An old dead letter is told before a new change."""
    assert kinds(
        in_order([Moment(2.0, MomentKind.CHANGE), Moment(1.0, MomentKind.DEAD_LETTER)])
    ) == [
        "dead_letter",
        "change",
    ]


def test_a_retry_belongs_to_its_decision_and_tells_how_long_was_waited() -> None:
    """One decision, two attempts, the wait measured from the first one's end."""
    moments = deliveries(
        [FIRST, replace(FIRST, number=2, started_s=103.0, outcome="applied", error_code=None)]
    )
    assert kinds(moments) == ["decision", "attempt", "attempt"]
    assert [moment.content.get("waited_s") for moment in moments[1:]] == [None, 2.5]
    assert moments[0].content == {
        "decision": "remove",
        "reason": "paused",
        "triggered_by": "status_change",
        "certification_id": None,
    }


def test_a_probe_that_failed_is_no_decision_of_its_own() -> None:
    """Its number does not grow."""
    assert kinds(deliveries([FIRST, replace(FIRST, started_s=160.0)])) == [
        "decision",
        "attempt",
        "attempt",
    ]


def test_after_a_success_every_call_was_decided_anew() -> None:
    """And so is a replay, and another operation."""
    done = replace(FIRST, outcome="applied")
    for after in (
        done,
        replace(FIRST, operation="restore"),
        replace(FIRST, triggered_by="dead_letter_replay"),
        replace(FIRST, reason="gone"),
    ):
        before = done if after is done else FIRST
        assert kinds(deliveries([before, after])) == ["decision", "attempt", "decision", "attempt"]


def test_who_was_never_called_for_has_no_deliveries() -> None:
    """Nothing in, nothing out."""
    assert deliveries([]) == []
