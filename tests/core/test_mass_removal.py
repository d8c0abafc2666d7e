"""How many more removals may be called before an operator has to say yes."""

import pytest
from hlf_sync.core.mass_removal import MassRemovalPolicy, removals_allowed, takes_off_listing
from hlf_sync.core.model import Command, ContactId, LedgerRow, Operation, Visibility

pytestmark = pytest.mark.requirement("R11")

DEFAULT = MassRemovalPolicy()


@pytest.mark.parametrize(
    ("removed", "listed", "allowed"),
    [
        (0, 0, 20),  # the minimum stands with nobody listed
        (0, 200, 20),  # 10 % equals the minimum
        (0, 199, 20),
        (0, 210, 21),
        (0, 5000, 500),
        (500, 4500, 0),  # the window began with 5,000
        (499, 4501, 1),
        (20, 30, 0),
        (19, 31, 1),
        (700, 4300, 0),  # confirmed beyond: never negative
    ],
)
def test_the_larger_of_minimum_and_a_tenth_may_go(removed: int, listed: int, allowed: int) -> None:
    """A tenth of what was shown when the window began, rounded down."""
    assert removals_allowed(DEFAULT, removed=removed, listed=listed) == allowed


def test_the_limit_does_not_shrink_while_it_is_used() -> None:
    """One after the other goes until exactly 500 of 5,000 are gone."""
    removed, listed = 0, 5000
    while removals_allowed(DEFAULT, removed=removed, listed=listed):
        removed, listed = removed + 1, listed - 1
    assert removed == 500


def test_no_minimum_and_nobody_listed_lets_nobody_go() -> None:
    """Zero is a number."""
    assert removals_allowed(MassRemovalPolicy(minimum=0), removed=0, listed=0) == 0
    assert removals_allowed(MassRemovalPolicy(minimum=0), removed=0, listed=9) == 0
    assert removals_allowed(MassRemovalPolicy(minimum=0), removed=0, listed=10) == 1


@pytest.mark.parametrize("percent", range(1, 101))
def test_a_ratio_is_not_short_of_one_by_rounding(percent: int) -> None:
    """29 % of 100 are 29, although 0.29 * 100 is 28.999…"""
    assert (
        removals_allowed(MassRemovalPolicy(ratio=percent / 100, minimum=0), removed=0, listed=100)
        == percent
    )


def test_ratio_zero_switches_the_guard_off() -> None:
    """And any other leaves it on."""
    assert not MassRemovalPolicy(ratio=0).is_on
    assert MassRemovalPolicy(ratio=0.01).is_on
    assert DEFAULT.is_on


@pytest.mark.parametrize(
    ("ledger", "former", "counts"),
    [
        (LedgerRow(applied=Visibility.VISIBLE), None, True),
        (LedgerRow(applied=Visibility.HIDDEN, intended=Visibility.VISIBLE), None, True),
        (LedgerRow(intended=Visibility.VISIBLE), None, True),
        (LedgerRow(), ContactId("former"), True),
        (LedgerRow(), None, False),
        (LedgerRow(applied=Visibility.HIDDEN, intended=Visibility.HIDDEN), None, False),
    ],
)
def test_every_call_that_takes_somebody_off_the_listing_counts(
    ledger: LedgerRow, former: ContactId | None, counts: bool
) -> None:
    """Shown, perhaps shown, or left shown by an older mapping; a restore never."""
    assert takes_off_listing(Command(Operation.REMOVE, "x", former), ledger) is counts
    assert not takes_off_listing(Command(Operation.RESTORE, "x"), ledger)
