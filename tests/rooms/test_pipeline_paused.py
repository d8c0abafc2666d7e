"""What a whole worker does while an operator holds deliveries back: no call, nothing lost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

import psycopg
import pytest
from hlf_sync.core.evaluation import Evaluation
from hlf_sync.core.model import MentorId, Operation
from hlf_sync.core.outcome import Claimed
from hlf_sync.core.pacing import PacingPolicy
from hlf_sync.postgres import pauses
from hlf_sync.postgres.connections import open_pool
from psycopg.rows import dict_row

from tests.fakes.worker import Options, TestBench
from tests.fixtures.cluster import Cluster
from tests.rooms.test_pipeline import World
from tests.rooms.test_pipeline import until as until_within

pytestmark = pytest.mark.postgres


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition, also on a busy machine."""
    await until_within(condition, 60)


@pytest.fixture
async def world(cluster: Cluster, database: str) -> AsyncIterator[World]:
    """A fresh world."""
    async with open_pool(cluster.dsn(database, "hlf_sync"), size=8) as pool:
        world = World(cluster.dsn(database), pool)
        yield world
        for bench in world.benches:
            await bench.kill()


def pause(world: World, mentor_id: str | None = None) -> None:
    with psycopg.connect(world.dsn, autocommit=True, row_factory=dict_row) as connection:
        pauses.pause(connection, mentor_id and MentorId(mentor_id), by="kari", why="a test")  # type: ignore[arg-type]


async def in_flight_is_over(world: World) -> None:
    """What `hlf-sync pause` waits for before it ends."""
    await until(
        lambda: (
            world.execute(
                "SELECT count(*) FROM hlf_sync.mentor_ledger WHERE lease_owner IS NOT NULL"
            )
            == [(0,)]
        )
    )


def unpause(world: World, bench: TestBench, mentor_id: str | None = None) -> int:
    """End the pause, and bring the requests to the worker as Kafka would."""
    with psycopg.connect(world.dsn, autocommit=True, row_factory=dict_row) as connection:
        who = mentor_id and MentorId(mentor_id)
        asked = pauses.unpause(connection, who, by="kari", why="done")[1]  # type: ignore[arg-type]
    for (someone,) in world.execute("SELECT mentor_id::text FROM hlf_sync.sync_request"):
        bench.change(someone, "manual_coordinator_action")
    return asked


async def test_a_paused_mentor_is_not_called_for_and_is_delivered_by_the_facts_of_afterwards(
    world: World,
) -> None:
    her, other = world.mentor("paused"), world.mentor("paused")
    bench = world.worker()
    pause(world, her)
    bench.change(her)
    bench.change(other)
    await until(lambda: bench.is_done)
    assert world.dynamics.calls == [(other, Operation.REMOVE)]
    assert world.ledger(her) == (None, "pending", 0)
    world.status(her, "reinstated")
    bench.change(her)
    await until(lambda: bench.is_done)
    assert unpause(world, bench, her) == 1
    await until(lambda: world.ledger(her) == ("visible", "in_sync", 0))
    assert world.dynamics.calls[1:] == [(her, Operation.RESTORE)]


async def test_a_pause_of_all_in_the_middle_of_a_flood_lets_no_call_start_and_loses_nobody(
    world: World,
) -> None:
    mentors = [world.mentor("paused") for _ in range(120)]
    bench = world.worker(Options(pace=PacingPolicy(200, 10, 8)))
    for someone in mentors:
        bench.change(someone)
    await until(lambda: len(world.dynamics.calls) >= 20)
    pause(world)
    await in_flight_is_over(world)
    called = len(world.dynamics.calls)
    assert called < len(mentors)
    await until(lambda: bench.is_done)
    assert len(world.dynamics.calls) == called
    asked = unpause(world, bench)
    assert asked == len(mentors) - called
    await until(lambda: all(world.ledger(m) == ("hidden", "in_sync", 0) for m in mentors))
    assert len(world.dynamics.calls) == len(mentors)


async def test_a_pause_between_claim_and_call_gives_the_claim_back(world: World) -> None:
    """The look under the claim sees it; so whoever paused waits only for claims made before."""
    her = world.mentor("paused")
    bench = world.worker()
    ledger = bench.worker.stages.delivery._ledger
    claim = ledger.claim

    async def claim_then_pause(evaluations: Sequence[Evaluation]) -> Mapping[MentorId, Claimed]:
        claimed = await claim(evaluations)
        if claimed:
            await asyncio.to_thread(pause, world, her)
        return claimed

    ledger.claim = claim_then_pause  # type: ignore[method-assign]
    bench.change(her)
    await until(lambda: bench.is_done)
    assert world.dynamics.calls == []
    assert world.ledger(her) == (None, "pending", 0)
