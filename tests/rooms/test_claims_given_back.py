"""A claim that waits for its turn when its worker stops, or loses the partition, is given back: no
attempt is counted, no doubt stays, and nobody waits for a lease.
"""

import asyncio

import psycopg
import pytest
from hlf_sync.core.pacing import PacingPolicy

from tests.fakes.worker import PARTITIONS, Options, TestBench
from tests.rooms.test_pipeline import World, until, world

__all__ = ["world"]

pytestmark = [pytest.mark.postgres, pytest.mark.requirement("R40")]

_OPEN = """
SELECT count(*) FILTER (WHERE lease_owner IS NOT NULL), count(*) FILTER (WHERE intended IS NOT NULL),
       coalesce(max(attempt_count), 0) FROM hlf_sync.mentor_ledger
"""


async def _waiting(world: World) -> TestBench:
    """A worker whose one call is made for now, and whose other claims wait."""
    bench = world.worker(Options(pace=PacingPolicy(0.05, 1, 4)))
    for _ in range(12):
        bench.change(world.mentor("paused"))
    await until(lambda: bench.worker.stages.delivery._claimed, 30)
    await until(
        lambda: len(world.dynamics.calls) == 1 and not bench.worker.stages.recording.under_way, 30
    )
    return bench


async def test_a_worker_that_stops_gives_its_claims_back(world: World) -> None:
    """SIGTERM while the pace holds them up."""
    bench = await _waiting(world)
    await bench.end()
    assert world.execute(_OPEN) == [(0, 0, 0)]


async def test_a_revocation_gives_the_partitions_claims_back_at_once(world: World) -> None:
    """Whoever has the partitions next claims them at once."""
    bench = await _waiting(world)
    began_s = asyncio.get_running_loop().time()
    await bench.worker.revoked(list(range(PARTITIONS)))
    assert asyncio.get_running_loop().time() - began_s < 1.9
    assert world.execute(_OPEN) == [(0, 0, 0)]


async def test_a_mentor_whose_partition_goes_while_it_is_read_waits_for_no_call(
    world: World,
) -> None:
    """Without a partition there is no pace, and its job would wait for ever: the oldest change of
    this worker, and older than any that another has.
    """
    bench, someone = world.worker(), world.mentor("paused")
    stages = bench.worker.stages
    with psycopg.connect(world.dsn) as connection:
        connection.execute("LOCK TABLE app.mentor IN ACCESS EXCLUSIVE MODE")
        bench.change(someone)
        await until(lambda: stages.queue.counts()["in_progress"], 30)
        bench.worker.lost(list(range(PARTITIONS)))
    await until(lambda: not len(stages.queue), 30)
    assert (stages.delivery.waiting, world.dynamics.calls) == (0, [])


async def test_a_claim_that_is_given_back_makes_room_for_another(world: World) -> None:
    """At once, also where its mentor wants no call any more."""
    bench = await _waiting(world)
    delivery = bench.worker.stages.delivery
    given_back = {one.mentor_id for one in delivery._claimed}
    world.execute(
        "DELETE FROM hlf_sync.contact_mapping WHERE mentor_id = ANY (%s::uuid[])", list(given_back)
    )
    delivery.drop(lambda one: one.mentor_id not in given_back)
    await until(lambda: delivery._claimed, 15)
    assert given_back.isdisjoint(one.mentor_id for one in delivery._claimed)
