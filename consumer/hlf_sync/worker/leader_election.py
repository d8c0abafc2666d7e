"""Leader election: the worker leads whose session holds PostgreSQL's advisory lock, as long as that
session speaks.

A leader that is frozen keeps its session. A leader runs a statement every second; one that has been
silent for `FROZEN_S` is ended by whoever wants to lead (postgres/silent_holder), and the lock is
free. Called by the scheduler.
"""

import structlog

from hlf_sync.postgres.connections import Connection
from hlf_sync.postgres.silent_holder import end_silent
from hlf_sync.postgres.statements import leader as sql

_log = structlog.get_logger()

# Fifteen of the leader's turns. It must lead again, or another one, within 30 s.
FROZEN_S = 15.0


async def is_elected(connection: Connection) -> bool:
    """Whether this session leads now; if not, a leader that is frozen is deposed."""
    row = await (await connection.execute(sql.LEADER_LOCK)).fetchone()
    if row and row[0]:
        return True
    for ended in await end_silent(connection, sql.LEADER, FROZEN_S):
        _log.error("leader_deposed", pid=ended.pid, duration_s=round(ended.silent_s, 1))
    return False
