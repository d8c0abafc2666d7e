"""`hlf-sync top`, what it makes of the workers' pages: figures, picture, first lines, journal. No
worker, no terminal.
"""

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hlf_sync.core.fleet_verdict import MEANINGS, Reason
from hlf_sync.telemetry.metric_table import TABLE, Kind
from hlf_sync.top import paint as painting
from hlf_sync.top.exposition import grown, parse, quantile
from hlf_sync.top.headline import circuit_words, headlines, wrongly_listed
from hlf_sync.top.journal import happened
from hlf_sync.top.look import Look, Said
from hlf_sync.top.paint import paint
from hlf_sync.top.picture import AWAY, Picture
from hlf_sync.top.screen import draw
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tests.fakes.pages import OPEN, metrics, status

A, B = "http://a:8080", "http://b:8080"
NAME_A, NAME_B = "a:8080", "b:8080"


def look(
    address: str = A,
    at_s: float = 100.0,
    samples: Mapping[str, float] | None = None,
    **changed: Any,
) -> Look:
    """A worker that answers."""
    return Look(
        address, at_s, Said.model_validate(status(**changed)), parse(metrics(samples or {}))
    )


def gone(address: str = A, at_s: float = 100.0) -> Look:
    """One that does not."""
    return Look(address, at_s, trouble="refuses connections: is it running?")


def whys(picture: Picture) -> list[str]:
    """The first lines."""
    return [line.why for line in headlines(picture)]


def test_every_metric_that_is_asked_for_is_in_the_table() -> None:
    """With its suffix where it is a histogram's."""
    source = Path(painting.__file__).read_text(encoding="utf-8")
    known = {row.full_name for row in TABLE} | {
        f"{row.full_name}_bucket" for row in TABLE if row.kind is Kind.HISTOGRAM
    }
    assert set(re.findall(r'"(hlf_sync_\w+)"', source)) <= known


def test_what_workers_say_of_their_partitions_is_added_and_of_the_fleet_told_once() -> None:
    """Two workers, one of them leads."""
    picture = paint(
        [
            look(
                A,
                lag={"t-10": 3, "t-2": 4},
                queue={"dirty": 1, "in_progress": 2, "waiting": 3},
                samples={'hlf_sync_group_lag_records{topic="t"}': 9},
            ),
            look(
                B,
                lag={"t-1": 2},
                leader=False,
                freshness_s=7.5,
                halted=["auth"],
                verdict="halted",
                dead_letters_open=0,
            ),
        ]
    )
    assert list(picture.lag) == ["t-1", "t-2", "t-10"]
    assert (picture.group_lag, picture.freshness_s, picture.queue.waiting, picture.halted) == (
        9,
        7.5,
        3,
        ["auth"],
    )
    assert picture.verdict == "halted"
    assert [member.is_leader for member in picture.members] == [True, False]


def test_a_partition_that_changes_hands_is_counted_once() -> None:
    """Both name it for a moment: the larger figure."""
    assert paint([look(A, lag={"t-0": 5}), look(B, lag={"t-0": 3}, leader=False)]).lag == {"t-0": 5}


def test_paces_are_per_second_between_two_looks_and_survive_a_restart() -> None:
    """A counter that fell belongs to a worker that started anew."""
    calls = 'hlf_sync_dynamics_requests_total{operation="remove",outcome="ok"}'
    before = [look(A, 100, {calls: 10}), look(B, 100, {calls: 50})]
    now = [
        look(A, 104, {calls: 30, "hlf_sync_pace_requests_per_second": 9}),
        look(B, 104, {calls: 4, "hlf_sync_pace_requests_per_second": 9}),
    ]
    pace = paint(now, before).pace
    assert pace is not None
    assert (pace.calls, pace.allowed) == ((20 + 4) / 4, 18)


def test_without_an_earlier_look_there_is_no_pace() -> None:
    """Nor from a worker that was away then."""
    assert paint([look()]).pace is None
    assert paint([look()], [gone(at_s=99)]).pace is None


def test_stages_are_those_of_the_last_looks_and_else_of_all_time() -> None:
    """So that figures of an hour ago do not hide what happens now."""

    def page(fast: int, slow: int) -> dict[str, float]:
        name = "hlf_sync_commit_to_crm_seconds_bucket"
        return {
            f'{name}{{le="0.1"}}': fast,
            f'{name}{{le="1.0"}}': fast + slow,
            f'{name}{{le="+Inf"}}': fast + slow,
        }

    lately = paint([look(at_s=102, samples=page(100, 10))], [look(samples=page(100, 0))]).stages
    assert [(stage.name, stage.count) for stage in lately] == [("the whole way", 10)]
    assert lately[0].p50_s == pytest.approx(0.55)
    ever = paint([look(at_s=102, samples=page(100, 0))], [look(samples=page(100, 0))]).stages
    assert ever[0].count == 100
    assert ever[0].p50_s == pytest.approx(0.05)


def test_all_stages_of_the_table_are_of_one_time() -> None:
    """What nobody waited for lately has no figure beside those of the last looks."""

    def page(called: int, decided: int) -> dict[str, float]:
        name = "hlf_sync_stage_seconds_bucket"
        return {
            f'{name}{{stage="{stage}",le="{bound}"}}': count
            for stage, count in (("called", called), ("decided", decided))
            for bound in ("60.0", "+Inf")
        }

    found = paint([look(at_s=102, samples=page(9, 5))], [look(samples=page(9, 2))]).stages
    assert [(stage.name, stage.count, stage.p99_s is None) for stage in found] == [
        ("→ decided", 3, False),
        ("→ called", 0, True),
    ]


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason not in {Reason.CAUGHT_UP, Reason.STANDBY}]
)
def test_every_reason_of_a_verdict_becomes_a_first_line(reason: Reason) -> None:
    """With the words and the advice that every part uses."""
    meaning = MEANINGS[reason]
    sample = f'hlf_sync_verdict{{verdict="{meaning.standing}",stage="{meaning.stage}",reason="{reason}"}}'
    lines = headlines(
        paint(
            [
                look(
                    verdict=meaning.standing.value,
                    samples={sample: 1, 'hlf_sync_verdict{reason="caught_up"}': 0},
                )
            ]
        )
    )
    assert [line.why for line in lines] == [meaning.text]
    assert lines[0].do


@pytest.mark.parametrize(
    ("wanted", "section"),
    [
        ({"hidden": 1, "visible": 1}, "HlfSyncWronglyShown"),
        ({"visible": 1}, "HlfSyncWronglyHidden"),
        ({"unknown": 1}, "HlfSyncDeadLettersOpen"),
    ],
)
def test_who_is_missing_has_another_section_than_who_is_shown(
    wanted: Mapping[str, int], section: str
) -> None:
    """That of the alert which would fire. Red before: WronglyShown for who should be shown."""
    counts = {
        f'hlf_sync_listing_wrong_mentors{{wanted="{word}"}}': count
        for word, count in wanted.items()
    }
    verdict = 'hlf_sync_verdict{reason="wrongly_listed",stage="deliver",verdict="lagging"}'
    picture = paint([look(verdict="lagging", samples={verdict: 1, **counts})])
    assert [line.section for line in headlines(picture)] == [section]


def test_a_letter_that_is_open_is_told_once_and_no_frame_is_green_over_who_stands_wrong() -> None:
    """Beside the minute's reason; and when the leader compared is said with it."""
    letter = 'hlf_sync_verdict{reason="dead_letters_open",stage="deliver",verdict="lagging"}'
    open_letter = paint([look(verdict="lagging", dead_letters_open=1, samples={letter: 1})])
    assert [line.section for line in headlines(open_letter)] == ["HlfSyncDeadLettersOpen"]
    wrong = {
        'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 1,
        'hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}': 5,
    }
    for samples, is_green in ((wrong, False), (NOBODY_WRONG, True)):
        console = Console(width=80, record=True, file=io.StringIO(), color_system="standard")
        console.print(draw(paint([look(listing_age_s=4.0, samples=samples)]), at_ms=10_000))
        text = console.export_text(styles=True, clear=False)
        assert ("\x1b[32m┏" in text) is is_green
        flat = " ".join(console.export_text().replace("┃", " ").split())
        assert "(as of 4.0 s ago; `hlf-sync pending` looks now)" in flat


def test_a_halt_does_not_hide_what_else_is_wrong() -> None:
    """The verdict has one reason; halts, circuit and dependencies speak beside it, worst first."""
    picture = paint(
        [
            look(
                verdict="halted",
                halted=["auth"],
                circuit=OPEN,
                samples={
                    'hlf_sync_dependency_up{dependency="kafka"}': 0,
                    'hlf_sync_dependency_up{dependency="postgresql"}': 1,
                },
            )
        ]
    )
    assert picture.reasons == [Reason.AUTH, Reason.KAFKA_DOWN, Reason.CIRCUIT_OPEN]


def test_a_reason_of_a_newer_worker_is_no_error() -> None:
    """It says what it says; the verdict is shown all the same."""
    picture = paint(
        [look(verdict="sleepy", halted=["tired"], samples={'hlf_sync_verdict{reason="bored"}': 1})]
    )
    assert (picture.verdict, picture.reasons) == ("sleepy", [])


def test_a_worker_that_goes_away_is_shown_with_how_long() -> None:
    """The others go on; the fleet's verdict is theirs."""
    picture = paint([gone(A, 130), look(B, 130)], seen_at_s={A: 118.0, B: 130.0})
    assert picture.verdict == "ok"
    assert [(member.verdict, member.away_s) for member in picture.members] == [
        (AWAY, 12.0),
        ("ok", None),
    ]
    assert whys(picture) == [f"{NAME_A} refuses connections: is it running?"]


def test_without_any_worker_nothing_is_claimed() -> None:
    """Neither a lag of 0 nor 'nobody is wrong'."""
    picture = paint([gone(A), gone(B)])
    assert (picture.verdict, picture.group_lag, picture.letters.open) == (AWAY, None, None)
    assert wrongly_listed(picture) == "not known: no worker answers"
    assert [line.section for line in headlines(picture)] == ["HlfSyncNoWorker"]


def test_who_is_wrongly_listed_is_said_first() -> None:
    """By the ledger, by what waits, by dead letters where the ledger's figures are not there, and
    in shadow.
    """
    wrong = {
        'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 3,
        'hlf_sync_listing_wrong_mentors{wanted="visible"}': 0,
        'hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}': 200,
    }
    assert (
        wrongly_listed(paint([look(samples=wrong)]))
        == "3 should be hidden and may be shown, for up to 3 min"
    )
    assert wrongly_listed(paint([look()])) == "nobody is wrong, as far as we know"
    assert wrongly_listed(paint([look(dead_letters_open=1)])) == "1 mentor with an open dead letter"
    assert wrongly_listed(paint([look(lag={"t-0": 1_200})])) == "1,200 records not finished yet"
    waiting = look(
        freshness_s=83.2, queue={"dirty": 0, "in_progress": 1, "waiting": 2}, delivery="shadow"
    )
    assert (
        wrongly_listed(paint([waiting]))
        == "3 mentors waiting, a change from 83 s ago the oldest; shadow: nothing is delivered"
    )


def test_who_waits_and_is_counted_as_wrong_is_told_of_once() -> None:
    """Unless more wait than are counted: changes since the leader's look."""
    wrong = {
        'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 3,
        'hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}': 80,
    }
    counted = look(
        freshness_s=83, queue={"dirty": 0, "in_progress": 0, "waiting": 3}, samples=wrong
    )
    assert wrongly_listed(paint([counted])) == "3 should be hidden and may be shown, for up to 80 s"
    more = look(freshness_s=83, queue={"dirty": 1, "in_progress": 0, "waiting": 3}, samples=wrong)
    assert "; 4 mentors waiting" in wrongly_listed(paint([more]))


NOBODY_WRONG = {'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 0}


def test_what_the_leader_cannot_compare_is_not_known_and_never_nobody() -> None:
    """PostgreSQL is away: since when, and how many changes wait unread; at its start: not yet; and
    a fleet of which only a follower answers does not know either.
    """
    away = look(
        leader=False,
        dependencies_down=["PostgreSQL"],
        dependencies_down_s={"PostgreSQL": 130.0},
        verdict="stalled",
        lag={"t-0": 42},
    )
    assert wrongly_listed(paint([away])) == (
        "not known since 2 min ago: PostgreSQL does not answer; 42 changes unread"
    )
    assert wrongly_listed(paint([look(listing_age_s=None)])).startswith("not known yet")
    assert wrongly_listed(paint([look(leader=False)])) == "not known: no worker that answers leads"
    assert (
        wrongly_listed(paint([look(listing_age_s=3.0, samples=NOBODY_WRONG)]))
        == "nobody is wrong, as far as we know"
    )


@pytest.mark.parametrize("reason", ["connector_paused", "slot_lost", "registry_down"])
def test_while_no_change_comes_through_it_says_so(reason: str) -> None:
    meaning = MEANINGS[Reason(reason)]
    verdict = f'hlf_sync_verdict{{reason="{reason}",stage="{meaning.stage}",verdict="stopped"}}'
    lag = {'hlf_sync_group_lag_records{topic="t"}': 7}
    cut = look(listing_age_s=3.0, verdict="stopped", samples={verdict: 1, **NOBODY_WRONG, **lag})
    assert (
        wrongly_listed(paint([cut]))
        == "none by the database; no change comes through; 7 changes unread"
    )


def test_while_no_broker_answers_a_lag_is_not_claimed() -> None:
    """Nor that all is fresh: what came into Kafka since, nobody knows."""
    cut_page = {'hlf_sync_dependency_up{dependency="kafka"}': 0}
    picture = paint([look(lag={"t-0": 3}, dependencies_down=["Kafka"], samples=cut_page)])
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(draw(picture, at_ms=0))
    text = console.export_text()
    assert "lag not known; 3 records when Kafka last answered" in " ".join(text.split())
    assert "0.0 s of what was read" in text


@pytest.mark.requirement("R60")
def test_what_postgresql_told_before_it_went_away_is_not_told_as_if_it_were_so_now() -> None:
    """A halt, an open circuit, an open letter: each as one worker remembers it. Red before: HALTED,
    and what to do was to confirm removals. A worker that still reaches it knows better.
    """
    verdict = 'hlf_sync_verdict{reason="postgresql_down",stage="decide",verdict="stalled"}'
    blind = look(
        verdict="stalled",
        halted=["mass_removal"],
        circuit=OPEN,
        dead_letters_open=2,
        dependencies_down=["PostgreSQL"],
        dependencies_down_s={"PostgreSQL": 40.0},
        samples={verdict: 1},
    )
    picture = paint([blind])
    assert picture.reasons == [Reason.POSTGRESQL_DOWN]
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(draw(picture, at_ms=0))
    text = " ".join(console.export_text().replace("┃", " ").split())
    assert "not known since 40 s ago: PostgreSQL does not answer" in text
    assert "open (server_error), when PostgreSQL last answered" in text
    assert "confirm-removals" not in text
    sees = look(B, leader=False, halted=["auth"])
    both = paint([blind, sees])
    assert (both.halted, both.blind_s) == (["auth"], None)
    assert both.reasons == [Reason.AUTH, Reason.POSTGRESQL_DOWN]
    assert both.circuit is not None
    assert both.circuit.state == "closed"


def test_held_removals_are_wrongly_listed_and_said_as_held() -> None:
    """The leader's look is three seconds old."""
    wrong = {
        'hlf_sync_listing_wrong_mentors{wanted="hidden"}': 60,
        'hlf_sync_listing_wrong_oldest_seconds{wanted="hidden"}': 90,
        "hlf_sync_held_removals": 56,
    }
    assert wrongly_listed(paint([look(listing_age_s=3.0, samples=wrong)])) == (
        "60 should be hidden and may be shown (56 held back until somebody confirms), for up to 93 s"
    )


def test_an_open_circuit_says_since_when_until_when_and_what_comes_then() -> None:
    said = look(circuit={**OPEN, "open_s": 409.0, "next_probe_s": 21.4}).said
    assert said is not None
    assert circuit_words(said.circuit, 360, 18.0) == (
        "open for 6 min (server_error); next probe in 21 s; then 20 s for 360 mentors"
    )
    assert circuit_words(paint([look()]).circuit, 0, 18.0) == "closed"  # type: ignore[arg-type]


def test_the_journal_tells_what_changed_worst_first() -> None:
    """Workers, circuit, halts, dependencies, errors, letters."""
    failed = 'hlf_sync_dynamics_requests_total{operation="remove",outcome="server_error"}'
    letters = 'hlf_sync_dead_letters_total{kind="exhausted"}'
    before = paint([look(A, samples={failed: 1, letters: 0}), look(B, leader=False)])
    after = paint(
        [
            look(
                A,
                samples={failed: 4, letters: 1},
                circuit=OPEN,
                halted=["auth"],
                verdict="halted",
                dependencies_down=["Kafka"],
            ),
            gone(B),
        ]
    )
    texts = [(event.level, event.text) for event in happened(before, after, 5)]
    assert texts == [
        ("act", "halted: Dynamics or Entra refuses our credentials"),
        ("act", "Kafka does not answer"),
        ("act", f"{NAME_B} refuses connections: is it running?"),
        ("act", f"{NAME_A}: ok → halted"),
        ("act", "1 dead letter: exhausted"),
        ("watch", "circuit closed → open (server_error)"),
        ("watch", "server_error: 3 calls"),
    ]
    back = [event.text for event in happened(after, before, 6)]
    assert back == [
        "circuit open → closed",
        "halt lifted: Dynamics or Entra refuses our credentials",
        "Kafka answers again",
        f"{NAME_B} answers again",
        f"{NAME_A}: halted → ok",
    ]


def test_workers_that_say_the_same_are_one_line_of_news() -> None:
    """All of them meet the open circuit at once."""
    before = paint([look(A), look(B, leader=False)])
    after = paint([look(A, verdict="stalled"), look(B, verdict="stalled", leader=False)])
    assert [event.text for event in happened(before, after, 5)] == ["2 workers: ok → stalled"]


def test_when_everybody_goes_away_no_halt_is_said_to_be_lifted() -> None:
    """Nobody said so."""
    before = paint([look(halted=["auth"], verdict="halted", dependencies_down=["Kafka"])])
    assert [event.text for event in happened(before, paint([gone()]), 5)] == [
        f"{NAME_A} refuses connections: is it running?"
    ]


def test_a_leader_that_changes_is_news() -> None:
    """Figures of the whole fleet come from it."""
    before, after = paint([look(A), look(B, leader=False)]), paint([look(A, leader=False), look(B)])
    assert [event.text for event in happened(before, after, 5)] == [f"{NAME_B} leads now"]


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(0.01, 1))
def test_a_quantile_lies_within_the_buckets_that_have_something(
    counts: list[int], part: float
) -> None:
    """As Prometheus estimates it; None when nothing was observed."""
    bounds = [*(2.0**number for number in range(len(counts) - 1)), math.inf]
    total, buckets = 0, {}
    for bound, count in zip(bounds, counts, strict=True):
        total += count
        buckets[bound] = float(total)
    found = quantile(buckets, part)
    if total == 0:
        assert found is None
    else:
        assert found is not None
        assert 0 <= found <= max([bound for bound in bounds if bound < math.inf], default=0)


def test_counts_of_a_worker_that_started_anew_are_all_new() -> None:
    """A bucket that fell."""
    assert grown({1.0: 5, 2.0: 6}, {1.0: 4, 2.0: 4}) == {1.0: 1, 2.0: 2}
    assert grown({1.0: 1, 2.0: 9}, {1.0: 4, 2.0: 4}) == {1.0: 1, 2.0: 9}
