"""What follows from an evaluation, and whether the second look still says what the first did."""

import pytest
from hlf_sync.core.decide import Rules
from hlf_sync.core.evaluation import Evaluation, Forget, Reading, Requeue, after
from hlf_sync.core.model import (
    Change,
    Command,
    ContactId,
    Decision,
    Facts,
    Former,
    Known,
    LedgerRow,
    LedgerState,
    LetterKind,
    MentorId,
    NoCall,
    Operation,
    Position,
    Trigger,
    Visibility,
)
from hlf_sync.core.outcome import NO_CALL, RELEASED, Conclusion, Ending, without_letter
from hlf_sync.core.visibility import Snapshot

MENTOR, CONTACT = MentorId("m"), ContactId("c")
RULES = Rules()
PAUSED = Facts("HLF", "paused")
SHOWN = LedgerRow(applied=Visibility.VISIBLE, state=LedgerState.IN_SYNC, generation=4)
APPLIED = Conclusion(Ending.APPLIED, LedgerState.IN_SYNC, counts=True)
RETRY = Conclusion(Ending.LATE, LedgerState.IN_DOUBT, counts=True, retry_in_s=7.0)
REJECTED = Conclusion(
    Ending.REFUSED, LedgerState.DEAD_LETTERED, counts=True, letter=LetterKind.REJECTED
)
EXHAUSTED = Conclusion(
    Ending.UNKNOWN, LedgerState.DEAD_LETTERED, counts=True, letter=LetterKind.EXHAUSTED
)
OTHERS = NoCall("other_organization", is_out_of_scope=True)


def change(offset: int, trigger: Trigger = Trigger.STATUS_CHANGE, xid: int = 10) -> Change:
    return Change(MENTOR, trigger, Position(0, offset), 1, xid)


def known(facts: Facts | None = PAUSED, *, is_paused: bool = False, is_known: bool = True) -> Known:
    return Known(facts, SHOWN, is_known, CONTACT, is_paused=is_paused)


def reading(found: Known, *, xmax: int = 100) -> Reading:
    return Reading(1_000.0, Snapshot(xmax, xmax), {MENTOR: found})


def decided(found: Known | None = None) -> Evaluation:
    """After its first look."""
    evaluation = Evaluation(MENTOR, 1, [change(0)])
    evaluation.look(reading(found or known()))
    evaluation.decide(1_000.0, RULES)
    return evaluation


@pytest.mark.parametrize(
    ("conclusion", "decision", "is_known", "follows"),
    [
        (APPLIED, Command(Operation.REMOVE, "paused"), True, Forget("applied")),
        (RETRY, Command(Operation.REMOVE, "paused"), True, Requeue(7.0)),
        (RELEASED, Command(Operation.REMOVE, "paused"), True, Requeue(0.0)),
        (REJECTED, Command(Operation.REMOVE, "paused"), True, Forget("dead_lettered")),
        (EXHAUSTED, Command(Operation.REMOVE, "paused"), True, Forget("dead_lettered")),
        (NO_CALL, NoCall("in_sync"), True, Forget("no_call")),
        (NO_CALL, Command(Operation.REMOVE, "paused"), True, Forget("no_call")),
        (NO_CALL, OTHERS, False, Forget("out_of_scope")),
        (NO_CALL, OTHERS, True, Forget("no_call")),
    ],
)
@pytest.mark.requirement("R07")
def test_each_conclusion_ends_the_evaluation_or_says_when_to_look_again(
    conclusion: Conclusion, decision: Decision, is_known: bool, follows: Forget | Requeue
) -> None:
    """And none of them ends it unless the ledger has it: then everybody looks again at once."""
    evaluation = decided(known(is_known=is_known))
    evaluation.decision, evaluation.conclusion = decision, conclusion
    assert after(evaluation) == follows
    assert after(evaluation, is_durable=False) == Requeue(0.0)


@pytest.mark.parametrize(
    ("seen", "holds"),
    [
        (known(), True),
        (known(Facts("HLF", "active", "z", 2_000.0)), False),  # visible again
        (known(is_paused=True), False),
        (known()._replace(contact_id=None), False),
        (known()._replace(contact_id=ContactId("new")), False),  # the intent names another
        (known()._replace(formers=(Former(ContactId("old")),)), False),  # that one goes first
        (known(None), True),  # gone is hidden too
    ],
)
def test_a_claimed_mentor_is_called_only_for_what_its_second_look_asks_too(
    seen: Known, holds: bool
) -> None:
    """Facts, mapping and pause may have changed between screening and claim."""
    evaluation = decided()
    assert evaluation.operation is Operation.REMOVE
    assert evaluation.confirm(reading(seen), RULES) is holds
    assert evaluation.before == SHOWN


def test_the_second_look_takes_in_what_its_snapshot_shows_and_no_more() -> None:
    """A change that came meanwhile and is in the facts needs no evaluation of its own."""
    evaluation = decided()
    evaluation.newer = [change(1, xid=99), change(2, xid=100)]
    evaluation.confirm(reading(known(), xmax=100), RULES)
    assert [one.position.offset for one in evaluation.changes] == [0, 1]
    assert [one.position.offset for one in evaluation.newer] == [2]


def test_a_request_says_why_a_mentor_is_looked_at_before_any_row_does() -> None:
    """The newest of them."""
    changes = [change(0, Trigger.MANUAL), change(1, Trigger.REPLAY), change(2)]
    assert Evaluation(MENTOR, 1, changes).triggered_by is Trigger.REPLAY
    assert Evaluation(MENTOR, 1, [change(0)]).triggered_by is Trigger.STATUS_CHANGE
    assert not Evaluation(MENTOR, 1, [change(0)]).is_request


@pytest.mark.parametrize(
    ("conclusion", "was_in_doubt", "state", "counts"),
    [
        (REJECTED, False, LedgerState.PENDING, False),
        (REJECTED, True, LedgerState.IN_DOUBT, False),
        (EXHAUSTED, False, LedgerState.IN_DOUBT, True),
        (APPLIED, True, LedgerState.IN_SYNC, True),
    ],
)
def test_who_writes_no_letters_leaves_the_mentor_open_for_the_workers(
    conclusion: Conclusion, was_in_doubt: bool, state: LedgerState, counts: bool
) -> None:
    """A refusal is asked for once more by a worker, so it counts no attempt; doubt stays doubt."""
    left = without_letter(conclusion, was_in_doubt=was_in_doubt)
    assert (left.state, left.counts, left.letter) == (state, counts, None)
    assert left.retry_in_s == (None if conclusion is APPLIED else 1.0)
