"""A claim that waits for its turn when its worker stops, or loses the partition, is given back: no
attempt is counted, no doubt stays, and nobody waits for a lease.
"""

import asyncio

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
