"""What the leading worker reports of the fleet, and how far it is believed."""

import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_report import (
    FleetReport,
    ReportedReason,
    clock,
    in_words,
    report_of,
    reported,
)
from hlf_sync.core.fleet_verdict import KAFKA, MEANINGS, Reason, Signs, SourceSigns, Stage
from hlf_sync.core.model import HaltReason

NOW_S = 1_795_874_700.0  # 2026-11-28 14:05 UTC
WELL = Signs(is_turning=True, partitions=3, has_caught_up=True)


def told(reason: str, since_s: float = NOW_S - 60, *, age_s: float = 1.0) -> FleetReport:
    return FleetReport(
        troubles=(ReportedReason(reason, since_s),), reported_s=NOW_S - age_s, age_s=age_s
    )


def test_what_other_tables_tell_is_not_reported_and_rest_is_nothing_to_report() -> None:
    signs = Signs(
        is_turning=True,
        partitions=1,
        has_caught_up=True,
        halts=frozenset(HaltReason),
        circuit=State.OPEN,
        is_paused=True,
        pause_s=5,
        calling=1,
        down=frozenset({KAFKA}),
    )
    assert reported(signs) == [(Reason.KAFKA_DOWN, 0.0)]
    assert reported(WELL) == []
    assert reported(Signs(is_turning=True, is_standby=True)) == []


def test_what_has_gone_on_before_it_was_noticed_says_for_how_long() -> None:
    signs = Signs(
        is_turning=True,
        unread_s=40,
        wrong_s=90,
        source=SourceSigns(is_connector_down=True, heartbeat_age_s=75),
    )
    assert dict(reported(signs)) == {
        Reason.CONNECTOR_FAILED: 0,
        Reason.UNASSIGNED: 40,
        Reason.SOURCE_SILENT: 75,
        Reason.CATCHING_UP: 0,
        Reason.WRONGLY_LISTED: 90,
    }


def test_a_restarts_first_seconds_are_not_told_of() -> None:
    assert told("catching_up", NOW_S - 29).lasting(NOW_S) == ()
    assert len(told("catching_up", NOW_S - 30).lasting(NOW_S)) == 1
    assert len(told("kafka_down", NOW_S).lasting(NOW_S)) == 1


def test_what_was_said_half_a_minute_ago_is_not_how_it_is() -> None:
    assert told("kafka_down", age_s=30.0).lasting(NOW_S)
    assert told("kafka_down", age_s=30.1).lasting(NOW_S) == ()


@pytest.mark.parametrize("reason", Reason)
def test_only_what_stands_before_the_first_look_keeps_changes_unread(reason: Reason) -> None:
    meaning = MEANINGS[reason]
    is_before = meaning.stage in {Stage.SOURCE, Stage.CONSUME, Stage.DECODE}
    expected = is_before and meaning.standing.value in {"stalled", "stopped"}
    assert ReportedReason(reason.value, 0.0).is_unread is expected


def test_a_word_of_a_newer_release_says_that_something_stands() -> None:
    one = ReportedReason("a_new_one", 0.0)
    assert (one.stands, one.is_unread) == (True, False)


def test_an_operator_is_told_what_stands_since_when_and_what_to_do() -> None:
    def lines(report: FleetReport | None, *, has_worker: bool = True) -> list[str]:
        return in_words(report, NOW_S, has_worker=has_worker)

    assert lines(None) == lines(told("wrongly_listed")) == []
    assert lines(told("kafka_down")) == [
        "since 14:04:00 UTC: no Kafka broker answers; bring the brokers back; it goes on by itself"
    ]
    assert lines(told("throttled")) == [f"since 14:04:00 UTC: {MEANINGS[Reason.THROTTLED].text}"]
    assert lines(told("kafka_down", age_s=120)) == [
        "no worker has reported since 14:03:00 UTC: frozen or cut off (`hlf-sync status`)"
    ]
    assert lines(told("kafka_down"), has_worker=False) == [
        "no worker is running (start one: `hlf-sync run`)"
    ]


def test_a_time_of_another_day_says_which() -> None:
    assert clock(NOW_S - 86_400, NOW_S) == "2026-11-27 14:05 UTC"


def test_where_nobody_has_ever_reported_there_is_no_report() -> None:
    assert report_of(None) is None
    content = {
        "reasons": [{"reason": "kafka_down", "since_s": NOW_S - 60}],
        "reported_s": NOW_S - 1,
        "age_s": 1.0,
    }
    assert report_of(content) == told("kafka_down")
