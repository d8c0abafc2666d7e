"""What the leader sees of ledger, listing, slot, connector and heartbeat, on a real PostgreSQL;
Kafka and Connect are plain values.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import psycopg
import pytest
from hlf_sync.core.breaker import BreakerPolicy
from hlf_sync.core.decide import Rules
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.fleet_state import FleetTable
from hlf_sync.watch.fleet_watch import SLOT, FleetWatch, Sight

from tests.fakes.overseen import Overseen, PlainTopic
from tests.fakes.worker import Options, ScriptedDynamics, TestBench
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

MENTOR = "6f1a1f3c-0000-4000-8000-00000000000{}"
RUNNING = {"connector": {"state": "RUNNING"}, "tasks": [{"state": "RUNNING"}]}


class Seen:
    """A watch on a database of its own; `connect` is what Kafka Connect answers, or raises."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn = dsn
        self.topic = PlainTopic()
        self.connect: Mapping[str, Any] | Exception | None = RUNNING
        self.registry: Exception | None = None
        self.watch = FleetWatch(
            pool=pool,
            rules=Rules(),
            heartbeats=self.topic,
            replayed=self.topic,
            connector_status=self._status,
            registry=self._registry,
            leads=lambda: True,
            now_ms=lambda: 1_700_000_004_000,
        )
        self.overseen = Overseen(TestBench(pool, ScriptedDynamics(), Options()), self.watch)

    def _status(self) -> Mapping[str, Any] | None:
        if isinstance(self.connect, Exception):
            raise self.connect
        return self.connect

    async def _registry(self) -> None:
        if self.registry is not None:
            raise self.registry

    def sql(self, statement: str) -> None:
        """As the administrator."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(statement)

    async def look(self) -> dict[str, float]:
        """One look at everything; the page after it."""
        await self.watch._look_at_source()
        await self.watch._look_at_books()
        return self.overseen.page()

    def verdict(self) -> str:
        """The reason that rules."""
        return str(self.overseen.status.snapshot()["reason"])


@pytest.fixture
async def seen(cluster: Cluster, database: str) -> AsyncIterator[Seen]:
    """A fresh one."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=2)
    await pool.open()
    found = Seen(cluster.dsn(database), pool)
    found.sql("UPDATE hlf_sync.dbz_heartbeat SET ts = now()")
    yield found
    await pool.close()


@pytest.fixture
def slot(cluster: Cluster) -> Iterator[None]:
    """A slot with the connector's name; the kind does not matter here."""
    with psycopg.connect(cluster.dsn("postgres"), autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, true)", (SLOT,))
        yield
        connection.execute("SELECT pg_drop_replication_slot(%s)", (SLOT,))


@pytest.mark.requirement("R60")
async def test_a_missing_slot_is_seen_though_the_lag_is_nothing(seen: Seen) -> None:
    """Its sizes are absent, not 0; the verdict says where it stops."""
    page = await seen.look()
    assert page['hlf_sync_slot_wal_status{status="missing"}'] == 1
    assert [
        name
        for name in page
        if name.startswith(
            ("hlf_sync_slot_lag", "hlf_sync_slot_retained", "hlf_sync_slot_inactive")
        )
    ] == []
    assert seen.verdict() == "slot_lost"


@pytest.mark.usefixtures("slot")
async def test_a_slot_that_nobody_reads_is_inactive_and_holds_back_log(seen: Seen) -> None:
    """As PostgreSQL says it."""
    page = await seen.look()
    assert page['hlf_sync_slot_wal_status{status="reserved"}'] == 1
    assert page["hlf_sync_slot_retained_bytes"] >= 0
    assert page["hlf_sync_slot_inactive_seconds"] >= 0


@pytest.mark.usefixtures("slot")
@pytest.mark.parametrize(
    ("answer", "states", "reason"),
    [
        (RUNNING, {"connector": "running", "task": "running"}, "caught_up"),
        (
            {**RUNNING, "tasks": [{"state": "FAILED"}]},
            {"connector": "running", "task": "failed"},
            "connector_failed",
        ),
        (
            {"connector": {"state": "PAUSED"}, "tasks": []},
            {"connector": "paused"},
            "connector_paused",
        ),
        (None, {"connector": "missing", "task": "missing"}, "connector_failed"),
        (
            DependencyError("Kafka Connect", "ConnectError"),
            {"connector": "unknown", "task": "unknown"},
            "caught_up",
        ),
    ],
)
async def test_connector_and_task_are_told_by_their_states(
    seen: Seen, answer: Mapping[str, Any] | Exception | None, states: dict[str, str], reason: str
) -> None:
    """A failed one stops the source; a Connect that does not answer is unknown, and the heartbeat
    tells.
    """
    seen.connect = answer
    seen.overseen.bench.worker.assigned([0])
    await seen.overseen.measure()
    page = await seen.look()
    shown = {
        name: value
        for name, value in page.items()
        if name.startswith("hlf_sync_connector_state") and value
    }
    assert shown == {
        f'hlf_sync_connector_state{{part="{part}",state="{state}"}}': 1
        for part, state in states.items()
    }
    assert page['hlf_sync_dependency_up{dependency="kafka_connect"}'] == (
        0 if isinstance(answer, Exception) else 1
    )
    assert seen.verdict() == reason


@pytest.mark.requirement("R60")
async def test_a_registry_that_is_down_is_seen_though_nobody_needs_it(seen: Seen) -> None:
    """By the leader's asking; it stalls nothing, and makes nobody unready."""
    seen.overseen.bench.worker.assigned([0])
    await seen.overseen.measure()
    seen.registry = DependencyError("schema registry", "ConnectError")
    assert (await seen.look())['hlf_sync_dependency_up{dependency="schema_registry"}'] == 0
    assert "schema registry" not in " ".join(seen.overseen.status.missing())
    assert seen.overseen.status.snapshot()["dependencies_down"] == []
    seen.registry = None
    assert (await seen.look())['hlf_sync_dependency_up{dependency="schema_registry"}'] == 1


@pytest.mark.usefixtures("slot")
async def test_a_heartbeat_that_no_longer_comes_out_at_kafka_stalls_the_source(seen: Seen) -> None:
    """Though the connector is said to run and the lag is 0; an absent heartbeat topic says
    nothing.
    """
    seen.overseen.bench.worker.assigned([0])
    await seen.overseen.measure()
    page = await seen.look()
    assert page['hlf_sync_heartbeat_age_seconds{end="kafka"}'] == 4
    assert page['hlf_sync_heartbeat_age_seconds{end="database"}'] >= 0
    assert seen.verdict() == "caught_up"
    seen.topic.newest = 1_700_000_004_000 - 61_000
    await seen.look()
    assert seen.verdict() == "source_silent"
    seen.topic.newest = None
    assert 'hlf_sync_heartbeat_age_seconds{end="kafka"}' not in await seen.look()


async def test_ledger_leases_letters_and_held_removals_are_counted(seen: Seen) -> None:
    """By state, by what Dynamics shows, and which claims ended without a word."""
    seen.sql(
        f"""INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, intended, state, lease_owner, lease_until, updated_at) VALUES
            ('{MENTOR.format(1)}', 'visible', NULL, 'in_sync', NULL, NULL, now()),
            ('{MENTOR.format(2)}', 'hidden', NULL, 'out_of_scope', NULL, NULL, now()),
            ('{MENTOR.format(3)}', NULL, 'hidden', 'in_doubt', 'w', now() + interval '1 min', now()),
            ('{MENTOR.format(4)}', 'visible', 'hidden', 'in_doubt', 'w', now() - interval '1 min', now())"""
    )
    seen.sql(
        f"""INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count, dead_letter_id, resolved_at) VALUES
            ('{MENTOR.format(1)}', 'rejected', 1, 'a', now()), ('{MENTOR.format(1)}', 'rejected', 1, 'b', NULL)"""
    )
    seen.sql(f"INSERT INTO hlf_sync.held_removal (mentor_id) VALUES ('{MENTOR.format(1)}')")
    page = await seen.look()
    shown = {
        state: page[f'hlf_sync_ledger_mentors{{state="{state}"}}']
        for state in ("in_sync", "pending", "in_doubt", "dead_lettered", "out_of_scope")
    }
    assert shown == {
        "in_sync": 1,
        "pending": 0,
        "in_doubt": 2,
        "dead_lettered": 0,
        "out_of_scope": 1,
    }
    assert [
        page[f'hlf_sync_ledger_applied_mentors{{applied="{word}"}}']
        for word in ("visible", "hidden", "unknown")
    ] == [2, 1, 1]
    assert [page[f'hlf_sync_leases{{state="{state}"}}'] for state in ("held", "expired")] == [1, 1]
    assert (page["hlf_sync_dead_letters_superseded"], page["hlf_sync_held_removals"]) == (1, 1)
    assert page['hlf_sync_replay_lag_records{topic="hlf.mentor.dead-letters"}'] == 7


async def test_what_an_operator_has_paused_is_counted(seen: Seen) -> None:
    page = await seen.look()
    scopes = ("all", "mentor")
    assert [page[f'hlf_sync_paused{{scope="{scope}"}}'] for scope in scopes] == [0, 0]
    seen.sql(
        "INSERT INTO hlf_sync.pause (mentor_id, paused_by, reason) VALUES (NULL, 'kari', 'a move'),"
        f" ('{MENTOR.format(1)}', 'kari', 'x'), ('{MENTOR.format(2)}', 'kari', 'x')"
    )
    page = await seen.look()
    assert [page[f'hlf_sync_paused{{scope="{scope}"}}'] for scope in scopes] == [1, 2]
    assert seen.verdict() == "paused"
    assert page['hlf_sync_verdict{reason="paused",stage="deliver",verdict="halted"}'] == 1


async def test_who_is_listed_wrongly_is_decided_from_the_facts_now(seen: Seen) -> None:
    """Only those whose facts still ask for a call, by what the listing should show, with how long
    they have stood so.
    """
    for number, status in ((1, "paused"), (2, "active"), (3, "active"), (4, "vacationing")):
        seen.sql(
            "INSERT INTO app.mentor (id, organization_code, status) VALUES"
            f" ('{MENTOR.format(number)}', 'HLF', '{status}')"
        )
        seen.sql(
            f"INSERT INTO app.certification VALUES (gen_random_uuid(), '{MENTOR.format(number)}',"
            " 'valid', now() + interval '1 year')"
        )
    seen.sql(f"""INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, updated_at) VALUES
            ('{MENTOR.format(1)}', 'visible', 'dead_lettered', now() - interval '10 min'),
            ('{MENTOR.format(2)}', 'hidden', 'pending', now() - interval '2 min'),
            ('{MENTOR.format(3)}', 'visible', 'dead_lettered', now() - interval '1 day'),
            ('{MENTOR.format(4)}', 'visible', 'dead_lettered', now())""")
    seen.sql(
        "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
        f" dead_letter_id, attempted_at) VALUES ('{MENTOR.format(1)}', 'rejected', 1, 'a', now() -"
        " interval '1 hour')"
    )
    page = await seen.look()
    assert [
        page[f'hlf_sync_listing_wrong_mentors{{wanted="{word}"}}']
        for word in ("hidden", "visible", "unknown")
    ] == [1, 1, 1]
    ages = [
        round(page[f'hlf_sync_listing_wrong_oldest_seconds{{wanted="{word}"}}'] / 60)
        for word in ("hidden", "visible", "unknown")
    ]
    assert ages == [60, 2, 0]


async def test_only_the_leader_looks_and_who_leads_no_longer_has_seen_nothing(seen: Seen) -> None:
    """Two leaders' figures would be summed."""
    is_leader = True
    seen.watch._leads = lambda: is_leader
    task = asyncio.create_task(seen.watch.run())
    try:
        async with asyncio.timeout(10):
            while seen.watch.sight.states is None:
                await asyncio.sleep(0.01)
            is_leader = False
            while seen.watch.sight != Sight():
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


async def test_who_was_given_up_is_looked_at_at_the_next_turn(seen: Seen) -> None:
    """Not after ten seconds: a letter that is open beside a listing that shows nobody wrongly was
    what a newcomer saw.
    """
    letters = 0
    seen.watch._letters = lambda: letters
    task = asyncio.create_task(seen.watch.run())
    try:
        async with asyncio.timeout(8):
            while "ledger" not in seen.watch.sight.seen_at_s:
                await asyncio.sleep(0.01)
            before_s, letters = seen.watch.sight.seen_at_s["ledger"], 1
            while seen.watch.sight.seen_at_s["ledger"] == before_s:
                await asyncio.sleep(0.01)
    finally:
        task.cancel()


async def test_a_fleet_has_an_open_letter_until_it_is_resolved_closed_or_stood_for(
    seen: Seen,
) -> None:
    """What each worker's verdict rests on."""

    async def has_open_letter() -> bool:
        fleet = FleetTable(seen.watch._pool, "HLF", BreakerPolicy())  # one looks once a second
        return (await fleet.read()).has_open_letter

    first = f"{MENTOR.format(1)}:1"
    assert not await has_open_letter()
    seen.sql(
        "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
        f" dead_letter_id) VALUES ('{MENTOR.format(1)}', 'rejected', 1, '{first}')"
    )
    assert await has_open_letter()
    seen.sql(
        "INSERT INTO hlf_sync.mentor_ledger (mentor_id, state, dead_letter_id) VALUES"
        f" ('{MENTOR.format(1)}', 'dead_lettered', '{MENTOR.format(1)}:2')"
    )
    assert not await has_open_letter()
    seen.sql(f"UPDATE hlf_sync.mentor_ledger SET dead_letter_id = '{first}'")
    assert await has_open_letter()
    seen.sql(
        "INSERT INTO hlf_sync.closed_letter (letter_id, closed_by, reason) VALUES"
        f" ('{first}', 'kari', 'seen to')"
    )
    assert not await has_open_letter()


@pytest.mark.usefixtures("slot")
async def test_what_can_no_longer_be_seen_is_absent_and_never_the_last_value(seen: Seen) -> None:
    """A stale figure that looks fresh would be a lie."""
    await seen.look()
    await seen.watch._pool.close()
    page = await seen.look()
    gone = ("slot", "ledger", "leases{", "listing", "held", 'measured_age_seconds{what="database"')
    assert [name for name in page if name.removeprefix("hlf_sync_").startswith(gone)] == []
    assert page['hlf_sync_heartbeat_age_seconds{end="kafka"}'] == 4
    assert 'hlf_sync_heartbeat_age_seconds{end="database"}' not in page
