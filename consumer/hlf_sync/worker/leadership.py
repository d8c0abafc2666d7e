"""Who leads: whoever's session holds the advisory lock, as long as that session speaks.

A leader that is frozen (SIGSTOP, a paused virtual machine) keeps its session, since its kernel goes
on acknowledging what the server sends: nothing but its silence shows it. A leader runs a statement
every second; one that has been silent for `FROZEN_S` is ended by whoever wants to lead, which the
server allows between sessions of one role, and the lock is free. When it wakes, its next statement
fails, so it does nothing more as a leader. Called by the scheduler.
"""

import structlog

from hlf_sync.postgres.connections import Connection

_log = structlog.get_logger()

# Fifteen of the leader's turns. It must lead again, or another one, within 30 s.
FROZEN_S = 15.0

_LOCK = "SELECT pg_try_advisory_lock(hashtext('hlf_sync.leader'))"

# A bigint advisory lock as pg_locks shows it: the high half in classid, the low one in objid. A
# statement that runs for long is the server's doing and no sign of a frozen client, unless the
# server waits for that client to take the answer.
_DEPOSE = """
SELECT a.pid, pg_terminate_backend(a.pid), extract(epoch FROM clock_timestamp() - a.state_change)::float8
  FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
   AND (l.classid::bigint << 32 | l.objid::bigint) = hashtext('hlf_sync.leader')::bigint
   AND a.usename = current_user AND a.pid <> pg_backend_pid()
   AND (a.state <> 'active' OR a.wait_event_type = 'Client')
   AND a.state_change < clock_timestamp() - make_interval(secs => %s)
"""


async def is_elected(connection: Connection) -> bool:
    """Whether this session leads now; if not, a leader that is frozen is deposed."""
    row = await (await connection.execute(_LOCK)).fetchone()
    if row and row[0]:
        return True
    for pid, _, silent_s in await (await connection.execute(_DEPOSE, (FROZEN_S,))).fetchall():
        _log.error("leader_deposed", pid=pid, duration_s=round(silent_s, 1))
    return False
