"""The verdict on a dead letter: what is due for its mentor now, never what the letter
once wanted.
"""

from itertools import product

import pytest
from hlf_sync.core.dead_letter import DeadLetter, Source
from hlf_sync.core.model import (
    Command,
    Decision,
    LedgerRow,
    LedgerState,
    LetterKind,
    MentorId,
    NoCall,
    Operation,
    Refuse,
    Visibility,
)
from hlf_sync.replay.judgement import (
    Closing,
    Letter,
    LetterFate,
    LetterStanding,
    ReplayVerdict,
    fate,
    is_open,
    judge,
    letter_of,
    resolved_up_to,
    retry_at_s,
    seconds_needed,
)

pytestmark = pytest.mark.requirement("R47")

MENTOR = MentorId("6f1a1f3c-0000-4000-8000-000000000001")
LETTER = Letter(0, 7, f"{MENTOR}:4", LetterKind.EXHAUSTED, "server_error", 1_000_000, MENTOR, 4, 3)
POISON = Letter(0, 8, "hlf.mentor.changes-1-2", LetterKind.UNDECODABLE, "decode_error", 1_000_000)
OWED = LedgerRow(
    Visibility.VISIBLE, state=LedgerState.DEAD_LETTERED, generation=4, dead_letter_id=LETTER.id
)
REMOVE, RESTORE = Command(Operation.REMOVE, "paused"), Command(Operation.RESTORE, "active")


def standing(
    ledger: LedgerRow = OWED,
    decision: Decision = REMOVE,
    *,
    has_contact: bool = True,
    delivered_at_s: float | None = None,
) -> LetterStanding:
    """Where a mentor stands."""
    return LetterStanding(ledger, decision, has_contact, delivered_at_s)


def verdict(
    letter: Letter, of: LetterStanding | None, *, is_repaired: bool = False
) -> tuple[ReplayVerdict, int]:
    """Verdict and calls; every judgement gives a reason."""
    judgement = judge(letter, of, None, is_repaired=is_repaired)
    assert judgement.reason
    return judgement.verdict, judgement.calls


def kind(of: LetterKind) -> Letter:
    """The mentor's letter, of another kind."""
    return LETTER._replace(kind=of)


DUE, SUPERSEDED, INVESTIGATE = (
    (ReplayVerdict.DUE, 1),
    (ReplayVerdict.SUPERSEDED, 0),
    (ReplayVerdict.INVESTIGATE, 0),
)


def test_an_exhausted_delivery_is_due_and_costs_a_call() -> None:
    """Trying again is all that it needs."""
    assert verdict(LETTER, standing()) == DUE


def test_what_is_due_is_decided_from_now_and_not_from_the_letter() -> None:
    """The mentor was turned round, and that failed too: the restoral is due."""
    assert "restore (active)" in judge(LETTER, standing(decision=RESTORE), None).reason


def test_a_mentor_that_needs_no_call_any_more_needs_one_look() -> None:
    """So that the ledger learns of it: due, for no call."""
    assert verdict(LETTER, standing(decision=NoCall("in_sync"))) == (ReplayVerdict.DUE, 0)


@pytest.mark.parametrize("state", [LedgerState.IN_SYNC, LedgerState.OUT_OF_SCOPE])
@pytest.mark.parametrize("generation", [4, 5])
def test_a_letter_of_a_mentor_at_rest_is_superseded(state: LedgerState, generation: int) -> None:
    """Delivered since, or found to need nothing."""
    assert verdict(LETTER, standing(LedgerRow(state=state, generation=generation))) == SUPERSEDED


def test_a_newer_letter_stands_for_the_mentor() -> None:
    """The older one is superseded by it, and names it."""
    newer = OWED._replace(generation=6, dead_letter_id=f"{MENTOR}:6")
    assert verdict(LETTER, standing(newer)) == SUPERSEDED
    assert f"{MENTOR}:6" in judge(LETTER, standing(newer), None).reason


@pytest.mark.parametrize("state", [LedgerState.PENDING, LedgerState.IN_DOUBT])
def test_a_newer_delivery_under_way_supersedes_unless_it_is_this_letters_own(
    state: LedgerState,
) -> None:
    """The ledger names the letter until its mentor is delivered."""
    assert verdict(LETTER, standing(LedgerRow(state=state, generation=5))) == SUPERSEDED
    assert (
        verdict(LETTER, standing(LedgerRow(state=state, generation=5, dead_letter_id=LETTER.id)))
        == DUE
    )


def test_a_letter_that_the_ledger_has_not_recorded_is_open() -> None:
    """Acknowledged, and its worker died: in flight under its own generation, or ahead of the
    ledger.
    """
    assert is_open(LETTER, LedgerRow(state=LedgerState.IN_DOUBT, generation=4))
    assert is_open(LETTER, LedgerRow(state=LedgerState.IN_SYNC, generation=3))
    assert verdict(LETTER, standing(LedgerRow(state=LedgerState.IN_SYNC, generation=3))) == DUE


def test_a_letter_ahead_of_the_ledger_is_superseded_when_nothing_is_due() -> None:
    """A look would write nothing, so nobody could wait for it."""
    assert (
        verdict(LETTER, standing(LedgerRow(), NoCall("gone", is_out_of_scope=True))) == SUPERSEDED
    )


@pytest.mark.parametrize(
    "of", [LetterKind.EXHAUSTED, LetterKind.REJECTED, LetterKind.UNMAPPED, LetterKind.REFUSED]
)
def test_without_contact_or_with_odd_facts_a_person_must_act_first(of: LetterKind) -> None:
    """Asking would only write the next letter."""
    assert verdict(kind(of), standing(has_contact=False)) == INVESTIGATE
    assert (
        verdict(kind(of), standing(decision=Refuse("unknown_status")), is_repaired=True)
        == INVESTIGATE
    )


@pytest.mark.parametrize("of", [LetterKind.UNMAPPED, LetterKind.REFUSED])
def test_what_was_repaired_in_the_database_is_due(of: LetterKind) -> None:
    """That can be seen, so nobody has to say so."""
    assert verdict(kind(of), standing()) == DUE


def test_what_dynamics_refused_is_due_once_somebody_says_that_it_is_repaired() -> None:
    """That cannot be seen from here."""
    assert verdict(kind(LetterKind.REJECTED), standing()) == INVESTIGATE
    assert verdict(kind(LetterKind.REJECTED), standing(), is_repaired=True) == DUE


def test_a_record_that_cannot_be_read_needs_a_person_until_its_mentor_is_delivered() -> None:
    """Its key may name one; a success that began after the letter saw whatever the record said."""
    named = POISON._replace(mentor_id=MENTOR)
    assert verdict(POISON, None) == INVESTIGATE
    assert verdict(named, standing(LedgerRow())) == INVESTIGATE
    assert verdict(named, standing(LedgerRow(), delivered_at_s=999)) == INVESTIGATE
    assert verdict(named, standing(LedgerRow(), delivered_at_s=1000.001)) == SUPERSEDED


def test_what_is_no_letter_needs_a_person() -> None:
    """Somebody else wrote to the topic."""
    found = judge(Letter(0, 1, "t-0-1", None, "unreadable", 0), None, None)
    assert found.verdict is ReplayVerdict.INVESTIGATE
    assert not found.is_resolved


@pytest.mark.parametrize("letter", [POISON, LETTER])
def test_a_closed_letter_is_resolved_and_says_by_whom(letter: Letter) -> None:
    """A person's word."""
    found = judge(letter, None, Closing("alice", "a test's garbage"))
    assert found.is_resolved
    assert found.reason == "closed by alice: a test's garbage"


def test_every_combination_has_a_verdict_and_only_due_ones_cost_calls() -> None:
    """Total over kinds, ledger states, decisions, contact and the operator's word."""
    ledgers = [
        LedgerRow(),
        OWED,
        *(
            LedgerRow(state=state, generation=number)
            for state, number in product(LedgerState, (3, 4, 5))
        ),
    ]
    decisions: list[Decision] = [REMOVE, RESTORE, NoCall("in_sync"), Refuse("unknown_status")]
    for of, ledger, decision, has_contact, is_repaired in product(
        LetterKind, ledgers, decisions, (True, False), (True, False)
    ):
        found = judge(
            kind(of),
            standing(ledger, decision, has_contact=has_contact),
            None,
            is_repaired=is_repaired,
        )
        assert found.reason
        assert found.calls <= (found.verdict is ReplayVerdict.DUE)
        assert found.is_resolved == (found.verdict is ReplayVerdict.SUPERSEDED)


@pytest.mark.parametrize(
    ("ledger", "decision", "expected"),
    [
        (OWED, REMOVE, LetterFate.WAITING),
        (OWED._replace(state=LedgerState.IN_DOUBT, generation=5), REMOVE, LetterFate.WAITING),
        (
            OWED._replace(generation=6),
            REMOVE,
            LetterFate.WAITING,
        ),  # claimed, and given back without a call
        (
            LedgerRow(state=LedgerState.IN_SYNC, generation=5),
            NoCall("in_sync"),
            LetterFate.DELIVERED,
        ),
        (OWED._replace(generation=5, dead_letter_id=f"{MENTOR}:5"), REMOVE, LetterFate.FAILED),
        (OWED, Refuse("unknown_status"), LetterFate.RETURNED),
    ],
)
def test_what_came_of_a_request_is_read_from_the_ledger(
    ledger: LedgerRow, decision: Decision, expected: LetterFate
) -> None:
    """Waiting, delivered, failed under a newer letter, or back to a person."""
    assert fate(LETTER, standing(ledger, decision), asked_on=4) is expected


def test_a_letter_ahead_of_the_ledger_can_fail_under_its_own_id() -> None:
    """The claim takes the generation that the letter has already: only the generation at asking
    tells.
    """
    assert fate(LETTER, standing(), asked_on=3) is LetterFate.FAILED
    assert (
        fate(LETTER, standing(LedgerRow(state=LedgerState.IN_SYNC), NoCall("gone")), asked_on=0)
        is LetterFate.DELIVERED
    )


def test_offsets_stop_at_the_first_unresolved_letter_and_never_go_back() -> None:
    """`end` where nothing is open."""
    assert resolved_up_to(3, 9, None) == 9
    assert resolved_up_to(3, 9, 5) == 5
    assert resolved_up_to(6, 9, 5) == 6


def test_time_is_calls_at_the_slower_of_rate_and_pace_and_the_canaries_ways() -> None:
    """Nothing for no call."""
    assert seconds_needed(0, 10, 18) == 0
    assert seconds_needed(1, 10, 18) == 1.1
    assert seconds_needed(11, 18, 10) == 3.1
    assert seconds_needed(500, 100, 10) == 53.0


def test_a_mentor_that_fails_again_waits_twice_as_long_up_to_the_longest() -> None:
    """Also after more replays than a double can count."""
    waits = [
        retry_at_s(0, replays, settle_s=60, longest_s=3600) for replays in (0, 1, 2, 10, 10_000)
    ]
    assert waits == [60, 120, 240, 3600, 3600]
    assert retry_at_s(0, 0, settle_s=7200, longest_s=3600) == 7200


def test_a_letter_keeps_what_a_verdict_needs() -> None:
    """And where it lies."""
    whole = DeadLetter(
        LETTER.id,
        LetterKind.EXHAUSTED,
        "server_error",
        "gave up",
        Source("t", 1, 2, 3),
        1_000_000,
        "w",
        MENTOR,
        attempt_count=3,
        generation=4,
    )
    assert letter_of(whole, 0, 7) == LETTER
    assert (LETTER.kind_word, LETTER._replace(kind=None).kind_word) == ("exhausted", "unreadable")
