"""Whom a sweep need not ask for: a look would neither call nor write anything."""

from dataclasses import dataclass

import pytest
from hlf_sync.core.at_rest import is_at_rest
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Facts, Known, LedgerRow, LedgerState, Visibility

pytestmark = pytest.mark.requirement("R08")

NOW_S = 1_800_000_000.0
END_S = NOW_S + 86_400
SHOWN = LedgerRow(
    applied=Visibility.VISIBLE, state=LedgerState.IN_SYNC, reevaluate_at_s=END_S, generation=3
)
ACTIVE = Facts("HLF", "active", "c", END_S)


@dataclass(frozen=True)
class Case:
    name: str
    facts: Facts | None
    ledger: LedgerRow
    has_ledger: bool = True
    is_resting: bool = False


CASES = [
    Case("shown until its end", ACTIVE, SHOWN, is_resting=True),
    Case("nobody of ours, and never was", Facts("ABC", "active"), LedgerRow(), False, True),
    Case(
        "a look before its end", ACTIVE._replace(certificate_expires_s=END_S + 9), SHOWN, True, True
    ),
    Case("a look after its end", ACTIVE._replace(certificate_expires_s=END_S - 9), SHOWN),
    Case("nothing plans its end", ACTIVE, SHOWN._replace(reevaluate_at_s=None)),
    Case("paused and shown", ACTIVE._replace(status="paused"), SHOWN),
    Case("attempts are left over", ACTIVE, SHOWN._replace(attempt_count=1)),
    Case("a letter is left over", ACTIVE, SHOWN._replace(dead_letter_id="x:1")),
    Case("a lease is left over", ACTIVE, SHOWN._replace(lease_owner="w", lease_until_s=1.0)),
    Case("due no more, and called pending", ACTIVE, SHOWN._replace(state=LedgerState.PENDING)),
    Case("in doubt", ACTIVE, SHOWN._replace(intended=Visibility.VISIBLE)),
    Case("new", ACTIVE, LedgerRow(), False),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_mentor_is_at_rest_when_a_look_would_write_nothing(case: Case) -> None:
    known = Known(case.facts, case.ledger, case.has_ledger, contact_id=None)
    assert is_at_rest(known, NOW_S, Rules()) is case.is_resting
