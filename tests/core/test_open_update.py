"""Which updates are open and what each waits for: every row of the table, and what became of a
request.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.decide import Rules
from hlf_sync.core.fleet_report import FleetReport, ReportedReason
from hlf_sync.core.model import ContactId, Facts, Former, Known, LedgerRow, LedgerState, Visibility
from hlf_sync.core.open_update import (
    Asked,
    Case,
    Cause,
    Conditions,
    OpenState,
    OpenUpdate,
    RequestState,
    judge,
    next_probe_s,
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


def around(**changes: Any) -> Conditions:
    """Nothing stands in the way, but for these."""
    return Conditions(**{"now_s": NOW_S, **changes})


def facts(status: str = "paused", *, ends_s: float | None = LATER_S) -> Facts:
    """A mentor of ours."""
    return Facts("HLF", status, certificate_expires_s=ends_s)


def case(
    found: Facts | None, ledger: LedgerRow, *, held_s: float | None = None, **known: Any
) -> Case:
    """Facts beside a ledger row."""
    one = Known(found, ledger, has_ledger=True, contact_id=None)._replace(**known)
    return Case(known=one, held_s=held_s, updated_s=NOW_S - 10)


def known(
    status: str | None = "paused",
    *,
    held_s: float | None = None,
    is_paused: bool = False,
    **ledger: Any,
) -> Case:
    """Facts beside a ledger row; None: the mentor is gone."""
    row = LedgerRow(**{"applied": V, "state": LedgerState.IN_SYNC, **ledger})
    found = None if status is None else facts(status)
    return case(found, row, held_s=held_s, is_paused=is_paused)


def row(status: str) -> MentorRow:
    """As the view has it."""
    return MentorRow(UUID(int=1), known(status), None, status, None)


def seen(one: Case, **surroundings: Any) -> OpenUpdate:
    """What is open; something must be."""
    found = judge(one, around(**surroundings), RULES, RETRY)
    assert found is not None
    return found


@pytest.mark.parametrize(
    "one",
    [
        known("active"),
        known("paused", applied=H),
        case(facts("reinstated", ends_s=None), LedgerRow()),
        case(Facts("NKS", "paused"), LedgerRow()),
        case(None, LedgerRow(applied=H, state=LedgerState.OUT_OF_SCOPE)),
    ],
)
def test_nothing_is_open_where_nothing_is_due(one: Case) -> None:
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
        (case(facts("active", ends_s=1), LedgerRow(H, state=LedgerState.PENDING)),
         H, H),
    ],
)  # fmt: skip
def test_what_should_be_and_what_is_shown(
    one: Case, should: Visibility | None, shown: Visibility | None
) -> None:
    found = seen(one)
    assert (found.should_be, found.shown) == (should, shown)


LETTER: dict[str, Any] = {"state": LedgerState.DEAD_LETTERED}
DOUBT: dict[str, Any] = {"state": LedgerState.IN_DOUBT, "intended": H}


@pytest.mark.parametrize(
    ("one", "state", "cause", "next_s"),
    [
        (known(), OpenState.PENDING, Cause.WAITING, None),
        (known(**DOUBT), OpenState.IN_DOUBT, Cause.IN_DOUBT, None),
        (known(**DOUBT, doubt_until_s=LATER_S), OpenState.IN_DOUBT, Cause.IN_DOUBT, LATER_S),
        (known(**DOUBT, reevaluate_at_s=NOW_S + 5, doubt_until_s=LATER_S),
         OpenState.IN_DOUBT, Cause.IN_DOUBT, NOW_S + 5),
        (known(**DOUBT, lease_until_s=LATER_S), OpenState.PENDING, Cause.UNDER_WAY, None),
        (known(**DOUBT, lease_until_s=NOW_S - 1), OpenState.IN_DOUBT, Cause.IN_DOUBT, None),
        (known(**DOUBT, lease_until_s=LATER_S, doubt_until_s=LATER_S),
         OpenState.IN_DOUBT, Cause.UNDER_WAY, None),
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
        (known("active", applied=H, held_s=NOW_S), OpenState.PENDING, Cause.WAITING, None),
    ],
)  # fmt: skip
def test_what_a_mentor_waits_for(
    one: Case, state: OpenState, cause: Cause, next_s: float | None
) -> None:
    found = seen(one)
    assert (found.state, found.cause, found.next_try_s) == (state, cause, next_s)


@pytest.mark.parametrize(
    ("surroundings", "cause", "next_s"),
    [
        ({"halts": frozenset({"auth", "dead_letter_limit"})}, Cause.AUTH, None),
        ({"halts": frozenset({"dead_letter_limit"})}, Cause.DEAD_LETTER_LIMIT, None),
        ({"halts": frozenset({"paused_by_hand"})}, Cause.HALTED, None),
        ({"halts": frozenset({"mass_removal"})}, Cause.WAITING, None),
        ({"has_worker": False}, Cause.NO_WORKER, None),
        ({"is_shadow": True}, Cause.SHADOW, None),
        ({"circuit": State.OPEN, "circuit_until_s": LATER_S}, Cause.CIRCUIT_OPEN, LATER_S),
        ({"circuit": State.HALF_OPEN}, Cause.WAITING, None),
        ({"pause_until_s": LATER_S}, Cause.THROTTLED, LATER_S),
        ({"pause_until_s": NOW_S - 1}, Cause.WAITING, None),
    ],
)
def test_what_everybody_waits_for_comes_first(
    surroundings: dict[str, Any], cause: Cause, next_s: float | None
) -> None:
    found = seen(known(), **surroundings)
    assert (found.cause, found.next_try_s) == (cause, next_s)


def told(*reasons: str, age_s: float = 1.0, since_s: float = NOW_S - 600) -> FleetReport:
    """What the leading worker says."""
    troubles = tuple(ReportedReason(reason, since_s) for reason in reasons)
    return FleetReport(troubles=troubles, reported_s=NOW_S - age_s, age_s=age_s)


WAITED = replace(known(), noticed_s=NOW_S - 61)
RETRIED = known(state=LedgerState.PENDING, attempt_count=2, last_error_code="server_error")


@pytest.mark.parametrize(
    ("one", "report", "cause"),
    [
        (known(), told("connector_failed"), Cause.UNREAD),
        (known(), told("source_silent"), Cause.UNREAD),
        (known(), told("kafka_down"), Cause.UNREAD),
        (known(), told("wrongly_listed", "kafka_down"), Cause.UNREAD),
        (known(**DOUBT), told("kafka_down"), Cause.UNREAD),
        (RETRIED, told("kafka_down"), Cause.RETRYING),
        (known(), told("letters_unwritable"), Cause.WAITING),
        (known(), told("a_newer_releases_word"), Cause.WAITING),
        (known(), told(age_s=30.0), Cause.WAITING),
        (known(), told(age_s=31.0), Cause.NO_WORKER),
        (known(), told("kafka_down", age_s=31.0), Cause.NO_WORKER),
        (WAITED, told(), Cause.LATE),
        (replace(WAITED, noticed_s=NOW_S - 60), told(), Cause.WAITING),
        (WAITED, told("kafka_down"), Cause.UNREAD),
        (replace(RETRIED, began_s=NOW_S - 600), told(), Cause.RETRYING),
    ],
)
def test_what_the_leading_worker_reports_is_what_an_update_waits_for(
    one: Case, report: FleetReport, cause: Cause
) -> None:
    assert seen(one, report=report).cause is cause


def test_where_no_worker_is_there_its_last_report_does_not_hide_it() -> None:
    """Red before: for half a minute after the last worker had ended, no word of it."""
    for report in (None, told(age_s=1.0)):
        assert seen(known(), has_worker=False, report=report).cause is Cause.NO_WORKER


def test_the_ledger_tells_of_an_update_only_once_a_worker_has_looked() -> None:
    assert not seen(known()).is_booked
    assert seen(known(lease_until_s=LATER_S)).is_booked
    for state in (LedgerState.PENDING, LedgerState.IN_DOUBT, LedgerState.DEAD_LETTERED):
        assert seen(known(state=state)).is_booked


def test_a_letter_does_not_wait_for_the_circuit() -> None:
    assert seen(known(**LETTER), circuit=State.OPEN).cause is Cause.REFUSED


@pytest.mark.parametrize(
    ("status", "ends_s", "expected"),
    [
        ("active", NOW_S - 50, NOW_S - 50),
        ("paused", NOW_S - 50, None),
        ("paused", LATER_S, None),
        ("active", None, None),
        ("active", float("-inf"), None),
    ],
)
def test_only_the_certificates_end_tells_by_itself_since_when(
    status: str, ends_s: float | None, expected: float | None
) -> None:
    one = case(facts(status, ends_s=ends_s), LedgerRow(V, state=LedgerState.IN_SYNC))
    assert seen(one).since_s == expected


def test_the_earliest_that_is_told_is_since_when() -> None:
    pending = known(state=LedgerState.PENDING)
    assert seen(pending).since_s == NOW_S - 10
    assert seen(replace(pending, held_s=NOW_S - 20)).since_s == NOW_S - 20
    assert seen(replace(pending, held_s=NOW_S - 20, began_s=NOW_S - 30)).since_s == NOW_S - 30


def test_a_gone_mentor_tells_nothing() -> None:
    assert seen(known(None)).since_s is None


def test_a_former_contact_that_is_still_shown_is_open() -> None:
    """Red before: the web service asked the half of the rule that looks at the mapped contact."""
    row = LedgerRow(state=LedgerState.IN_SYNC)
    one = case(facts("reinstated", ends_s=None), row, formers=(Former(ContactId("x")),))
    found = seen(one)
    assert (found.should_be, found.shown, found.cause) == (H, V, Cause.WAITING)
    asked = Asked(created_s=NOW_S - 20, was_delivered=False)
    assert outcome(asked, one, around(), RULES) == (RequestState.WAITING, None)


def test_an_operators_pause_comes_before_all_but_holds_up_nothing_that_is_not_due() -> None:
    halted = {"halts": frozenset({"auth"})}
    for one in (known(is_paused=True), known(is_paused=True, held_s=NOW_S)):
        assert seen(one, **halted).cause is Cause.PAUSED
    at_rest = known("active", is_paused=True, state=LedgerState.PENDING)
    assert seen(at_rest).cause is Cause.WAITING


@pytest.mark.parametrize(
    ("opened_s", "pause_s", "expected"),
    [(None, None, None), (None, 5.0, 5.0), (10.0, None, 70.0), (10.0, 90.0, 90.0)],
)
def test_an_open_circuit_is_tried_after_the_cool_down_and_not_before_dynamics_says(
    opened_s: float | None, pause_s: float | None, expected: float | None
) -> None:
    assert next_probe_s(opened_s, pause_s, cool_down_s=60.0) == expected


@pytest.mark.parametrize(
    ("one", "asked_s", "delivered", "state", "word"),
    [
        (known(), 0, True, RequestState.DONE, "delivered"),
        (known("active"), -20, False, RequestState.DONE, "nothing_to_do"),
        (known("active"), 0, False, RequestState.WAITING, None),
        (known("paused"), -20, False, RequestState.WAITING, None),
        (known("paused", state=None, applied=None), -20, False, RequestState.WAITING, None),
        (case(facts("reinstated", ends_s=None), LedgerRow()),
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
    one: Case, asked_s: float, delivered: bool, state: RequestState, word: str | None
) -> None:
    asked = Asked(created_s=NOW_S + asked_s, was_delivered=delivered)
    assert outcome(asked, one, around(), RULES) == (state, word)
