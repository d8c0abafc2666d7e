"""Hears what PostgreSQL notifies, and sleeps meanwhile. Used by the worker's and the coordinators'
listeners.

psycopg's own wait for notifications wakes the event loop ten times a second (3.3.9): a sixth of what
an idle worker took.
"""

import asyncio

from psycopg import Notify

from hlf_sync.postgres.connections import AnyConnection


async def hear(connection: AnyConnection, within_s: float) -> list[Notify]:
    """The notifications that have come, in order; none when `within_s` seconds are over, and
    sometimes earlier. The connection listens already. What arrives with the answer to a statement
    waits for the next one. Raises what the driver raises when the connection is lost.
    """
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    socket = connection.fileno()
    loop.add_reader(socket, readable.set)
    try:
        async with asyncio.timeout(within_s):
            await readable.wait()
    except TimeoutError:
        return []
    finally:
        loop.remove_reader(socket)
    return [notice async for notice in connection.notifies(timeout=0)]
