"""Which database this is and where its log stands, and what the leader notes about the source in
`hlf_sync.source_watch`. Called by the leader's watch and `doctor`.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from hlf_sync.core.source_identity import Anchor
from hlf_sync.postgres.statements import distrust as sql
from hlf_sync.postgres.statements import sync_request

# The flushed position: what Debezium has read can never lie beyond it, and no crash takes it back (a
# crash may take what was only inserted). The file's name has the timeline at once;
# pg_control_checkpoint has it after the next checkpoint only.
_READ = """
SELECT (pg_control_system()).system_identifier::text,
       ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::int,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint, beat, token, fingerprint, sweep_owed
  FROM hlf_sync.source_watch WHERE NOT pg_is_in_recovery()
"""
_BEAT = """
UPDATE hlf_sync.source_watch SET beat = greatest(beat, %s) + 1, token = %s, looked_at = now() RETURNING beat
"""
_OWE = "UPDATE hlf_sync.source_watch SET sweep_owed = %s WHERE sweep_owed IS NULL"
_NOTE = "UPDATE hlf_sync.source_watch SET fingerprint = %s, sweep_owed = NULL"


@dataclass(frozen=True, slots=True)
class SourceState:
    """What the database says of itself, and what was noted in it."""

    anchor: Anchor
    fingerprint: str | None
    sweep_owed: str | None


async def read_state(connection: AsyncConnection[Any]) -> SourceState | None:
    """None on a standby."""
    row = await (await connection.execute(_READ)).fetchone()
    return None if row is None else SourceState(Anchor(*row[:5]), row[5], row[6])


async def beat(connection: AsyncConnection[Any], at_least: int, token: str) -> int:
    """Note a look; the new beat."""
    row = await (await connection.execute(_BEAT, (at_least, token))).fetchone()
    return int(row[0]) if row else 0


async def owe_sweep(connection: AsyncConnection[Any], why: str) -> None:
    """Everybody must be looked at, once the source is right again."""
    await connection.execute(_OWE, (why,))


async def note_fingerprint(connection: AsyncConnection[Any], fingerprint: str) -> None:
    """All is right, and no sweep is owed any more."""
    await connection.execute(_NOTE, (fingerprint,))


async def sweep(connection: AsyncConnection[Any], who: str, reason: str) -> int:
    """Ask for everybody; how many."""
    return (await connection.execute(sync_request.AFTER_DISTRUST, (who, reason))).rowcount


async def distrust(
    connection: AsyncConnection[Any], organization: str, who: str, reason: str
) -> int:
    """Put every mentor in doubt and ask for everybody; how many. In a transaction of the caller's."""
    await connection.execute(sql.DOUBT)
    await connection.execute(sql.DOUBT_UNKNOWN, (organization,))
    return await sweep(connection, who, reason)
