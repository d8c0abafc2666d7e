"""A failover to a real synchronous standby: what a worker has recorded is there, the leader sees the
other timeline, and a standby is refused.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import psycopg
import pytest
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import LedgerRow, LedgerState, MentorId, Operation, Visibility
from hlf_sync.core.outcome import Conclusion, Ending
from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.ledger import Ledger, LedgerPolicy
from hlf_sync.postgres.suitability import require_suitable

from tests.fakes.evaluations import called, wanting
from tests.fakes.source_ground import Ground
from tests.fixtures.standby import Pair, run_pair

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R67")]

POLICY = LedgerPolicy("worker", 60.0, 120.0, MassRemovalPolicy(0.0, 0, 600.0))
APPLIED = Conclusion(Ending.APPLIED, LedgerState.IN_SYNC, counts=True)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A primary and its standby."""
    yield from run_pair()


@pytest.fixture
async def pool(pair: Pair) -> AsyncIterator[Pool]:
    """As a worker has it, in the template's database."""
    pool = open_pool(pair.dsn("hlf_template", "hlf_sync"), size=3)
    await pool.open()
    yield pool
    await pool.close()


async def _delivered(ledger: Ledger, mentor_id: MentorId, operation: Operation) -> None:
    """Claim and record one delivery, as the pipeline does."""
    before = LedgerRow()
    claimed = (await ledger.claim([wanting(mentor_id, before, operation)]))[mentor_id]
    result = called(claimed, before, operation, APPLIED)
    assert await ledger.record([result]) == {mentor_id}


async def test_what_a_worker_has_recorded_survives_the_loss_of_the_primary(
    pair: Pair, pool: Pool
) -> None:
    """It is not recorded before the standby has it. Committed with synchronous_commit=local, a
    failover left a ledger that said 'hidden, in sync' of somebody whom Dynamics showed.
    """
    mentor_id = MentorId(str(uuid4()))
    with pair.standby_hears_nothing():
        recording = asyncio.create_task(
            _delivered(Ledger(pool, POLICY), mentor_id, Operation.REMOVE)
        )
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(
                pair.asked,
                "SELECT 1 FROM pg_stat_activity WHERE application_name = 'hlf-sync' AND wait_event"
                " = 'SyncRep'",
            ):
                assert not recording.done(), "recorded, and the standby does not have it"
                await asyncio.sleep(0.02)
    await asyncio.wait_for(recording, 30)
    await asyncio.to_thread(pair.fail_over)
    known = await _read_again(pool, mentor_id)
    assert (known.applied, known.state) == (Visibility.HIDDEN, LedgerState.IN_SYNC)


async def test_the_leader_sees_a_promoted_standby_and_puts_everybody_in_doubt(pair: Pair) -> None:
    """Another timeline; the connector's position is left alone, since the log has not gone back."""
    ground = Ground(pair.dsn("hlf_template", "postgres"), pair.dsn("hlf_template", "hlf_sync"))
    await ground.pool.open()
    try:
        mentor_id = str(uuid4())
        ground.sql(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state) VALUES"
            f" ('{mentor_id}', 'visible', 'in_sync')"
        )
        await ground.watch.look()
        ground.stream.at = 1
        await asyncio.to_thread(pair.fail_over)
        async with asyncio.timeout(60):
            while not ground.counts.counted:
                await ground.watch.look()
        assert dict(ground.counts.counted) == {"other_timeline": 1}
        assert ground.ledger()[mentor_id] == ("in_doubt", "visible", "visible")
        assert ground.stream.resets == 0
    finally:
        await ground.pool.close()


@pytest.mark.behaviour
async def test_a_standby_is_refused_by_name(pair: Pair) -> None:
    """Reading from it would work, and every claim would fail. It may be promoted: so it is waited
    for like an outage.
    """
    with pytest.raises(DependencyError, match="a read-only standby"):
        await require_suitable(pair.dsn_of_standby("hlf_template", "hlf_sync"))
    await require_suitable(pair.dsn("hlf_template", "hlf_sync"))


@pytest.mark.behaviour
def test_a_standby_calls_open_transactions_visible(pair: Pair) -> None:
    """Its snapshots list no running transactions, so `pg_visible_in_snapshot` is right on a primary
    only: one more reason to refuse a standby.
    """
    with (
        psycopg.connect(pair.primary.dsn("hlf_template")) as writer,
        psycopg.connect(pair.primary.dsn("hlf_template"), autocommit=True) as primary,
        psycopg.connect(pair.dsn_of_standby("hlf_template"), autocommit=True) as standby,
    ):
        writer.execute("CREATE TABLE app.open (number int)")
        row = writer.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        # What comes after it is committed and replayed, so it lies below the standby's xmax.
        primary.execute("SET synchronous_commit = remote_apply")
        primary.execute("CREATE TABLE app.later (number int)")
        asked = f"SELECT pg_visible_in_snapshot('{row[0]}'::xid8, pg_current_snapshot())".encode()
        assert primary.execute(asked).fetchone() == (False,)
        assert standby.execute(asked).fetchone() == (True,)
        exists = standby.execute("SELECT to_regclass('app.open') IS NULL").fetchone()
        assert exists == (True,)


async def test_a_crash_of_the_primary_is_no_step_back(pair: Pair) -> None:
    """Log that was written and never flushed is gone after it, and nobody had seen that as the
    database's position.
    """
    ground = Ground(pair.dsn("hlf_template", "postgres"), pair.dsn("hlf_template", "hlf_sync"))
    await ground.pool.open()
    try:
        writer = psycopg.connect(pair.primary.dsn("hlf_template"))
        writer.execute(
            "CREATE TABLE app.much AS SELECT repeat('x', 900) FROM generate_series(1, 3000)"
        )
        await ground.watch.look()  # while the transaction is open
        await asyncio.to_thread(pair.crash)
        writer.close()
        async with asyncio.timeout(60):
            while len(ground.anchors.values) < 2:
                await ground.watch.look()
    finally:
        await ground.pool.close()
    assert dict(ground.counts.counted) == {}


async def _read_again(pool: Pool, mentor_id: MentorId) -> LedgerRow:
    """After the pool has found the new primary."""
    async with asyncio.timeout(60):
        while True:
            try:
                reading = await FactsView(pool).read([mentor_id])
            except DependencyError:
                await asyncio.sleep(0.05)
            else:
                return reading.mentors[mentor_id].ledger
