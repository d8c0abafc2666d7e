"""The verdict that coordinators are told: what stops all comes first, nothing hides behind the mass
change guard, and each sentence says since when.
"""

from typing import Any

import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_report import FleetReport, ReportedReason
from hlf_sync.core.fleet_verdict import Reason
from hlf_sync.core.open_update import Cause, Conditions
from hlf_sync.web.words import SENTENCES, verdict, with_given_up

pytestmark = pytest.mark.requirement("R61")

NOW_S = 1_795_874_700.0  # 2026-11-28 14:05 UTC
GUARD = frozenset({"mass_removal"})


def told(*reasons: str, age_s: float = 1.0) -> FleetReport:
    troubles = tuple(ReportedReason(reason, NOW_S - 300) for reason in reasons)
    return FleetReport(troubles=troubles, reported_s=NOW_S - age_s, age_s=age_s)


@pytest.mark.parametrize(
    ("around", "standing", "reason", "words"),
    [
        ({}, "ok", "caught_up", "as they come"),
        ({"report": told()}, "ok", "caught_up", "as they come"),
        ({"report": told("kafka_down")}, "stalled", "kafka_down",
         "Changes are not read at the moment (Kafka is away, since 14:00:00 UTC). Updates wait"),
        ({"report": told("connector_failed")}, "stopped", "connector_failed",
         "(the connector has failed, since 14:00:00 UTC). The administrator must act"),
        ({"report": told("source_silent")}, "stalled", "source_silent", "the connector is silent"),
        ({"report": told("letters_unwritable")}, "stalled", "letters_unwritable",
         "held up since 14:00:00 UTC"),
        ({"report": told("a_new_one")}, "stalled", "a_new_one", "held up since 14:00:00 UTC"),
        ({"report": told("wrongly_listed")}, "lagging", "wrongly_listed", "longer than usual"),
        ({"report": told("kafka_down", age_s=60)}, "stopped", "no_worker",
         "No worker has reported since 14:04:00 UTC."),
        ({"has_worker": False}, "stopped", "no_worker", "not running"),
        ({"has_worker": False, "report": told(age_s=20)}, "stopped", "no_worker", "not running"),
        ({"halts": frozenset({"auth"}), "has_worker": False}, "halted", "auth", "are stopped"),
        ({"halts": frozenset({"a_new_halt"})}, "halted", "a_new_halt", "has stopped all"),
        ({"halts": frozenset({"paused"})}, "halted", "paused", "are stopped"),
        ({"circuit": State.OPEN, "report": told("kafka_down")}, "stalled", "kafka_down", "Kafka"),
        ({"circuit": State.OPEN, "report": told("letters_unwritable")},
         "stalled", "circuit_open", "Dynamics is not answering"),
        ({"pause_until_s": NOW_S + 9}, "stalled", "throttled", "a pause"),
        ({"halts": GUARD}, "halted", "mass_removal", "all other updates go out"),
        ({"halts": GUARD, "report": told("wrongly_listed")}, "halted", "mass_removal", "all other"),
        ({"halts": GUARD, "has_worker": False}, "stopped", "no_worker", "not running"),
        ({"halts": GUARD, "report": told("kafka_down")}, "stalled", "kafka_down", "Kafka"),
        ({"halts": GUARD, "circuit": State.OPEN}, "stalled", "circuit_open", "Dynamics"),
        ({"halts": GUARD | {"auth"}}, "halted", "auth", "are stopped"),
    ],
)  # fmt: skip
def test_what_the_fleets_state_comes_to(
    around: dict[str, Any], standing: str, reason: str, words: str
) -> None:
    found = verdict(Conditions(**{"now_s": NOW_S, **around}))
    assert (found.standing.value, found.reason) == (standing, reason)
    assert words in found.message
    is_guarded = bool(around.get("halts", frozenset()) & GUARD)
    assert ("Unusually many" in found.message) is is_guarded, "it neither hides nor is hidden"
    assert "Updates are stopped" not in found.message or standing == "halted"


@pytest.mark.parametrize("reason", Reason)
def test_every_word_of_the_workers_has_a_sentence_without_our_inner_life(reason: Reason) -> None:
    message = verdict(Conditions(now_s=NOW_S, report=told(reason.value))).message
    for inner in ("`", "hlf-sync", "Debezium", "slot", "PostgreSQL", "http", "docs/"):
        assert inner not in message


def test_no_sentence_of_a_wait_promises_seconds() -> None:
    assert "on its way" not in SENTENCES[Cause.LATE] + SENTENCES[Cause.UNREAD]


def test_updates_that_were_given_up_are_not_said_to_be_delivered() -> None:
    """Red before: "Updates are delivered as they come", above a mentor who was given up."""
    fine = verdict(Conditions(now_s=NOW_S))
    assert with_given_up(fine, 0) == fine
    found = with_given_up(fine, 1)
    assert (found.standing.value, found.reason) == ("lagging", "dead_letters_open")
    assert "given up need 'Sync now'" in found.message
    halted = verdict(Conditions(now_s=NOW_S, halts=frozenset({"auth"})))
    assert with_given_up(halted, 1) == halted
