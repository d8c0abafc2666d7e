"""Listens for changes of what all workers share, so that a pause asked of one stops all within a
second. A service of the worker.
"""

import asyncio
from collections.abc import Callable

from hlf_sync.errors import DependencyError
from hlf_sync.pipeline.gate import Gate
from hlf_sync.pipeline.patience import Dependencies
from hlf_sync.postgres.connections import Dsn, connect, reaching
from hlf_sync.postgres.notifications import hear

# Looked at anyway this often: a notification may be lost with its connection.
_LOOK_S = 0.25
# While no change waits no call can start: then it is looked at each few seconds, and whether a change
# has come often enough for a pause to be heard of within a second.
_QUIET_LOOK_S = 3.0
_QUIET_TURN_S = 0.75


async def follow_fleet(
    dsn: Dsn,
    gate: Gate,
    dependencies: Dependencies,
    is_quiet: Callable[[], bool] = lambda: False,
) -> None:
    """Read circuit and halts again whenever somebody changed them, for ever."""
    loop = asyncio.get_running_loop()
    while True:
        try:
            with reaching("PostgreSQL"):
                async with await connect(dsn) as connection:
                    await connection.execute("LISTEN hlf_sync_fleet")
                    while True:
                        await gate.refresh()
                        until_s = loop.time() + _QUIET_LOOK_S
                        while not await hear(connection, _QUIET_TURN_S if is_quiet() else _LOOK_S):
                            if not is_quiet() or loop.time() >= until_s:
                                break
        except (DependencyError, OSError) as error:
            dependencies.failed("PostgreSQL", type(error).__name__, loop.time())
            await asyncio.sleep(_LOOK_S)
