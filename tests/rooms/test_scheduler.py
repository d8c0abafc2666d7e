"""What the leader does by the clock, on a real PostgreSQL: open letters are counted and resolved,
old attempts are deleted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.decide import Rules
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import open_pool
from hlf_sync.postgres.statements import leader as statements
from hlf_sync.watch import fleet_watch
from hlf_sync.worker import leader_election
from hlf_sync.worker import scheduler as module
from hlf_sync.worker.scheduler import Scheduler

from tests.fakes.overseen import PlainTopic
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres

FAILURE = (
    "INSERT INTO hlf_sync.dynamics_sync_failures (mentor_id, error_code, retry_count,"
    " dead_letter_id) VALUES (%s, 'decode_error', 0, %s)"
)
AT_REST = (
    "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation, updated_at) VALUES"
    " (%s, 'hidden', %s, 1, now() + %s::interval)"
)
ATTEMPT = """
INSERT INTO hlf_sync.delivery_attempt (mentor_id, generation, attempt_number, operation, triggered_by, started_at, duration_ms, outcome)
SELECT %s, n, 1, 'remove', 'status_change', now() - make_interval(days => %s), 5, 'applied' FROM generate_series(1, %s) n
"""
OPEN = (
    "SELECT mentor_id::text FROM hlf_sync.dynamics_sync_failures WHERE resolved_at IS NULL ORDER"
    " BY id"
)
ENDS_THE_LEADER = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND database ="
    " (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid <> pg_backend_pid()"
)
ATTEMPTS = "SELECT count(*) FROM hlf_sync.delivery_attempt"


@dataclass
class Room:
    """A leader and its database."""

    dsn: str
    scheduler: Scheduler
    task: asyncio.Task[None] | None = None

    def lead(self) -> None:
        """Start."""
        self.task = asyncio.create_task(self.scheduler.run())

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.02)


@pytest.fixture
async def room(
    cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Room]:
    """A leader in a hurry."""
    monkeypatch.setattr(module, "TURN_S", 0.02)
    monkeypatch.setattr(module, "_PRUNED_AT_ONCE", 10)
    room = Room(
        cluster.dsn(database),
        Scheduler(lambda: cluster.dsn(database, "hlf_sync"), Dependencies(), is_live=True),
    )
    yield room
    if room.task is not None:
        room.task.cancel()
        with suppress(asyncio.CancelledError):
            await room.task


@pytest.mark.requirement("R44")
async def test_an_unreadable_records_failure_is_open_until_its_mentor_is_at_rest_again(
    room: Room,
) -> None:
    """Counted until then; an older rest, or a mentor who is not at rest, resolves nothing."""
    room.lead()
    healed, older, pending, closed = (str(uuid4()) for _ in range(4))
    room.sql(AT_REST, older, "in_sync", "-1 minute")
    for mentor_id in (healed, older, pending, closed):
        room.sql(FAILURE, mentor_id, f"topic-0-{mentor_id}")
    await room.until(lambda: room.scheduler.open_letters == 4)
    room.sql(
        "INSERT INTO hlf_sync.closed_letter (letter_id, closed_by, reason) VALUES (%s, 'me', 'seen"
        " to')",
        f"topic-0-{closed}",
    )
    room.sql(AT_REST, pending, "dead_lettered", "1 second")
    room.sql(AT_REST, healed, "in_sync", "1 second")
    await room.until(lambda: room.scheduler.open_letters == 2)
    assert room.sql(OPEN) == [(older,), (pending,), (closed,)]


async def test_old_attempts_are_deleted_in_batches_but_for_each_mentors_last(room: Room) -> None:
    """Three months are kept, and what `why` says of a mentor who has been quiet for longer."""
    busy, quiet = str(uuid4()), str(uuid4())
    for mentor_id, days, count in ((busy, 91, 35), (quiet, 91, 3), (busy, 89, 4)):
        room.sql(ATTEMPT, mentor_id, days, count)
    room.lead()
    await room.until(lambda: room.sql(ATTEMPTS) == [(5,)])
    assert room.sql(
        "SELECT generation FROM hlf_sync.delivery_attempt WHERE mentor_id = %s", quiet
    ) == [(3,)]


async def test_old_requests_are_deleted_in_batches(room: Room) -> None:
    """A day on which everybody was asked for must not keep the leader silent for as long as a month
    later their deletion takes: no statement deletes more than a batch.
    """
    room.sql(
        "CREATE FUNCTION few() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF (SELECT count(*)"
        " FROM gone) > 10 THEN RAISE 'too many at once'; END IF; RETURN NULL; END $$"
    )
    room.sql(
        "CREATE TRIGGER few AFTER DELETE ON hlf_sync.sync_request REFERENCING OLD TABLE AS gone"
        " EXECUTE FUNCTION few()"
    )
    for days, count in ((31, 35), (29, 4)):
        room.sql(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by, created_at) SELECT"
            " gen_random_uuid(), 'reconciliation', now() - make_interval(days => %s) FROM"
            " generate_series(1, %s)",
            days,
            count,
        )
    room.lead()
    await room.until(lambda: room.sql("SELECT count(*) FROM hlf_sync.sync_request") == [(4,)])


@pytest.mark.requirement("R40")
async def test_a_leader_that_has_fallen_silent_is_deposed_and_another_leads(
    room: Room, cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session lives, and holds the lock, but it says nothing more: a process that is frozen."""
    monkeypatch.setattr(leader_election, "FROZEN_S", 0.5)
    dsn = cluster.dsn(database, "hlf_sync")
    with psycopg.connect(dsn, autocommit=True) as frozen:
        frozen.execute(statements.LEADER_LOCK)
        room.lead()
        await room.until(lambda: room.scheduler.is_leader)
        with pytest.raises(psycopg.OperationalError):
            frozen.execute("SELECT 1")


@pytest.mark.requirement("R40")
async def test_a_leader_that_speaks_each_turn_is_left_alone(
    room: Room, cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long it has led, and however long the server works at a statement of its."""
    monkeypatch.setattr(leader_election, "FROZEN_S", 0.5)
    second = Scheduler(lambda: cluster.dsn(database, "hlf_sync"), Dependencies(), is_live=True)
    room.lead()
    await room.until(lambda: room.scheduler.is_leader)
    standing = asyncio.create_task(second.run())
    try:
        end_s = asyncio.get_running_loop().time() + 1.5
        await room.until(lambda: asyncio.get_running_loop().time() > end_s)
        assert (room.scheduler.is_leader, second.is_leader) == (True, False)
    finally:
        standing.cancel()
        with suppress(asyncio.CancelledError):
            await standing


async def test_the_leader_frees_a_queue_of_notifications_that_nobody_frees(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a reader of its usage moves its tail, once a sleeping listener has gone; and the leader
    says how full it is.
    """
    asked = statements.BOOKS.replace(
        statements.NOTIFICATIONS, f"{statements.NOTIFICATIONS} + 0.5::float8"
    )
    monkeypatch.setattr(statements, "BOOKS", asked)
    room.lead()
    await room.until(lambda: room.scheduler.notification_queue == 0.5)


@pytest.mark.requirement("R60")
async def test_a_leader_that_lost_the_lead_for_a_moment_believes_nothing_of_the_term_before(
    room: Room, cluster: Cluster, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lost and regained between two looks of the fleet's watch: the database may be another one."""
    monkeypatch.setattr(fleet_watch, "_SOURCE_EVERY_S", 0.02)
    monkeypatch.setattr(fleet_watch, "_LEDGER_EVERY_S", 0.02)
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=2) as pool:
        watch = fleet_watch.FleetWatch(
            pool=pool,
            rules=Rules(),
            heartbeats=PlainTopic(),
            replayed=PlainTopic(),
            connector_status=None,
            registry=_answers,
            leads=lambda: room.scheduler.term > 0,  # between two looks nobody asks
            term=lambda: room.scheduler.term,
            now_ms=lambda: 0,
        )
        room.lead()
        looking = asyncio.create_task(watch.run())
        try:
            await room.until(lambda: watch._listing._memory.is_complete)
            old = watch._listing._memory
            room.sql(ENDS_THE_LEADER)
            await room.until(lambda: room.scheduler.term == 2)
            await room.until(lambda: watch._listing._memory is not old)
            await room.until(lambda: watch._listing._memory.is_complete)
        finally:
            looking.cancel()
            with suppress(asyncio.CancelledError):
                await looking


async def _answers() -> None:
    """The registry is there."""


_DOUBT = """
INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, intended, state, generation, updated_at, lease_owner, lease_until, reevaluate_at)
VALUES (%s, 'visible', 'hidden', 'in_doubt', 5, now() - %s::interval, %s, now() + %s::interval, now() + %s::interval)
"""


@pytest.mark.requirement("R07")
@pytest.mark.parametrize("is_claimed", [False, True])
async def test_who_is_in_doubt_and_has_no_look_soon_is_asked_for_within_minutes(
    room: Room, is_claimed: bool
) -> None:
    """A retry that nobody makes any more, or a call in which its worker died; not a call under a
    lease that holds, nor a retry that may still wait in a worker, nor who has a look to come. The look
    at a certificate's end comes too late.
    """
    owner = "gone" if is_claimed else None
    lost, listed, held, fresh, planned = (str(uuid4()) for _ in range(5))
    room.sql(_DOUBT, lost, "6 minutes", owner, "-5 minutes" if is_claimed else None, None)
    room.sql(_DOUBT, listed, "6 minutes", None, None, "1 year")
    room.sql(_DOUBT, held, "6 minutes", "at work", "30 seconds", None)
    room.sql(_DOUBT, fresh, "1 minute", None, None, None)
    room.sql(_DOUBT, planned, "6 minutes", None, None, "4 minutes")
    room.lead()
    asked = "SELECT mentor_id::text, triggered_by FROM hlf_sync.sync_request"
    await room.until(lambda: room.sql(asked) != [])
    room.sql(FAILURE, str(uuid4()), "topic-0-1")  # some turns later nobody else was asked for
    await room.until(lambda: room.scheduler.open_letters == 1)
    assert set(room.sql(asked)) == {(lost, "reconciliation"), (listed, "reconciliation")}
