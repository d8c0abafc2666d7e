"""What a burst costs: statements are shared by many mentors, and a call's end wakes no stage that
has nothing to do. A real PostgreSQL; counts, not times.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hlf_sync.pipeline.delivery import Delivery
from hlf_sync.postgres.connections import Connected, open_pool

from tests.fixtures.cluster import Cluster
from tests.rooms.test_pipeline import World, until

pytestmark = pytest.mark.postgres

_MENTORS = 300


@pytest.fixture
async def world(cluster: Cluster, database: str) -> AsyncIterator[World]:
    """A fresh world."""
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=8) as pool:
        world = World(cluster.dsn(database), pool)
        yield world
        for bench in world.benches:
            await bench.kill()


async def test_a_burst_shares_its_statements_and_wakes_nobody_in_vain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looks, claims and records of 300 mentors: less than one statement for four of them; and the
    claims' loop turns when claims are due, not at each call's end.
    """
    counts = Counter[str]()
    execute, room = Connected.execute, Delivery._room

    async def counted(self: Connected, query: Any, *rest: Any, **options: Any) -> Any:
        counts["statements"] += "unnest" in str(query)
        return await execute(self, query, *rest, **options)

    def turned(self: Delivery) -> int:
        counts["turns"] += 1
        return room(self)

    monkeypatch.setattr(Connected, "execute", counted)
    monkeypatch.setattr(Delivery, "_room", turned)
    world.execute(
        "INSERT INTO app.mentor (id, organization_code, status) SELECT gen_random_uuid(), 'HLF',"
        f" 'paused' FROM generate_series(1, {_MENTORS})"
    )
    world.execute("INSERT INTO hlf_sync.contact_mapping SELECT id, id FROM app.mentor")
    one_by_one = asyncio.Lock()

    async def end_apart(_contact_id: str) -> None:
        async with one_by_one:
            for _ in range(4):
                await asyncio.sleep(0)

    world.dynamics.before_answer = end_apart
    bench = world.worker()
    for (mentor_id,) in world.execute("SELECT id::text FROM app.mentor"):
        bench.change(mentor_id)
    await until(lambda: bench.is_done, 60)
    assert len(world.dynamics.calls) == _MENTORS
    assert counts["statements"] <= _MENTORS / 4, counts
    assert counts["turns"] <= _MENTORS / 4, counts
