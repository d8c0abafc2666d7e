"""Ends the session that holds an advisory lock and has said nothing for long: its process is frozen
(SIGSTOP, a paused virtual machine), and its kernel goes on acknowledging what the server sends, so
nothing but its silence shows it. The server allows it between sessions of one role. Called by
whoever wants the lock: the leaders, a connector's reset, a pass over the listing.

A holder must run a statement more often than the silence that is allowed here. When a frozen one
wakes, its next statement fails, so it does nothing more under that lock.
"""

from typing import NamedTuple

from psycopg.rows import tuple_row

from hlf_sync.postgres.connections import AnyConnection, AnySyncConnection

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


class Ended(NamedTuple):
    """A session that was ended, and how long it had been silent."""

    pid: int
    silent_s: float


async def end_silent(connection: AnyConnection, lock: str, silent_s: float) -> list[Ended]:
    """End who holds `lock` and has been silent for longer; its lock is free soon afterwards."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_END, (lock, silent_s))
        return [Ended(*row[:2]) for row in await cursor.fetchall()]


def end_silent_now(connection: AnySyncConnection, lock: str, silent_s: float) -> list[Ended]:
    """The same, on a command's connection."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        return [Ended(*row[:2]) for row in cursor.execute(_END, (lock, silent_s))]
