"""Is what answers at the DSN a database that a worker can work with: the primary, and each connection a
session of its own? Asked once at start, and by `doctor`.

A pooler that hands a session's statements to several backends (PgBouncer's transaction mode) breaks
what we build upon: the leader's lock would be held by two at once or by nobody, LISTEN hears nothing,
prepared statements are elsewhere.
"""

from typing import Any

import psycopg
from psycopg import AsyncConnection

from hlf_sync.errors import DependencyError, SettingsError

POOLER = (
    "a pooler hands our statements to several backends (PgBouncer in transaction or statement mode):"
    " the leader's lock and LISTEN need a session"
)
POOLER_FIX = (
    "let HLF_SYNC_POSTGRES_DSN name PostgreSQL itself, or a pool with pool_mode = session and"
    " ignore_startup_parameters = options"
)
STANDBY = "a read-only standby: the DSN must name the primary (target_session_attrs=read-write)"

_ROUNDS = 3
_CONNECT_S = 5
_PID = "SELECT pg_backend_pid()"


async def require_suitable(dsn: str) -> None:
    """Raise `SettingsError` behind a pooler that cannot serve, `DependencyError` on a standby (which
    may be promoted) and while nobody answers.
    """
    try:
        async with await _plain(dsn) as first, await _plain(dsn) as second:
            if await _share_backends(first, second):
                raise SettingsError(f"HLF_SYNC_POSTGRES_DSN: {POOLER}; {POOLER_FIX}")
            if await _one(first, "SELECT pg_is_in_recovery()"):
                raise DependencyError("PostgreSQL", STANDBY)
    except psycopg.OperationalError as error:
        raise DependencyError("PostgreSQL", type(error).__name__) from error


async def is_pooled(dsn: str) -> bool:
    """Whether two open connections are not two sessions. Raises psycopg's errors."""
    async with await _plain(dsn) as first, await _plain(dsn) as second:
        return await _share_backends(first, second)


async def _share_backends(first: AsyncConnection[Any], second: AsyncConnection[Any]) -> bool:
    """Two sessions never have one backend, nor does a session change its own: whichever is seen
    first, whatever way the pooler hands them out.
    """
    try:
        for _ in range(_ROUNDS):
            mine = await _one(first, _PID)
            async with second.transaction():
                if await _one(second, _PID) == mine or await _one(first, _PID) != mine:
                    return True
    except psycopg.errors.ProtocolViolation:  # statement mode: no transactions
        return True
    return False


async def _plain(dsn: str) -> AsyncConnection[Any]:
    """Without options: a pooler that refuses them shall be named, not taken for an outage."""
    return await AsyncConnection.connect(
        dsn,
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=_CONNECT_S,
        application_name="hlf-sync",
    )


async def _one(connection: AsyncConnection[Any], statement: str) -> Any:
    row = await (await connection.execute(statement.encode())).fetchone()
    return row[0] if row else None
