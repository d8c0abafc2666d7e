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
# While no change waits no call can start; still within the second that a pause must be heard in.
_QUIET_LOOK_S = 0.75


async def follow_fleet(
    dsn: Dsn,
    gate: Gate,
    dependencies: Dependencies,
    is_quiet: Callable[[], bool] = lambda: False,
) -> None:
    """Read circuit and halts again whenever somebody changed them, for ever."""
    while True:
        try:
            with reaching("PostgreSQL"):
                async with await connect(dsn) as connection:
                    await connection.execute("LISTEN hlf_sync_fleet")
                    while True:
                        await gate.refresh()
                        look_s = _QUIET_LOOK_S if is_quiet() else _LOOK_S
                        await hear(connection, look_s)
        except (DependencyError, OSError) as error:
            dependencies.failed(
                "PostgreSQL", type(error).__name__, asyncio.get_running_loop().time()
            )
            await asyncio.sleep(_LOOK_S)
