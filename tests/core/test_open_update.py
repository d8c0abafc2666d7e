"""Which updates are open and what each waits for: every row of the table, and what became of a
request.
"""

from typing import Any
from uuid import UUID

import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules
from hlf_sync.core.model import Facts, LedgerRow, LedgerState, Visibility
from hlf_sync.core.open_update import (
    Asked,
    Cause,
    Known,
    OpenState,
    OpenUpdate,
    RequestState,
    Surroundings,
    first_wrong_s,
    judge,
    outcome,
)
from hlf_sync.core.retry import RetryPolicy
from hlf_sync.postgres.coordinator_view import MentorRow
from hlf_sync.web.items import Judging

pytestmark = pytest.mark.requirement("R61")

NOW_S = 1_800_000_000.0
LATER_S = NOW_S + 1_000
RULES, RETRY = Rules(), RetryPolicy()
JUDGING = Judging(rules=RULES, retry=RETRY)
V, H = Visibility.VISIBLE, Visibility.HIDDEN


def around(**changes: Any) -> Surroundings:
    """Nothing stands in the way, but for these."""
    return Surroundings(**{"now_s": NOW_S, **changes})


def facts(status: str = "paused", *, ends_s: float | None = LATER_S) -> Facts:
    """A mentor of ours."""
    return Facts("HLF", status, certificate_expires_s=ends_s)


def known(status: str | None = "paused", *, held_s: float | None = None, **ledger: Any) -> Known:
    """Facts beside a ledger row; None: the mentor is gone."""
    row = LedgerRow(**{"applied": V, "state": LedgerState.IN_SYNC, **ledger})
    found = None if status is None else facts(status)
    return Known(facts=found, ledger=row, held_s=held_s, updated_s=NOW_S - 10)


def row(status: str) -> MentorRow:
    """As the view has it."""
    return MentorRow(UUID(int=1), known(status), None, status, None, None)


def seen(one: Known, **surroundings: Any) -> OpenUpdate:
    """What is open; something must be."""
    found = judge(one, around(**surroundings), RULES, RETRY)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "one",
    [
        known("active"),
        known("paused", applied=H),
        Known(facts=facts("reinstated", ends_s=None), ledger=LedgerRow()),
        Known(facts=Facts("NKS", "paused"), ledger=LedgerRow()),
        Known(facts=None, ledger=LedgerRow(applied=H, state=LedgerState.OUT_OF_SCOPE)),
    ],
)
def test_nothing_is_open_where_nothing_is_due(one: Known) -> None:
    assert judge(one, around(), RULES, RETRY) is None


@pytest.mark.parametrize(
    ("one", "should", "shown"),
    [
        (known("paused"), H, V),
        (known("active", applied=H), V, H),
        (known("active", applied=None), V, None),
        (known(None), H, V),
        (known("active", intended=H, state=LedgerState.IN_DOUBT), V, None),
        (known("vacationing"), V, V),
        (known("vacationing", applied=None), None, None),
        (known("active", state=LedgerState.PENDING), V, V),
        (Known(facts=facts("active", ends_s=1), ledger=LedgerRow(H, state=LedgerState.PENDING)),
         H, H),
    ],
)  # fmt: skip
def test_what_should_be_and_what_is_shown(
    one: Known, should: Visibility | None, shown: Visibility | None
) -> None:
    found = seen(one)
    assert (found.should_be, found.shown) == (should, shown)


LETTER = {"state": LedgerState.DEAD_LETTERED}
DOUBT = {"state": LedgerState.IN_DOUBT, "intended": H}


@pytest.mark.parametrize(
    ("one", "state", "cause", "next_s"),
    [
        (known(), OpenState.PENDING, Cause.DUE, None),
        (known(**DOUBT), OpenState.IN_DOUBT, Cause.IN_DOUBT, None),
        (known(**DOUBT, doubt_until_s=LATER_S), OpenState.IN_DOUBT, Cause.IN_DOUBT, LATER_S),
        (known(**DOUBT, reevaluate_at_s=NOW_S + 5, doubt_until_s=LATER_S),
         OpenState.IN_DOUBT, Cause.IN_DOUBT, NOW_S + 5),
        (known(**DOUBT, lease_until_s=LATER_S), OpenState.PENDING, Cause.DELIVERING, None),
        (known(**DOUBT, lease_until_s=NOW_S - 1), OpenState.IN_DOUBT, Cause.IN_DOUBT, None),
        (known(**DOUBT, lease_until_s=LATER_S, doubt_until_s=LATER_S),
         OpenState.IN_DOUBT, Cause.DELIVERING, None),
        (known(state=LedgerState.PENDING, attempt_count=2, last_error_code="server_error"),
         OpenState.PENDING, Cause.RETRYING, NOW_S - 10 + 4),
        (known(**LETTER, last_error_code="mentor_mapping"),
         OpenState.DEAD_LETTERED, Cause.UNMAPPED, None),
        (known(**LETTER, last_error_code="unknown_status"),
         OpenState.DEAD_LETTERED, Cause.REFUSED, None),
        (known(**LETTER, last_error_code="rejected"),
         OpenState.DEAD_LETTERED, Cause.REJECTED, None),
        (known(**LETTER, last_error_code="server_error"),
         OpenState.DEAD_LETTERED, Cause.EXHAUSTED, None),
        (known(**LETTER), OpenState.DEAD_LETTERED, Cause.REFUSED, None),
        (known(held_s=NOW_S), OpenState.HELD, Cause.HELD, None),
        (known("active", applied=H, held_s=NOW_S), OpenState.PENDING, Cause.DUE, None),
    ],
)  # fmt: skip
def test_what_a_mentor_waits_for(
    one: Known, state: OpenState, cause: Cause, next_s: float | None
) -> None:
    found = seen(one)
    assert (found.state, found.cause, found.next_try_s) == (state, cause, next_s)


@pytest.mark.parametrize(
    ("surroundings", "cause", "next_s"),
    [
        ({"halts": frozenset({"auth", "dead_letter_limit"})}, Cause.AUTH, None),
        ({"halts": frozenset({"dead_letter_limit"})}, Cause.DEAD_LETTER_LIMIT, None),
        ({"halts": frozenset({"paused_by_hand"})}, Cause.HALTED, None),
        ({"halts": frozenset({"mass_removal"})}, Cause.DUE, None),
        ({"has_worker": False}, Cause.NO_WORKER, None),
        ({"is_shadow": True}, Cause.SHADOW, None),
        ({"circuit": State.OPEN, "circuit_until_s": LATER_S}, Cause.CIRCUIT_OPEN, LATER_S),
        ({"circuit": State.HALF_OPEN}, Cause.DUE, None),
        ({"pause_until_s": LATER_S}, Cause.THROTTLED, LATER_S),
        ({"pause_until_s": NOW_S - 1}, Cause.DUE, None),
    ],
)
def test_what_everybody_waits_for_comes_first(
    surroundings: dict[str, Any], cause: Cause, next_s: float | None
) -> None:
    found = seen(known(), **surroundings)
    assert (found.cause, found.next_try_s) == (cause, next_s)


def test_a_letter_does_not_wait_for_the_circuit() -> None:
    assert seen(known(**LETTER), circuit=State.OPEN).cause is Cause.REFUSED


@pytest.mark.parametrize(
    ("status", "ends_s", "expected"),
    [
        ("active", NOW_S - 50, NOW_S - 50),
        ("paused", NOW_S - 50, None),
        ("active", LATER_S, None),
        ("active", None, None),
        ("active", float("-inf"), None),
    ],
)
def test_only_the_certificates_end_tells_by_itself_since_when(
    status: str, ends_s: float | None, expected: float | None
) -> None:
    one = Known(facts=facts(status, ends_s=ends_s), ledger=LedgerRow(V, state=LedgerState.IN_SYNC))
    update = OpenUpdate(
        should_be=H, shown=V, state=OpenState.PENDING, cause=Cause.DUE, next_try_s=None
    )
    assert first_wrong_s(one, update, NOW_S) == expected


def test_a_gone_mentor_tells_nothing() -> None:
    assert first_wrong_s(known(None), seen(known(None)), NOW_S) is None


@pytest.mark.parametrize(
    ("one", "asked_s", "delivered", "state", "word"),
    [
        (known(), 0, True, RequestState.DONE, "delivered"),
        (known("active"), -20, False, RequestState.DONE, "nothing_to_do"),
        (known("active"), 0, False, RequestState.WAITING, None),
        (known("paused"), -20, False, RequestState.WAITING, None),
        (known("paused", state=None, applied=None), -20, False, RequestState.WAITING, None),
        (Known(facts=facts("reinstated", ends_s=None), ledger=LedgerRow()),
         0, False, RequestState.DONE, "nothing_to_do"),
        (known("active", lease_until_s=LATER_S), -20, False, RequestState.WAITING, None),
        (known(**DOUBT), -20, False, RequestState.WAITING, None),
        (known(**LETTER, last_error_code="rejected"), -20, False, RequestState.FAILED, "rejected"),
        (known(**LETTER, last_error_code="rejected"), 0, False, RequestState.WAITING, None),
        (known(**LETTER, last_error_code="mentor_mapping"),
         0, False, RequestState.FAILED, "mentor_mapping"),
        (known("vacationing", **LETTER, last_error_code="unknown_status"),
         0, False, RequestState.FAILED, "unknown_status"),
    ],
)  # fmt: skip
def test_what_became_of_a_request(
    one: Known, asked_s: float, delivered: bool, state: RequestState, word: str | None
) -> None:
    asked = Asked(created_s=NOW_S + asked_s, was_delivered=delivered)
    assert outcome(asked, one, around(), RULES) == (state, word)
