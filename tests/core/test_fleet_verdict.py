"""What the figures come to."""

from dataclasses import replace

import pytest
from hlf_sync.core.breaker import State
from hlf_sync.core.fleet_verdict import (
    _HOLDS,
    KAFKA,
    MEANINGS,
    POSTGRESQL,
    Reason,
    Signs,
    SourceSigns,
    Stage,
    Standing,
    is_held_up,
    judge,
    reasons,
)
from hlf_sync.core.model import HaltReason

FINE = Signs(is_turning=True, partitions=12, has_caught_up=True)
CASES = {
    Reason.CAUGHT_UP: FINE,
    Reason.STANDBY: replace(FINE, partitions=0, is_standby=True),
    Reason.AUTH: replace(FINE, halts=frozenset({HaltReason.AUTH, HaltReason.MASS_REMOVAL})),
    Reason.DEAD_LETTER_LIMIT: replace(FINE, halts=frozenset({HaltReason.DEAD_LETTER_LIMIT})),
    Reason.MASS_REMOVAL: replace(FINE, halts=frozenset({HaltReason.MASS_REMOVAL})),
    Reason.PAUSED: replace(FINE, is_paused=True, is_stuck=True),
    Reason.THREAD_STUCK: replace(FINE, is_turning=False),
    Reason.CONSUMER_FAILED: replace(FINE, is_consumer_failed=True, partitions=0, unread_s=60),
    Reason.UNASSIGNED: replace(FINE, partitions=0, unread_s=31, has_caught_up=False),
    Reason.SLOT_LOST: replace(FINE, source=SourceSigns(is_connector_down=True, is_slot_lost=True)),
    Reason.CONNECTOR_FAILED: replace(
        FINE, source=SourceSigns(is_connector_down=True, heartbeat_age_s=300)
    ),
    Reason.CONNECTOR_PAUSED: replace(
        FINE, source=SourceSigns(is_connector_paused=True, heartbeat_age_s=300)
    ),
    Reason.DATABASE_CHANGED: replace(
        FINE, source=SourceSigns(is_changed=True, is_broken=True, is_connector_down=True)
    ),
    Reason.SOURCE_BROKEN: replace(FINE, source=SourceSigns(is_broken=True, heartbeat_age_s=300)),
    Reason.POSTGRESQL_DOWN: replace(FINE, down=frozenset({"PostgreSQL"})),
    Reason.KAFKA_DOWN: replace(
        FINE, down=frozenset({"Kafka"}), source=SourceSigns(heartbeat_age_s=300)
    ),
    Reason.REGISTRY_DOWN: replace(FINE, down=frozenset({"schema registry"}), parked=3),
    Reason.LETTERS_UNWRITABLE: replace(FINE, down=frozenset({"dead-letter topic"})),
    Reason.CIRCUIT_OPEN: replace(FINE, circuit=State.OPEN, freshness_s=600, held_s=600, retrying=1),
    Reason.THROTTLED: replace(FINE, pause_s=5, calling=1),
    Reason.SOURCE_SILENT: replace(
        FINE, source=SourceSigns(is_connector_down=False, is_slot_lost=False, heartbeat_age_s=61)
    ),
    Reason.SOURCE_RETURNING: replace(FINE, source=SourceSigns(heartbeat_age_s=300), reachable_s=20),
    Reason.NOTHING_COMMITTED: replace(FINE, is_stuck=True),
    Reason.CATCHING_UP: replace(FINE, has_caught_up=False, freshness_s=600, held_s=600),
    Reason.WRONGLY_LISTED: replace(FINE, wrong_s=61),
    Reason.DEAD_LETTERS_OPEN: replace(FINE, has_open_letter=True),
    Reason.BEHIND_UNREAD: replace(FINE, freshness_s=90, held_s=20, calling=50),
    Reason.BEHIND_SCHEMA: replace(FINE, freshness_s=90, parked=1),
    Reason.BEHIND_DECIDING: replace(FINE, freshness_s=90, held_s=90, dirty=5, calling=4),
    Reason.BEHIND_DELIVERING: replace(FINE, freshness_s=90, held_s=90, dirty=4, calling=5),
    Reason.BEHIND_RETRYING: replace(FINE, freshness_s=90, held_s=90, retrying=1),
}


@pytest.mark.requirement("R60")
@pytest.mark.parametrize("reason", Reason)
def test_each_reason_rules_where_it_explains_the_rest(reason: Reason) -> None:
    """One case for every reason; nothing is said that cannot come about."""
    assert judge(CASES[reason]) is reason


def test_reasons_are_looked_for_from_the_worst_standing_on() -> None:
    """So that the first that holds is the worst."""
    rank = [Standing.HALTED, Standing.STOPPED, Standing.STALLED, Standing.LAGGING]
    ranks = [rank.index(MEANINGS[reason].standing) for reason in _HOLDS]
    assert ranks == sorted(ranks)


def test_every_reason_has_a_meaning_and_what_is_bad_has_a_stage() -> None:
    """A bad verdict names the stage that holds things up."""
    assert set(MEANINGS) == set(Reason)
    assert all(
        (meaning.stage is Stage.NONE) is (meaning.standing is Standing.OK)
        for meaning in MEANINGS.values()
    )


def test_a_half_open_circuit_with_nothing_to_deliver_holds_up_nothing() -> None:
    """It stays half-open until the next needed call; with a mentor waiting it does hold up."""
    assert judge(replace(FINE, circuit=State.HALF_OPEN)) is Reason.CAUGHT_UP
    assert judge(replace(FINE, circuit=State.HALF_OPEN, retrying=1)) is Reason.CIRCUIT_OPEN


def test_a_pause_with_nothing_to_deliver_holds_up_nothing() -> None:
    """Likewise."""
    assert judge(replace(FINE, pause_s=30)) is Reason.CAUGHT_UP


def test_a_minute_is_not_late_yet() -> None:
    """Requirement R06's figure."""
    assert judge(replace(FINE, freshness_s=60, held_s=60, dirty=1)) is Reason.CAUGHT_UP


def test_all_that_holds_is_told_worst_first() -> None:
    """For people who look closer."""
    signs = replace(
        FINE, halts=frozenset({HaltReason.AUTH}), down=frozenset({KAFKA}), freshness_s=90
    )
    assert reasons(signs) == [Reason.AUTH, Reason.KAFKA_DOWN, Reason.BEHIND_UNREAD]


def test_what_only_the_database_knows_is_not_told_while_it_is_away() -> None:
    """A halt, a pause, the circuit, a letter: workers remember them, and nobody can say whether they
    still hold. Red before: HALTED, with the advice to confirm removals.
    """
    signs = replace(
        FINE,
        halts=frozenset(HaltReason),
        is_paused=True,
        circuit=State.OPEN,
        has_open_letter=True,
        down=frozenset({POSTGRESQL}),
    )
    assert reasons(signs) == [Reason.POSTGRESQL_DOWN]
    back = reasons(replace(signs, down=frozenset()))
    assert {Reason.MASS_REMOVAL, Reason.PAUSED, Reason.CIRCUIT_OPEN} < set(back)


def test_an_outage_of_kafka_or_postgresql_is_not_held_against_the_connector() -> None:
    """While it lasts the heartbeat is silent because of it; afterwards it has a minute to come
    through. Red before: 'see Kafka Connect and its log' right after Kafka was back.
    """
    silent = replace(FINE, source=SourceSigns(heartbeat_age_s=300))
    away = replace(silent, down=frozenset({KAFKA}), reachable_s=0)
    assert reasons(away) == [Reason.KAFKA_DOWN]
    assert reasons(replace(silent, reachable_s=60)) == [Reason.SOURCE_RETURNING]
    assert reasons(replace(silent, reachable_s=61)) == [Reason.SOURCE_SILENT]


STUCK = replace(FINE, is_stuck=True)


@pytest.mark.parametrize(
    "held_up",
    [
        replace(STUCK, circuit=State.OPEN),
        replace(STUCK, circuit=State.HALF_OPEN, retrying=1),
        replace(STUCK, down=frozenset({KAFKA})),
        replace(STUCK, halts=frozenset({HaltReason.AUTH})),
        replace(STUCK, is_paused=True),
        replace(STUCK, pause_s=3, calling=1),
    ],
)
def test_nothing_moves_is_said_only_where_nothing_is_down(held_up: Signs) -> None:
    """Nor within a minute of that: the same records wait a moment longer. Red before: it was said
    0.16 s after the circuit had closed.
    """
    assert Reason.NOTHING_COMMITTED not in reasons(held_up)
    assert is_held_up(held_up)
    assert not is_held_up(STUCK)
    assert judge(replace(STUCK, calm_s=59.9)) is Reason.CAUGHT_UP
    assert judge(replace(STUCK, calm_s=60)) is Reason.NOTHING_COMMITTED


def test_the_pace_is_not_blamed_while_no_call_may_start() -> None:
    """Red before: "more is due than the pace allows", beside "the circuit is open"."""
    late = CASES[Reason.BEHIND_DELIVERING]
    assert reasons(late) == [Reason.BEHIND_DELIVERING]
    assert reasons(replace(late, circuit=State.OPEN)) == [Reason.CIRCUIT_OPEN]
    assert reasons(replace(late, is_paused=True)) == [Reason.PAUSED]


def test_a_worker_stands_by_only_for_a_member_that_is_known() -> None:
    """At its start the first and only one has no partition either."""
    assert judge(replace(FINE, partitions=0)) is Reason.CATCHING_UP


def test_who_was_given_up_is_no_change_on_its_way() -> None:
    """Whatever else is behind is worse, or the same for longer."""
    open_letter = replace(FINE, has_open_letter=True)
    assert MEANINGS[judge(open_letter)].standing is Standing.LAGGING
    assert judge(replace(open_letter, wrong_s=61)) is Reason.WRONGLY_LISTED
