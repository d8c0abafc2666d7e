"""Ends the session that holds an advisory lock and has said nothing for long: its process is frozen
(SIGSTOP, a paused virtual machine), and its kernel goes on acknowledging what the server sends, so
nothing but its silence shows it. The server allows it between sessions of one role. Called by
whoever wants the lock: the leaders, a connector's reset, a pass over the listing.

A holder must run a statement more often than the silence that is allowed here; `held` sees to that.
When a frozen one wakes, its next statement fails, so it does nothing more under that lock.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple

import structlog
from psycopg import Error, OperationalError
from psycopg.rows import tuple_row

from hlf_sync.postgres.connections import AnyConnection, AnySyncConnection

_log = structlog.get_logger()

# How often a holder speaks for whom nothing else does, and when it is frozen.
_SPEAK_S = 5.0
SILENT_S = 60.0

_LOCK = "SELECT pg_try_advisory_lock(hashtext(%s))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtext(%s))"

# A bigint advisory lock as pg_locks shows it: the high half in classid, the low one in objid. A
# statement that runs for long is the server's doing and no sign of a frozen client, unless the
# server waits for that client to take the answer.
_END = """
SELECT a.pid, extract(epoch FROM clock_timestamp() - a.state_change)::float8, pg_terminate_backend(a.pid)
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext(%s)::bigint
   AND a.usename = current_user AND a.pid <> pg_backend_pid()
   AND (a.state <> 'active' OR a.wait_event_type = 'Client')
   AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""


class EndedSession(NamedTuple):
    """A session that was ended, and how long it had been silent."""

    pid: int
    silent_s: float


async def end_silent(connection: AnyConnection, lock: str, silent_s: float) -> list[EndedSession]:
    """End who holds `lock` and has been silent for longer; its lock is free soon afterwards."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_END, (lock, silent_s))
        return [EndedSession(*row[:2]) for row in await cursor.fetchall()]


def end_silent_now(connection: AnySyncConnection, lock: str, silent_s: float) -> list[EndedSession]:
    """The same, on a command's connection."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [EndedSession(*row[:2]) for row in cursor.execute(_END, (lock, silent_s))]


@asynccontextmanager
async def held(connection: AnyConnection, lock: str) -> AsyncIterator[bool]:
    """Whether `lock` is this session's, inside the block, however long that takes. If not, a holder
    that is frozen is ended, so that a later attempt finds it free.
    """
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_LOCK, (lock,))
        row = await cursor.fetchone()
    if not row or not row[0]:
        for ended in await end_silent(connection, lock, SILENT_S):
            _log.error(
                "lock_taken_over",
                subject=lock,
                pid=ended.pid,
                duration_s=round(ended.silent_s, 1),
            )
        yield False
        return
    is_over = asyncio.Event()
    speaking = asyncio.create_task(_speak(connection, is_over))
    try:
        yield True
    finally:
        is_over.set()
        await asyncio.wait({speaking})
        with suppress(OperationalError):  # the lock went with its session
            await connection.execute(_UNLOCK, (lock,))


async def _speak(connection: AnyConnection, is_over: asyncio.Event) -> None:
    """That the session has ended is found out by its next step, not here."""
    while not is_over.is_set():
        try:
            async with asyncio.timeout(_SPEAK_S):
                await is_over.wait()
        except TimeoutError:
            with suppress(Error):
                await connection.execute("SELECT")
