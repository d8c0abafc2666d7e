"""Waiting, at start, for what a worker cannot begin without: PostgreSQL, Kafka, the registry.
Called by the wiring.

Dynamics is not among them: changes that need no call can be worked without it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from hlf_sync.errors import DependencyError
from hlf_sync.postgres.connections import Dsn, Pool, connect
from hlf_sync.postgres.facts import FactsView
from hlf_sync.postgres.suitability import require_suitable

_log = structlog.get_logger()

_EVERY_S = 0.5


async def reach_all(
    checks: Mapping[str, Callable[[], Awaitable[object]]], stop: asyncio.Event, deadline_s: float
) -> bool:
    """Wait until every check passes, visibly; False when `deadline_s` seconds have passed or a
    signal came.
    """
    end_s = asyncio.get_running_loop().time() + deadline_s
    for name, check in checks.items():
        said = None
        while not stop.is_set():
            try:
                await _until_stopped(check(), stop)
                break
            except DependencyError as error:
                if error.detail != said:
                    said = error.detail
                    _log.warning("waiting_for", dependency=name, error_code=error.detail)
                if asyncio.get_running_loop().time() >= end_s:
                    _log.error(
                        "unreachable",
                        dependency=name,
                        error_code=error.detail,
                        duration_s=deadline_s,
                    )
                    return False
                await _until_stopped(asyncio.sleep(_EVERY_S), stop)
    return not stop.is_set()


async def _until_stopped(work: Awaitable[object], stop: asyncio.Event) -> None:
    """Await it, but no longer than until a signal: a dependency may take its time to say no."""
    task, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
    finally:
        task.cancel()
        stopped.cancel()


async def reach_postgres(dsn: Dsn, pool: Pool) -> None:
    """Open the pool and read the view once; raises `DependencyError`, and `SettingsError` behind a
    pooler that cannot serve.
    """
    if pool.closed:
        await require_suitable(dsn if isinstance(dsn, str) else dsn())
        # A refused connection says so at once; the pool would keep it to itself until its time-out,
        # and as long again when it is closed.
        async with await connect(dsn):
            pass
        await pool.open(wait=False)
    await FactsView(pool).ping()
