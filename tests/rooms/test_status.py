"""What a worker says of itself: lag and freshness, alive and ready, and a page that is exactly the
metrics' table.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from queue import Queue

import httpx
import pytest
from hlf_sync.core.breaker import Circuit, State
from hlf_sync.core.lag import Extent
from hlf_sync.core.model import Change, HaltReason, MentorId, Operation, Position, Trigger
from hlf_sync.core.outcome import NO_CALL
from hlf_sync.errors import DependencyError, SettingsError
from hlf_sync.ports import Fleet
from hlf_sync.postgres.connections import open_pool
from hlf_sync.telemetry.metric_table import TABLE, By, Kind
from hlf_sync.telemetry.metrics import Distribution
from hlf_sync.watch.fleet_watch import Sight, WrongMentors
from hlf_sync.watch.status_server import serve
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes.overseen import TOPIC, Overseen
from tests.fakes.worker import Options, ScriptedDynamics, TestBench
from tests.fixtures.log_lines import LogLines, captured

FLEET = Fleet(Circuit(), frozenset(), 1_700_000_000.0)


@pytest.fixture
async def overseen() -> Overseen:
    """A worker that owns four partitions, with the fleet's state read once."""
    found = Overseen(TestBench(open_pool("", size=1), ScriptedDynamics(), Options()))
    found.bench.worker.assigned([0, 1, 2, 3])
    found.stages.gate._take(FLEET)
    return found


@pytest.fixture
def said() -> Iterator[LogLines]:
    """Logging into memory."""
    yield from captured()


def lag_of(page: dict[str, float]) -> dict[int, float]:
    """The page's lag by partition."""
    lags = {
        partition: page.get(
            f'hlf_sync_consumer_lag_records{{partition="{partition}",topic="{TOPIC}"}}'
        )
        for partition in range(4)
    }
    return {partition: lag for partition, lag in lags.items() if lag is not None}


@pytest.mark.requirement("R60")
async def test_lag_is_told_before_the_first_record_and_not_after_a_revocation(
    overseen: Overseen,
) -> None:
    """By the owner only, from the moment it owns, whatever is read or paused."""
    overseen.lag.found = {0: Extent(5, 12), 1: Extent(0, 0), 2: Extent(3, 3), 3: Extent(0, 100)}
    overseen.thread.paused_count = 4
    await overseen.measure()
    assert lag_of(overseen.page()) == {0: 7, 1: 0, 2: 0, 3: 100}
    overseen.stages.assignment.revoke([0, 3])
    assert lag_of(overseen.page()) == {1: 0, 2: 0}


async def test_lag_is_measured_at_once_when_the_assignment_changes(overseen: Overseen) -> None:
    """And every second; a broker that does not answer is told, and the figures show their age."""
    overseen.stages.assignment.revoke([2, 3])
    overseen.lag.found = {2: Extent(0, 9)}
    task = asyncio.create_task(overseen.monitor.run())
    try:
        async with asyncio.timeout(5):
            while not lag_of(overseen.page()):
                await asyncio.sleep(0.01)
            overseen.stages.assignment.assign([2])
            before_s = asyncio.get_running_loop().time()
            while 2 not in lag_of(overseen.page()):
                await asyncio.sleep(0.01)
            assert asyncio.get_running_loop().time() - before_s < 0.6
            overseen.lag.error = DependencyError("Kafka", "_TRANSPORT")
            while "Kafka" not in overseen.stages.dependencies.down:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    page = overseen.page()
    assert page['hlf_sync_dependency_up{dependency="kafka"}'] == 0
    assert page['hlf_sync_measured_age_seconds{what="lag"}'] > 0
    assert page['hlf_sync_verdict{reason="kafka_down",stage="consume",verdict="stalled"}'] == 1


async def test_freshness_rises_for_what_nobody_has_read_yet(overseen: Overseen) -> None:
    """A worker that cannot read is not fresh because it holds nothing."""
    await overseen.measure()
    assert overseen.page()["hlf_sync_freshness_seconds"] == 0
    overseen.monitor.history.note({0: Extent(0, 3)}, asyncio.get_running_loop().time() - 90)
    assert 90 <= overseen.page()["hlf_sync_freshness_seconds"] < 95
    assert overseen.status.snapshot()["reason"] == "behind_unread"


async def test_freshness_is_the_age_of_the_oldest_change_held(overseen: Overseen) -> None:
    """By its commit, whichever came first; 0 when it has its outcome."""
    now_ms = int(overseen.stages.gate.database_now_s * 1000)
    for offset, age_s in enumerate((30, 700, 10)):
        change = Change(
            MentorId(f"m{offset}"),
            Trigger.STATUS_CHANGE,
            Position(0, offset, 1),
            now_ms - age_s * 1000,
        )
        overseen.stages.assignment.receive(change.position)
        overseen.stages.queue.add(change, 0)
    assert 700 <= overseen.page()["hlf_sync_freshness_seconds"] < 705
    assert overseen.status.snapshot()["freshness_s"] >= 700
    for entry in overseen.stages.queue.take(3, 1):
        entry.conclusion = NO_CALL
        overseen.stages.completion.after(entry)
    assert overseen.page()["hlf_sync_freshness_seconds"] == 0


async def test_freshness_goes_by_the_clock_that_commits_go_by(overseen: Overseen) -> None:
    """PostgreSQL's: a worker whose own clock is wrong wakes nobody up."""
    overseen.stages.gate._take(Fleet(Circuit(), frozenset(), 1_000_000.0))
    change = Change(MentorId("m"), Trigger.STATUS_CHANGE, Position(0, 0, 1), 1_000_000_000 - 5_000)
    overseen.stages.assignment.receive(change.position)
    overseen.stages.queue.add(change, 0)
    assert 5 <= overseen.page()["hlf_sync_freshness_seconds"] < 6
    assert overseen.page()["hlf_sync_clock_skew_seconds"] > 1_000_000_000


async def test_ready_is_who_owns_partitions_and_has_read_what_was_there(overseen: Overseen) -> None:
    """Once: a later backlog makes nobody unready."""
    overseen.lag.found = {
        partition: Extent(0, 2 if partition == 1 else 0) for partition in range(4)
    }
    await overseen.measure()
    assert overseen.status.missing() == ["not caught up since the start"]
    for offset in range(2):
        overseen.stages.assignment.receive(Position(1, offset, 1))
    assert overseen.status.missing() == []
    overseen.lag.found[2] = Extent(0, 50_000)
    await overseen.measure()
    assert overseen.status.missing() == []
    overseen.stages.assignment.revoke(range(4))
    assert overseen.status.missing() == ["no partition assigned"]


@pytest.mark.parametrize(
    ("fleet", "missing"),
    [
        (replace(FLEET, halts=frozenset({HaltReason.AUTH})), ["halted: auth"]),
        (
            replace(FLEET, halts=frozenset({HaltReason.DEAD_LETTER_LIMIT})),
            ["halted: dead_letter_limit"],
        ),
        (replace(FLEET, halts=frozenset({HaltReason.MASS_REMOVAL})), []),
        (replace(FLEET, circuit=Circuit(State.OPEN, opened_at_s=1.0)), []),
    ],
)
async def test_halts_of_all_calls_make_unready_and_an_outage_of_dynamics_does_not(
    overseen: Overseen, fleet: Fleet, missing: list[str]
) -> None:
    """The mass change guard stops removals only; polling goes on in any case."""
    await overseen.measure()
    overseen.stages.gate._take(fleet)
    assert overseen.status.missing() == missing


async def test_a_dependency_that_is_away_is_named(overseen: Overseen) -> None:
    """By /readyz, and by the verdict with the stage it holds up."""
    await overseen.measure()
    overseen.stages.dependencies.failed("schema registry", "ConnectError", 0)
    assert overseen.status.missing() == [
        "schema registry does not answer (connection refused, or no such host)"
    ]
    assert [overseen.status.snapshot()[key] for key in ("verdict", "reason", "stage")] == [
        "stalled",
        "registry_down",
        "decode",
    ]


async def test_nothing_moves_is_not_said_while_what_was_down_has_just_come_back(
    overseen: Overseen,
) -> None:
    """The circuit closed five seconds ago, Kafka answers again: a minute of its own."""
    loop = asyncio.get_running_loop()
    history = overseen.monitor.history
    history.note({0: Extent(0, 3)}, loop.time() - 61)
    history.note({0: Extent(0, 3)}, loop.time())
    assert overseen.status.snapshot()["reason"] == "nothing_committed"
    closed = Circuit(closed_at_s=FLEET.now_s - 5)
    overseen.stages.gate._take(replace(FLEET, circuit=closed))
    assert overseen.status.snapshot()["reason"] != "nothing_committed"
    overseen.stages.gate._take(replace(FLEET, circuit=replace(closed, closed_at_s=0.0)))
    assert overseen.status.snapshot()["reason"] == "nothing_committed"
    overseen.stages.dependencies.failed("Kafka", "_TRANSPORT", 0)
    assert overseen.status.snapshot()["reason"] == "kafka_down"
    overseen.stages.dependencies.answered("Kafka", loop.time())
    assert overseen.status.snapshot()["reason"] != "nothing_committed"


async def test_the_first_worker_does_not_stand_by_for_another(overseen: Overseen) -> None:
    """It has no partition yet, and nobody else has one. Red before: "another member of the group
    does".
    """
    overseen.stages.assignment.revoke([0, 1, 2, 3])
    assert overseen.status.snapshot()["reason"] == "catching_up"
    overseen.group.count = 0
    await overseen.standby.look()
    assert overseen.status.snapshot()["reason"] == "catching_up"
    overseen.group.count = 12
    await overseen.standby.look()
    assert overseen.status.snapshot()["reason"] == "standby"


@pytest.mark.parametrize("is_leader", [True, False])
async def test_no_worker_is_ok_while_a_mentor_is_given_up(
    overseen: Overseen, *, is_leader: bool
) -> None:
    """From the first second on, whoever leads."""
    await overseen.measure()
    overseen.scheduler.is_leader = is_leader
    overseen.stages.gate._take(replace(FLEET, has_open_letter=True))
    found = overseen.status.snapshot()
    assert (found["verdict"], found["reason"]) == ("lagging", "dead_letters_open")


async def test_the_verdict_and_the_page_count_wrong_from_the_same_moment(
    overseen: Overseen,
) -> None:
    """55 s at a look nine seconds ago is more than a minute now. Red before: `top` told 64 s, and
    OK.
    """
    now_s = asyncio.get_running_loop().time()
    await overseen.measure()
    overseen.watch.sight = Sight(
        wrong={"hidden": WrongMentors(1, 55.0)}, last_seen_at_s={"ledger": now_s - 9}
    )
    found = overseen.status.snapshot()
    assert (found["reason"], found["listing_age_s"]) == ("wrongly_listed", 9.0)


async def test_each_change_of_the_verdict_is_said_once(overseen: Overseen, said: LogLines) -> None:
    """With the stage that holds things up."""
    await overseen.measure()
    task = asyncio.create_task(overseen.status.watch_verdict())
    try:
        async with asyncio.timeout(10):
            while not said.of("verdict"):
                await asyncio.sleep(0.01)
            overseen.stages.dependencies.failed("Kafka", "_TRANSPORT", 0)
            while len(said.of("verdict")) < 2:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
    assert [
        (line["level"], line["verdict"], line["reason"], line["stage"])
        for line in said.of("verdict")
    ] == [
        ("info", "ok", "caught_up", "none"),
        ("warning", "stalled", "kafka_down", "consume"),
    ]


async def test_the_endpoint_answers_and_livez_fails_when_the_thread_is_stuck(
    overseen: Overseen,
) -> None:
    """Four pages; a stuck or ended consumer thread is no longer alive."""
    await overseen.measure()
    runner = await serve(overseen.status, overseen.scrape, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answers = {
                path: await client.get(url + path)
                for path in ("/livez", "/readyz", "/status", "/metrics")
            }
            overseen.thread.last_turn_s -= 61
            stuck = await client.get(url + "/livez")
            overseen.thread.last_turn_s += 61
            overseen.thread.is_alive = False
            ended = await client.get(url + "/livez")
            overseen.stages.dependencies.failed("PostgreSQL", "PoolTimeout", 0)
            unready = await client.get(url + "/readyz")
    finally:
        await runner.cleanup()
    assert {path: answer.status_code for path, answer in answers.items()} == dict.fromkeys(
        answers, 200
    )
    assert answers["/metrics"].headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (stuck.status_code, ended.status_code) == (503, 503)
    assert (unready.status_code, unready.text) == (
        503,
        "PostgreSQL does not answer (no connection in time)\n",
    )
    said = json.loads(answers["/status"].text)
    assert (said["verdict"], said["assignment"], said["lag"]) == (
        "ok",
        [0, 1, 2, 3],
        {f"{TOPIC}-{number}": 0 for number in range(4)},
    )


def test_livez_fails_when_the_loop_is_stuck() -> None:
    """It answers nobody then: the probe's own time-out is the verdict."""
    addresses: Queue[str] = Queue()
    is_stuck, is_blocked, is_over = threading.Event(), threading.Event(), threading.Event()

    async def work() -> None:
        overseen = Overseen(TestBench(open_pool("", size=1), ScriptedDynamics(), Options()))
        runner = await serve(overseen.status, overseen.scrape, "127.0.0.1", 0)
        addresses.put(f"http://127.0.0.1:{runner.addresses[0][1]}/livez")
        while not is_stuck.is_set():
            await asyncio.sleep(0.01)
        is_blocked.set()
        is_over.wait(30)  # a call that blocks
        await runner.cleanup()

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    try:
        url = addresses.get(timeout=10)
        assert httpx.get(url, trust_env=False, timeout=10).status_code == 200
        is_stuck.set()
        assert is_blocked.wait(10)
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(url, trust_env=False, timeout=0.5)
    finally:
        is_stuck.set()
        is_over.set()
        thread.join(10)


async def test_the_page_shows_what_the_table_lists_with_every_label_value_from_the_start(
    overseen: Overseen,
) -> None:
    """And nothing else; no label is a mentor's id."""
    families = {
        family.name: family
        for family in text_string_to_metric_families(overseen.scrape.page().decode())
    }
    assert {metric.full_name.removesuffix("_total") for metric in TABLE} == set(families)
    for metric in TABLE:
        family = families[metric.full_name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.meaning)
        found = {tuple(sample.labels[name] for name in metric.labels) for sample in family.samples}
        if (
            metric.by is By.WORKER
            and None not in metric.labels.values()
            and metric.name != "measured_age_seconds"
        ):
            assert found == set(metric.combinations()), metric.name
    assert "mentor_id" not in overseen.scrape.page().decode()


async def test_what_only_the_leader_knows_is_absent_at_the_others(overseen: Overseen) -> None:
    """So that sum and max over the workers are both right."""
    overseen.lag.found = {partition: Extent(0, 5) for partition in range(4)}
    overseen.scheduler.open_letters = 3
    await overseen.measure()
    leading = overseen.page()
    overseen.scheduler.is_leader = False
    await overseen.measure()
    following = overseen.page()
    assert (
        leading[f'hlf_sync_group_lag_records{{topic="{TOPIC}"}}'],
        leading["hlf_sync_dead_letters_open"],
    ) == (20, 3)
    only = {metric.full_name for metric in TABLE if metric.by is By.LEADER}
    assert [name for name in following if name.partition("{")[0] in only] == []
    assert (leading["hlf_sync_leader"], following["hlf_sync_leader"]) == (1, 0)
    assert overseen.status.snapshot()["group_lag"] is None


async def test_what_the_pipeline_counts_is_on_the_page(overseen: Overseen) -> None:
    """Each of the meter's words."""
    meter = overseen.metrics
    meter.changes("collapsed", 9)
    meter.evaluated(4)
    meter.called(Operation.REMOVE, "server_error", 0.2)
    meter.reflected(overseen.status.now_ms() - 1500)
    meter.taken_in(overseen.status.now_ms() - 50, overseen.status.now_ms() - 20)
    meter.staged("called", 0.03)
    for count in (meter.lost_lease, meter.paused, meter.unseen_for_ever):
        count()
    meter.swept("truncated")
    meter.rebalanced("lost")
    page = overseen.page()
    assert page['hlf_sync_changes_total{outcome="collapsed"}'] == 9
    assert page["hlf_sync_evaluations_total"] == 4
    assert page['hlf_sync_dynamics_requests_total{operation="remove",outcome="server_error"}'] == 1
    assert (
        page['hlf_sync_dynamics_request_seconds_bucket{le="0.25"}']
        - page['hlf_sync_dynamics_request_seconds_bucket{le="0.1"}']
        == 1
    )
    assert (
        page['hlf_sync_commit_to_crm_seconds_bucket{le="2.5"}']
        - page['hlf_sync_commit_to_crm_seconds_bucket{le="1"}']
        == 1
    )
    assert [
        page[f'hlf_sync_stage_seconds_count{{stage="{stage}"}}']
        for stage in ("kafka", "decoded", "decided", "called", "recorded")
    ] == [
        1,
        1,
        0,
        1,
        0,
    ]
    assert (
        page["hlf_sync_leases_lost_total"]
        == page["hlf_sync_pauses_total"]
        == page["hlf_sync_transactions_unknown_total"]
        == 1
    )
    assert (
        page['hlf_sync_sweeps_total{reason="truncated"}']
        == page['hlf_sync_rebalances_total{kind="lost"}']
        == 1
    )


async def test_circuit_halts_pace_and_token_are_on_the_page(overseen: Overseen) -> None:
    """As the fleet's state says."""
    overseen.stages.gate._take(
        replace(
            FLEET,
            circuit=Circuit(State.OPEN, 3, 1_699_999_990.0, "server_error"),
            halts=frozenset({HaltReason.AUTH}),
        )
    )
    page = overseen.page()
    assert [
        page[f'hlf_sync_circuit_state{{state="{state}"}}']
        for state in ("closed", "open", "half_open")
    ] == [0, 1, 0]
    assert (
        page["hlf_sync_circuit_opened_timestamp_seconds"],
        page["hlf_sync_circuit_failures"],
    ) == (1_699_999_990, 3)
    assert [
        page[f'hlf_sync_halted{{reason="{reason}"}}']
        for reason in ("auth", "dead_letter_limit", "mass_removal")
    ] == [1, 0, 0]
    assert page["hlf_sync_token_expires_seconds"] == 3000
    assert page["hlf_sync_ready"] == 0


def test_a_value_on_a_buckets_bound_belongs_to_it_and_one_below_nothing_is_nothing() -> None:
    """`le` is inclusive; clocks of two machines may make a span negative."""
    kept = Distribution((1.0, 2.0))
    for value in (-5.0, 1.0, 1.5, 2.0, 9.0):
        kept.observe(value)
    assert kept.cumulative() == [("1", 2), ("2", 4), ("+Inf", 5)]
    assert kept.total == 13.5


def test_counters_and_histograms_are_named_as_prometheus_wants_them() -> None:
    """`_total` for counters and for nothing else; buckets for histograms and for nothing else,
    ascending.
    """
    assert [
        m.name for m in TABLE if m.name.endswith("_total") is not (m.kind is Kind.COUNTER)
    ] == []
    assert [m.name for m in TABLE if bool(m.buckets) is not (m.kind is Kind.HISTOGRAM)] == []
    assert [m.name for m in TABLE if list(m.buckets) != sorted(set(m.buckets))] == []
    assert len({m.name for m in TABLE}) == len(TABLE)


async def test_a_port_that_is_taken_is_said_by_its_setting(overseen: Overseen) -> None:
    """Two workers on one machine: one line, and no address left half open."""
    first = await serve(overseen.status, overseen.scrape, "127.0.0.1", 0)
    port = first.addresses[0][1]
    try:
        with pytest.raises(
            SettingsError,
            match=(
                rf"^HLF_SYNC_HTTP_PORT: cannot listen on 127\.0\.0\.1 port {port} \(in use"
                r" already\); take another"
            ),
        ):
            await serve(overseen.status, overseen.scrape, "127.0.0.1", port)
    finally:
        await first.cleanup()


@pytest.mark.requirement("R68")
async def test_a_second_worker_takes_the_next_free_port_and_says_so(
    overseen: Overseen, said: LogLines
) -> None:
    """Where nobody asked for that very port. Three workers, three ports, each answering."""
    runners = [await serve(overseen.status, overseen.scrape, "127.0.0.1", 0)]
    port = runners[0].addresses[0][1]
    try:
        runners += [
            await serve(overseen.status, overseen.scrape, "127.0.0.1", port, may_move=True)
            for _ in range(2)
        ]
        ports = [runner.addresses[0][1] for runner in runners]
        assert len(set(ports)) == 3 and all(port <= one <= port + 20 for one in ports)
        async with httpx.AsyncClient(trust_env=False) as client:
            for one in ports:
                answer = await client.get(f"http://127.0.0.1:{one}/livez")
                assert answer.status_code == 200
    finally:
        for runner in runners:
            await runner.cleanup()
    told = said.wait(2)
    assert [line["event"] for line in told] == ["port_taken", "port_taken"]
    assert f"port {port} is taken" in str(told[0]["detail"])
    assert [line["port"] for line in told] == ports[1:]
