"""Keeps the replay group's offsets from expiring, while this worker leads. A service of the worker.

`replay apply` and `replay watch` commit them too, and hold a lock while they work: then there is
nothing to do, and an older offset must not be written over a newer one.
"""

import asyncio
from collections.abc import Callable

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import Pool, reaching
from hlf_sync.postgres.statements import leader as sql

_log = structlog.get_logger()

# Kafka's shortest sensible retention is a day; by default it is seven.
EVERY_S = 3600.0
_LOOK_S = 5.0


async def keep_replay_offsets(
    pool: Pool, keep: Callable[[], int], leads: Callable[[], bool], *, every_s: float = EVERY_S
) -> None:
    """Commit them again every `every_s` seconds, first at the election; for ever."""
    loop, kept_at_s = asyncio.get_running_loop(), float("-inf")
    while True:
        if not leads():
            kept_at_s = float("-inf")
        elif loop.time() - kept_at_s >= every_s:
            try:
                await keep_once(pool, keep)
            except DependencyError as error:
                _log.warning("replay_offsets_not_kept", error_code=error.detail)
            kept_at_s = loop.time()
        await asyncio.sleep(min(_LOOK_S, every_s))


async def keep_once(pool: Pool, keep: Callable[[], int]) -> None:
    """Once, unless a replay is at work."""
    with reaching("PostgreSQL"):
        async with pool.connection() as connection, connection.transaction():
            row = await (await connection.execute(sql.REPLAY_LOCK)).fetchone()
            if row and row[0]:
                kept = await asyncio.to_thread(keep)
                _log.debug("replay_offsets_kept", partitions=kept)
