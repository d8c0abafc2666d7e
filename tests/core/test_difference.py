"""How a ledger row differs from what would be decided now."""

from dataclasses import replace

import pytest
from hlf_sync.core.model import ContactId, Facts, Known, LedgerRow, LedgerState, Visibility
from hlf_sync.reconcile.difference import (
    Around,
    BookSight,
    FindingKind,
    Motion,
    Patience,
    ReconcileFinding,
    Remedy,
    again,
    compare,
    drift,
    may_be_read,
)

NOW = 1_000_000.0
END = NOW + 86_400
PATIENCE = Patience()
ACTIVE = Facts("HLF", "active", "c", END, "valid")
PAUSED = ACTIVE._replace(status="paused")
SHOWN = LedgerRow(
    applied=Visibility.VISIBLE, state=LedgerState.IN_SYNC, generation=1, reevaluate_at_s=END
)
HIDDEN = LedgerRow(applied=Visibility.HIDDEN, state=LedgerState.IN_SYNC, generation=1)
LETTERED = SHOWN._replace(state=LedgerState.DEAD_LETTERED, reevaluate_at_s=None, dead_letter_id="x")
CALM = Around(still_s=1e6, is_clear=True, is_under_way=False)


def seen(facts: Facts | None, ledger: LedgerRow, *, is_mapped: bool = True) -> BookSight:
    """One mentor at a look."""
    known = Known(facts, ledger, ledger != LedgerRow(), ContactId("c-1") if is_mapped else None)
    return BookSight(known, NOW)


def standing(facts: Facts | None, ledger: LedgerRow, *, is_mapped: bool = True) -> object:
    """What a first look finds."""
    return compare(seen(facts, ledger, is_mapped=is_mapped), PATIENCE)


@pytest.mark.parametrize(
    ("facts", "ledger"),
    [
        (ACTIVE, SHOWN),
        (PAUSED, HIDDEN),
        (None, HIDDEN._replace(state=LedgerState.OUT_OF_SCOPE)),
        (None, LedgerRow()),
        (ACTIVE._replace(organization="XYZ"), LedgerRow()),
        (
            ACTIVE._replace(status="reinstated", certification_id=None, certificate_expires_s=None),
            LedgerRow(),
        ),
    ],
)
def test_who_is_as_decided_is_in_step(facts: Facts | None, ledger: LedgerRow) -> None:
    """Delivered, or nothing to deliver."""
    assert standing(facts, ledger) is None


@pytest.mark.requirement("R63")
@pytest.mark.parametrize(
    ("facts", "ledger", "is_mapped", "found"),
    [
        (
            PAUSED,
            SHOWN,
            True,
            ReconcileFinding(
                FindingKind.NOT_DELIVERED, "paused", Remedy.DELIVER, Visibility.HIDDEN
            ),
        ),
        (
            ACTIVE,
            HIDDEN,
            True,
            ReconcileFinding(
                FindingKind.NOT_DELIVERED, "active", Remedy.DELIVER, Visibility.VISIBLE
            ),
        ),
        (
            ACTIVE,
            LedgerRow(),
            True,
            ReconcileFinding(
                FindingKind.NOT_DELIVERED, "active", Remedy.DELIVER, Visibility.VISIBLE
            ),
        ),
        (
            None,
            SHOWN,
            True,
            ReconcileFinding(FindingKind.NOT_DELIVERED, "gone", Remedy.DELIVER, Visibility.HIDDEN),
        ),
        (
            ACTIVE,
            HIDDEN,
            False,
            ReconcileFinding(FindingKind.UNMAPPED, "active", Remedy.LOOK, Visibility.VISIBLE),
        ),
        (
            ACTIVE._replace(status="lost"),
            SHOWN,
            True,
            ReconcileFinding(FindingKind.NOT_REFUSED, "unknown_status", Remedy.LOOK),
        ),
        (
            ACTIVE._replace(status="lost"),
            LETTERED,
            True,
            ReconcileFinding(FindingKind.REFUSED, "unknown_status", Remedy.PERSON),
        ),
        (
            ACTIVE,
            LETTERED,
            True,
            ReconcileFinding(FindingKind.STALE_LETTER, "in_sync", Remedy.LOOK, Visibility.VISIBLE),
        ),
        (
            ACTIVE,
            SHOWN._replace(reevaluate_at_s=NOW - 16),
            True,
            ReconcileFinding(FindingKind.OVERDUE, "for 16 s", Remedy.LOOK, Visibility.VISIBLE),
        ),
        (
            ACTIVE,
            SHOWN._replace(reevaluate_at_s=None),
            True,
            ReconcileFinding(
                FindingKind.NO_NEXT_LOOK, "certificate_end", Remedy.LOOK, Visibility.VISIBLE
            ),
        ),
        (
            ACTIVE,
            SHOWN._replace(reevaluate_at_s=END + 9),
            True,
            ReconcileFinding(
                FindingKind.NO_NEXT_LOOK, "certificate_end", Remedy.LOOK, Visibility.VISIBLE
            ),
        ),
    ],
)
def test_each_way_to_differ_has_its_word_and_its_remedy(
    facts: Facts | None, ledger: LedgerRow, is_mapped: bool, found: ReconcileFinding
) -> None:
    """From a value that was not delivered to an end that nobody would notice."""
    assert standing(facts, ledger, is_mapped=is_mapped) == found


@pytest.mark.parametrize(
    ("code", "is_mapped", "kind", "remedy"),
    [
        ("server_error", True, FindingKind.DEAD_LETTER, Remedy.DELIVER),
        ("network_error", True, FindingKind.DEAD_LETTER, Remedy.DELIVER),
        ("not_found", True, FindingKind.DEAD_LETTER, Remedy.PERSON),
        (None, True, FindingKind.DEAD_LETTER, Remedy.PERSON),
        ("mentor_mapping", False, FindingKind.UNMAPPED, Remedy.PERSON),
        ("mentor_mapping", True, FindingKind.DEAD_LETTER, Remedy.LOOK),
    ],
)
def test_a_dead_letter_is_asked_for_again_only_where_that_can_help(
    code: str | None, is_mapped: bool, kind: FindingKind, remedy: Remedy
) -> None:
    """Exhausted, or a mapping that has come; what was rejected needs a person."""
    found = standing(PAUSED, LETTERED._replace(last_error_code=code), is_mapped=is_mapped)
    assert isinstance(found, ReconcileFinding)
    assert (found.kind, found.remedy, found.wanted) == (kind, remedy, Visibility.HIDDEN)


@pytest.mark.parametrize(
    ("until_s", "state"),
    [
        (NOW + 5, Motion("being_delivered")),
        (NOW - 5, Motion("taken_over")),
        (NOW - 21, ReconcileFinding(FindingKind.LEASE_EXPIRED, "worker_gone", Remedy.LOOK)),
    ],
)
def test_a_lease_is_motion_until_it_is_long_over(until_s: float, state: object) -> None:
    """Delivered now, about to be taken over, forgotten; what is wanted is what the facts say."""
    row = SHOWN._replace(
        state=LedgerState.IN_DOUBT,
        intended=Visibility.HIDDEN,
        lease_owner="w",
        lease_until_s=until_s,
    )
    wanted = (
        replace(state, wanted=Visibility.HIDDEN) if isinstance(state, ReconcileFinding) else state
    )
    assert standing(PAUSED, row) == wanted
    assert standing(PAUSED._replace(status="lost"), row) == state


@pytest.mark.parametrize(
    ("doubt_s", "look_s", "reason"),
    [
        (NOW + 60, NOW + 60, "asserted_again"),
        (NOW - 10, NOW - 10, "asserted_again"),
        (NOW - 20, NOW - 20, "waits"),
        (None, END, "waits"),
        (NOW + 60, None, "waits"),
        (NOW + 60, END, "waits"),
    ],
)
def test_doubt_is_motion(doubt_s: float | None, look_s: float | None, reason: str) -> None:
    """Delivered and waiting for a late effect to pass, or waiting for an attempt."""
    row = SHOWN._replace(
        state=LedgerState.IN_DOUBT,
        intended=Visibility.HIDDEN,
        doubt_until_s=doubt_s,
        reevaluate_at_s=look_s,
    )
    assert standing(PAUSED, row) == Motion(reason)
    assert standing(PAUSED, SHOWN._replace(state=LedgerState.PENDING)) == Motion("waits")


def test_a_change_under_way_is_no_difference() -> None:
    """Where an unhandled record names the mentor; where that is not known, the finding stands."""
    found = compare(seen(PAUSED, SHOWN), PATIENCE)
    assert again(found, replace(CALM, is_under_way=True), PATIENCE) == Motion("change_under_way")
    assert again(found, replace(CALM, is_under_way=None), PATIENCE) == found
    assert again(found, CALM, PATIENCE) == found
    assert again(None, CALM, PATIENCE) is None


def test_what_waits_for_long_though_nothing_stands_in_the_way_is_stalled() -> None:
    """Not while circuit or halts hold it, not while a change is under way, not while Kafka is
    silent, not so soon.
    """
    waits = Motion("waits")
    assert again(waits, CALM, PATIENCE) == ReconcileFinding(
        FindingKind.STALLED, "for 1000000 s", Remedy.LOOK
    )
    for around in (
        replace(CALM, is_clear=False),
        replace(CALM, is_under_way=True),
        replace(CALM, is_under_way=None),
        replace(CALM, still_s=1.0),
    ):
        assert again(waits, around, PATIENCE) == waits
    assert again(Motion("being_delivered"), CALM, PATIENCE) == Motion("being_delivered")


def test_what_was_refused_is_known_and_no_difference() -> None:
    """Its letter is in people's hands, and no value is wanted."""
    refused = ReconcileFinding(FindingKind.REFUSED, "unknown_status", Remedy.PERSON)
    assert not refused.is_difference
    assert again(refused, replace(CALM, is_under_way=True), PATIENCE) == refused


@pytest.mark.requirement("R63")
def test_drift_is_what_dynamics_shows_against_what_was_delivered() -> None:
    """With the value that the facts ask for as the remedy."""
    sight = seen(ACTIVE, SHOWN)
    assert drift(sight, Visibility.VISIBLE, PATIENCE.rules) is None
    assert drift(sight, Visibility.HIDDEN, PATIENCE.rules) == ReconcileFinding(
        FindingKind.DRIFT,
        "dynamics_shows_hidden",
        Remedy.DELIVER,
        Visibility.VISIBLE,
        Visibility.HIDDEN,
    )


@pytest.mark.requirement("R63")
@pytest.mark.parametrize("ledger", [LedgerRow(), LedgerRow(state=LedgerState.IN_SYNC)])
def test_who_is_listed_without_a_right_to_it_is_drift_though_nothing_was_delivered(
    ledger: LedgerRow,
) -> None:
    """Reinstated without a certificate, and listed by somebody else before us: decided alone,
    nothing is to be said.
    """
    sight = seen(
        ACTIVE._replace(status="reinstated", certification_id=None, certificate_expires_s=None),
        ledger,
    )
    assert compare(sight, PATIENCE) is None
    assert drift(sight, Visibility.HIDDEN, PATIENCE.rules) is None
    assert drift(sight, Visibility.VISIBLE, PATIENCE.rules) == ReconcileFinding(
        FindingKind.DRIFT,
        "dynamics_shows_visible",
        Remedy.DELIVER,
        Visibility.HIDDEN,
        Visibility.VISIBLE,
    )


@pytest.mark.requirement("R02")
def test_only_contacts_that_are_ours_are_read() -> None:
    """Not another organisation's, not unmapped ones, not of those whom we never knew."""
    assert may_be_read(seen(ACTIVE, SHOWN), PATIENCE.rules)
    assert may_be_read(seen(None, SHOWN), PATIENCE.rules)
    assert may_be_read(seen(ACTIVE, LedgerRow()), PATIENCE.rules)
    assert not may_be_read(seen(ACTIVE._replace(organization="XYZ"), SHOWN), PATIENCE.rules)
    assert not may_be_read(seen(ACTIVE, SHOWN, is_mapped=False), PATIENCE.rules)
    assert not may_be_read(seen(None, LedgerRow()), PATIENCE.rules)
