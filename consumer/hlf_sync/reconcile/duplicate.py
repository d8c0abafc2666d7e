"""Calls that asked for what had been done already, within one certification's period (requirement
R63). Pure; used by `reconcile`.

Two successful calls of the same operation, with no success of the other one between them and under
the same certification, are a duplicate: the second one changed nothing. Pausing, reinstating and
pausing again within one period is none. Where nothing went wrong there are no duplicates, so each
is told with what explains it; `unexplained` is the one to look into.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from hlf_sync.core.model import MentorId, Trigger
from hlf_sync.why.timeline import Attempt


class Explanation(StrEnum):
    """Why the second call was made."""

    ASSERTED_AGAIN = (  # an answer never came, so the value was said once more: by design
        "asserted_again"
    )
    ASKED_FOR = "asked_for"  # a person, a reconciliation or a replay asked for it
    WORKER_LOST = (  # a claim without an outcome lies between: its worker died, or lost its lease
        "worker_lost"
    )
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A second success. `first_s` and `again_s` are the starts of both calls, epoch seconds;
    `certification_id` is None when there was none.
    """

    mentor_id: MentorId
    operation: str
    certification_id: str | None
    first_s: float
    again_s: float
    explanation: Explanation


_APPLIED = "applied"
_OPEN = frozenset({"unknown", "late"})
_ASKED = frozenset({Trigger.MANUAL, Trigger.RECONCILIATION, Trigger.REPLAY})


def duplicates(mentor_id: MentorId, attempts: Iterable[Attempt]) -> Iterator[Duplicate]:
    """The duplicates among one mentor's attempts, which come in the order in which they were
    recorded.
    """
    applied: Attempt | None = None
    was_open, is_open, generation = False, False, 0
    for attempt in attempts:
        if attempt.outcome in _OPEN:
            is_open = True
        elif attempt.outcome == _APPLIED:
            if applied is not None and _is_same(applied, attempt):
                explanation = _explain(attempt, was_open=was_open or is_open, generation=generation)
                yield Duplicate(
                    mentor_id,
                    attempt.operation,
                    attempt.certification_id,
                    applied.started_s,
                    attempt.started_s,
                    explanation,
                )
            applied, was_open, is_open = attempt, is_open, False
        generation = attempt.generation


def _is_same(one: Attempt, other: Attempt) -> bool:
    return (one.operation, one.certification_id) == (other.operation, other.certification_id)


def _explain(attempt: Attempt, *, was_open: bool, generation: int) -> Explanation:
    """`was_open`: a call without an answer came before either success. `generation` is that of the
    attempt recorded just before.
    """
    if was_open:
        return Explanation.ASSERTED_AGAIN
    if attempt.triggered_by in _ASKED:
        return Explanation.ASKED_FOR
    return (
        Explanation.WORKER_LOST if attempt.generation > generation + 1 else Explanation.UNEXPLAINED
    )
