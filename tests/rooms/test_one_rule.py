"""What a mentor needs is decided in one place: a former contact that is still shown is seen by the
worker, `why`, `reconcile`, `force`, the fleet's figures and the guard alike.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hlf_sync import operate
from hlf_sync.config.settings import Settings
from hlf_sync.core.decide import Rules
from hlf_sync.core.mass_removal import MassRemovalPolicy
from hlf_sync.core.model import MentorId, Operation
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.reconcile.difference import FindingKind, Patience, Remedy
from hlf_sync.reconcile.inspection import Inspection, Wish
from hlf_sync.watch.fleet_watch import FleetWatch
from hlf_sync.watch.listing_watch import ListingWatch
from hlf_sync.why.story import tell
from psycopg.rows import dict_row

from tests.fakes.worker import Options, ScriptedDynamics, TestBench
from tests.fixtures.cluster import Cluster

pytestmark = pytest.mark.postgres


class Town:
    """A database in which mentors are listed and at rest; each mentor's contact equals its id."""

    def __init__(self, dsn: str, pool: Pool) -> None:
        self.dsn, self.pool, self.dynamics = dsn, pool, ScriptedDynamics()

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def listed(self, count: int = 1) -> list[MentorId]:
        ids = [MentorId(str(uuid4())) for _ in range(count)]
        self.people(ids)
        self.sql("INSERT INTO hlf_sync.contact_mapping SELECT i, i FROM unnest(%s::uuid[]) i", ids)
        self.sql(
            "INSERT INTO hlf_sync.mentor_ledger (mentor_id, applied, state, generation, contact_id,"
            " reevaluate_at) SELECT i, 'visible', 'in_sync', 1, i, '2100-01-01Z' FROM"
            " unnest(%s::uuid[]) i",
            ids,
        )
        self.dynamics.shown |= dict.fromkeys(ids, True)
        return ids

    def people(self, ids: list[MentorId], organization: str = "HLF") -> None:
        self.sql(
            "INSERT INTO app.mentor (id, organization_code, status) SELECT i, %s, 'active' FROM"
            " unnest(%s::uuid[]) i",
            organization,
            ids,
        )
        self.sql(
            "INSERT INTO app.certification SELECT gen_random_uuid(), i, 'valid', '2100-01-01Z' FROM"
            " unnest(%s::uuid[]) i",
            ids,
        )

    def remap(self, mentor_ids: list[MentorId]) -> None:
        """Give each another contact, as a corrected or a rewritten mapping does."""
        self.sql(
            "UPDATE hlf_sync.contact_mapping SET contact_id = gen_random_uuid() WHERE mentor_id ="
            " ANY (%s::uuid[])",
            mentor_ids,
        )

    async def reconciled(self) -> list[tuple[str, FindingKind, str, Remedy]]:
        wish = Wish([], is_repair=False, days=30, settle_s=0.0, patience=Patience())
        report = await Inspection(
            Settings.model_validate({}), self.pool, wish, None, lambda _count: None
        ).run()
        return [
            (one.mentor_id, one.finding.kind, one.finding.reason, one.finding.remedy)
            for one in report.differences
        ]


@pytest.fixture
async def town(cluster: Cluster, database: str) -> AsyncIterator[Town]:
    """As the sync role sees it."""
    pool = open_pool(cluster.dsn(database, "hlf_sync"), size=8)
    await pool.open()
    yield Town(cluster.dsn(database), pool)
    await pool.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.requirement("R63")
async def test_a_former_contact_that_is_still_shown_is_seen_by_everybody(town: Town) -> None:
    """Listed, then the contact is remapped, then the mentor is deleted: the facts of the new
    contact ask for nothing, and the former one is public.
    """
    (someone,) = town.listed()
    town.remap([someone])
    town.sql("DELETE FROM app.mentor")

    story = await tell(Settings.model_validate({}), town.pool, someone, None, lambda _d, _t: None)
    assert (
        story.decision["decision"],
        story.decision["reason"],
        story.decision["former_contact_id"],
    ) == ("remove", "contact_replaced", someone)
    assert await town.reconciled() == [
        (someone, FindingKind.NOT_DELIVERED, "contact_replaced", Remedy.LOOK)
    ]
    with psycopg.connect(town.dsn, autocommit=True, row_factory=dict_row) as connection:
        assert operate.is_removal_due(connection, someone, Rules())
    assert await _wrong(town) == 1


async def _wrong(town: Town) -> int:
    """How many the leader counts that the listing should not show."""
    watch = FleetWatch.__new__(FleetWatch)
    watch._pool = town.pool
    watch._listing = ListingWatch(town.pool, Rules())
    return int((await watch._ledger())["wrong"]["hidden"].mentors)


@pytest.mark.requirement("R11")
async def test_a_rewritten_mapping_meets_the_mass_change_guard(town: Town) -> None:
    """60 listed, all mapped to other ids: the former contacts leave the listing only as far as the
    guard allows.
    """
    everybody = town.listed(60)
    town.remap(everybody)
    bench = TestBench(town.pool, town.dynamics, Options(guard=MassRemovalPolicy(0.1, 20, 600)))
    bench.start()
    try:
        for someone in everybody:
            bench.change(someone)
        await until(lambda: town.sql("SELECT * FROM hlf_sync.halt WHERE reason = 'mass_removal'"))
        await until(lambda: len(town.sql("SELECT * FROM hlf_sync.held_removal")) == 40)
        await until(lambda: len(town.dynamics.calls) >= 20)
        assert [operation for _, operation in town.dynamics.calls] == [Operation.REMOVE] * 20
    finally:
        await bench.kill()


@pytest.mark.requirement("R02")
@pytest.mark.parametrize("whose", ["another organisation's", "a mentor's who is gone"])
async def test_a_former_contact_of_whom_nobody_else_speaks_is_hidden(
    town: Town, whose: str
) -> None:
    """It is mapped again, but to a mentor for whom we never call: so it is ours to hide."""
    (someone,) = town.listed()
    other = MentorId(str(uuid4()))
    if whose.startswith("another"):
        town.people([other], "OTHER")
    town.remap([someone])
    town.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", other, someone)
    assert [one[0] for one in await town.reconciled()] == [someone]
    bench = TestBench(town.pool, town.dynamics, Options())
    bench.start()
    try:
        bench.change(someone)
        await until(lambda: bench.is_done)
        assert town.dynamics.shown[someone] is False
    finally:
        await bench.kill()


async def test_a_former_contact_that_another_of_our_mentors_has_now_is_left_to_that_one(
    town: Town,
) -> None:
    """Hiding it could undo what was delivered for the mentor who has it now."""
    (someone,) = town.listed()
    other = MentorId(str(uuid4()))
    town.people([other])
    town.remap([someone])
    town.sql("INSERT INTO hlf_sync.contact_mapping VALUES (%s, %s)", other, someone)
    bench = TestBench(town.pool, town.dynamics, Options())
    bench.start()
    try:
        for mentor_id in (someone, other, someone):
            bench.change(mentor_id)
            await until(lambda: bench.is_done)
        assert (someone, Operation.REMOVE) not in town.dynamics.calls
        assert town.dynamics.shown[someone] is True
    finally:
        await bench.kill()
