"""Whose listing is wrong, what it should show, and since when."""

import pytest
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Facts, Known, LedgerRow, LedgerState, Visibility
from hlf_sync.core.wrong_listing import Dates, LookTime, WrongMentor, in_words, meaning, place

pytestmark = pytest.mark.requirement("R60")

NOW_S = 1_800_000_000.0
YEAR_S = 31_536_000.0
SHOWN = LedgerRow(applied=Visibility.VISIBLE, state=LedgerState.IN_SYNC)
PAUSED = Facts("HLF", "paused", "c", NOW_S + YEAR_S)
LAPSED = Facts("HLF", "active", "c", NOW_S - 30)
FIRST, LATER = LookTime(NOW_S, None), LookTime(NOW_S, NOW_S - 10)


def known(facts: Facts | None, ledger: LedgerRow = SHOWN, *, has_ledger: bool = True) -> Known:
    return Known(facts, ledger, has_ledger, contact_id=None)


def judge(one: Known, dates: Dates, before: WrongMentor | None, at: LookTime) -> WrongMentor | None:
    ends_s = one.facts.certificate_expires_s if one.facts is not None else None
    return place(meaning(one, at.now_s, Rules()), ends_s, dates, before, at)


def since_s(
    facts: Facts | None,
    dates: Dates,
    at: LookTime,
    ledger: LedgerRow = SHOWN,
    before: WrongMentor | None = None,
) -> float:
    found = judge(known(facts, ledger), dates, before, at)
    assert found is not None
    return NOW_S - found.since_s


def test_who_is_as_it_should_be_is_not_wrong() -> None:
    shown = known(Facts("HLF", "active", "c", NOW_S + YEAR_S))
    assert judge(shown, Dates(), None, FIRST) is None


def test_it_is_wrong_since_the_commit_that_made_it_so() -> None:
    """Seen ten seconds late, and by a new leader at any time."""
    assert since_s(PAUSED, Dates(committed_s=NOW_S - 7), LATER) == 7
    assert since_s(PAUSED, Dates(committed_s=NOW_S - 700), FIRST) == 700


def test_a_certificate_that_lapsed_makes_it_wrong_at_its_end() -> None:
    """However long ago its row was written; a row written later that says so counts from then."""
    assert since_s(LAPSED, Dates(committed_s=NOW_S - YEAR_S), FIRST) == 30
    assert since_s(LAPSED, Dates(committed_s=NOW_S - 5), FIRST) == 5


def test_it_was_right_at_the_look_before() -> None:
    """What told nothing of itself, a deleted row, made it wrong since then."""
    assert since_s(None, Dates(committed_s=NOW_S - YEAR_S), LATER) == 10
    assert since_s(PAUSED, Dates(), LATER) == 10


def test_it_was_right_when_it_was_delivered_last() -> None:
    earlier = WrongMentor("hidden", NOW_S - 900)
    assert since_s(PAUSED, Dates(applied_s=NOW_S - 4), LATER, before=earlier) == 4
    assert since_s(PAUSED, Dates(applied_s=NOW_S - YEAR_S), LATER, before=earlier) == 900


def test_attempts_and_later_commits_make_it_no_younger() -> None:
    earlier = WrongMentor("hidden", NOW_S - 900)
    assert since_s(PAUSED, Dates(NOW_S - 2, NOW_S - 1), LATER, before=earlier) == 900


def test_another_wish_begins_anew() -> None:
    earlier = WrongMentor("visible", NOW_S - 900)
    assert since_s(PAUSED, Dates(committed_s=NOW_S - 3), LATER, before=earlier) == 3


def test_a_doubt_of_what_was_delivered_counts_from_the_doubt() -> None:
    """Not from the commit of a year ago, which was delivered."""
    doubt = LedgerRow(
        applied=Visibility.HIDDEN, intended=Visibility.HIDDEN, state=LedgerState.IN_DOUBT
    )
    assert since_s(PAUSED, Dates(NOW_S - YEAR_S, NOW_S - 20), FIRST, doubt) == 20


def test_an_open_failure_is_older_than_the_last_commit() -> None:
    """A row that was written again for another reason."""
    failed = LedgerRow(applied=Visibility.VISIBLE, state=LedgerState.DEAD_LETTERED)
    assert since_s(PAUSED, Dates(NOW_S - 60, NOW_S - 3600), FIRST, failed) == 3600


def test_a_mentor_without_books_counts_from_the_first_look() -> None:
    """The first start of all: a commit of last year says nothing of how long we knew."""
    new = known(Facts("HLF", "active", "c", NOW_S + YEAR_S), LedgerRow(), has_ledger=False)
    found = judge(new, Dates(committed_s=NOW_S - YEAR_S), None, FIRST)
    assert found == WrongMentor("visible", NOW_S, NOW_S + YEAR_S)


def test_facts_outside_the_contract_ask_for_nobody_knows_what() -> None:
    found = judge(known(Facts("HLF", "on leave")), Dates(), None, FIRST)
    assert found is not None
    assert found.wanted == "unknown"


def test_who_stands_wrong_is_said_in_the_same_words_everywhere() -> None:
    """`may`: nobody has looked at Dynamics."""
    assert in_words({"hidden": 0}, 0) == ""
    assert in_words({"hidden": 2, "unknown": 1}, 70, held=1) == (
        "2 should be hidden and may be shown, 1 with facts outside the contract (1 held back until"
        " somebody confirms), for up to 70 s"
    )
