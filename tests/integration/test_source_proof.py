"""A connector's task that died in silence: Kafka took no record of its failure either."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from confluent_kafka.admin import AclOperation
from hlf_sync.core.source_proof import SourceProof
from hlf_sync.postgres.connections import Pool, open_pool
from hlf_sync.watch.fleet_watch import SLOT
from hlf_sync.worker.source_proof import prove_source
from hlf_sync_sandbox.stack import Sandbox

from tests.fixtures.acl import ALL_TOPICS, CLUSTER, without
from tests.fixtures.source_side import CHANGES, SourceSide

pytestmark = [pytest.mark.stack, pytest.mark.requirement("R40"), pytest.mark.timeout(240)]


@pytest.fixture
async def pool(stack: Sandbox) -> AsyncIterator[Pool]:
    """The sync role's."""
    async with open_pool(stack.env["HLF_SYNC_POSTGRES_DSN"], size=1) as found:
        yield found


async def test_a_task_that_is_dead_while_connect_says_running_is_restarted(
    stack: Sandbox, source_side: SourceSide, pool: Pool
) -> None:
    """After an outage of every right to write. What was committed meanwhile comes through."""
    servers = stack.env["HLF_SYNC_KAFKA_BOOTSTRAP_SERVERS"]
    source_side.settle()
    since = source_side.ends(CHANGES)
    rights = ((CLUSTER, AclOperation.IDEMPOTENT_WRITE), (ALL_TOPICS, AclOperation.WRITE))
    with without(servers, *rights):
        source_side.sql(
            "INSERT INTO hlf_sync.sync_request (mentor_id, triggered_by) VALUES"
            " (gen_random_uuid(), 'reconciliation')"
        )
        await _until(lambda: not _is_slot_read(source_side), "the task has died")
    status = source_side.connect.get("/connectors/hlf-mentor-cdc/status").json()
    assert {task["state"] for task in status["tasks"]} == {"RUNNING"}, "and Connect does not know"
    proving = asyncio.create_task(
        prove_source(
            pool,
            stack.env["HLF_SYNC_CONNECT_URL"],
            {"auth": None, "tls": None},
            SLOT,
            lambda: True,
            proof=SourceProof(unread_s=5.0),
            every_s=0.5,
        )
    )
    try:
        await _until(lambda: source_side.ends(CHANGES) != since, "what was committed came through")
    finally:
        proving.cancel()
    source_side.settle()


def _is_slot_read(side: SourceSide) -> bool:
    with side.admin() as connection:
        row = connection.execute(
            "SELECT active FROM pg_replication_slots WHERE slot_name = %s", (SLOT,)
        ).fetchone()
    return bool(row and row[0])


async def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    end_s = asyncio.get_running_loop().time() + 90
    while not await asyncio.to_thread(is_so):
        assert asyncio.get_running_loop().time() < end_s, otherwise
        await asyncio.sleep(0.2)
