"""Evaluations as the pipeline's steps leave them, for suites of the ports."""

from uuid import uuid4

from hlf_sync.core.evaluation import Evaluation, Reading
from hlf_sync.core.model import (
    Change,
    Command,
    ContactId,
    Facts,
    Known,
    LedgerRow,
    LedgerState,
    MentorId,
    NoCall,
    Operation,
    Position,
    Trigger,
)
from hlf_sync.core.outcome import CallResult, Claimed, Conclusion, Ending
from hlf_sync.core.verdict import Course, Effect, Verdict
from hlf_sync.core.visibility import Snapshot

FACTS = Facts("HLF", "paused")


def looked_at(
    mentor_id: MentorId,
    before: LedgerRow,
    *,
    trigger: Trigger = Trigger.STATUS_CHANGE,
    contact_id: ContactId | None = None,
) -> Evaluation:
    """After a first look that found this row."""
    evaluation = Evaluation(mentor_id, 1, [Change(mentor_id, trigger, Position(0, 0, 1), 1)])
    mapped = contact_id or ContactId(mentor_id)
    known = Known(FACTS, before, has_ledger=True, contact_id=mapped)
    evaluation.look(Reading(0.0, Snapshot(100, 100), {mentor_id: known}))
    return evaluation


def wanting(
    mentor_id: MentorId,
    before: LedgerRow,
    operation: Operation,
    *,
    contact_id: ContactId | None = None,
    trace_parent: str | None = None,
) -> Evaluation:
    """A mentor that needs a call."""
    evaluation = looked_at(mentor_id, before, contact_id=contact_id)
    evaluation.decision = Command(operation, "paused")
    evaluation.trace_parent = trace_parent
    return evaluation


def settled(
    mentor_id: MentorId,
    before: LedgerRow,
    state: LedgerState = LedgerState.IN_SYNC,
    look_s: float | None = None,
    *,
    trigger: Trigger = Trigger.STATUS_CHANGE,
) -> Evaluation:
    """One that needs none, where the ledger must learn something."""
    evaluation = looked_at(mentor_id, before, trigger=trigger)
    evaluation.decision = NoCall("in_sync")
    evaluation.conclusion = Conclusion(Ending.NO_CALL, state, counts=False)
    evaluation.reevaluate_at_s = look_s
    return evaluation


def called(
    claimed: Claimed,
    before: LedgerRow,
    operation: Operation,
    conclusion: Conclusion,
    *,
    contact_id: ContactId | None = None,
    dead_letter_id: str | None = None,
    reevaluate_at_s: float | None = None,
    started_s: float | None = None,
) -> Evaluation:
    """After a call that was concluded like this."""
    evaluation = wanting(claimed.mentor_id, before, operation, contact_id=contact_id)
    evaluation.claimed, evaluation.conclusion = claimed, conclusion
    if conclusion.ending is not Ending.RELEASED:
        verdict = Verdict(Course.DONE, None, Effect.APPLIED)
        evaluation.result = CallResult(verdict, None, str(uuid4()), 5)
    evaluation.dead_letter_id, evaluation.started_s = dead_letter_id, started_s
    evaluation.reevaluate_at_s = reevaluate_at_s
    return evaluation
